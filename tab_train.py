"""The tab "Train": start a run, follow it, cancel it.

    choices -> start -> jobs.TrainingJobs -> train.py in its own process
    every second: follow -> state, time left, curves, log

The run belongs to the server, not to the page: a page that is reloaded, or opened by somebody
else, shows the same run. Predictions go on meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from dataset import MNIST_FILES, data_dir, has_mnist
from errors import DigitError
from job_records import Job
from job_settings import LIMITS, MAX_NAME, JobSettings
from model import DEFAULT_ARCHITECTURE, list_models
from panels import render_empty, render_hint, render_refusal
from promotion import RULE
from registry import ALIASES, list_names
from utils import PROJECT
from widgets import build_unlock

if TYPE_CHECKING:
    import gradio as gr

    from service import Service

CSS = PROJECT / "training.css"
TICK_S = 1.0
RUNS_SHOWN = 8
SCRATCH = ""  # in place of the name of a model to refine
LR_STEP = 0.0001
EPOCHS_SHOWN = 30  # on the slider; an API may ask for more
# On the axis of a curve. On a telephone there is no room for more of them side by side; where there
# are more, an axis of 800 pixels has none between two of them.
EPOCHS_NAMED = 15
# What the fields hold at first, for going on with a trained model and for beginning anew.
REFINING, ANEW = (3, 0.0005), (6, 0.004)

# Fits the fields to what a run begins with. It runs in the browser: an answer of the server could
# come after the visitor has typed something else.
SUGGEST = f"""(start) => [
  {{ __type__: "update", visible: !start }},
  ...(start ? {list(REFINING)} : {list(ANEW)}),
]"""
LABELS = {
    "start": "Begin with",
    "model": "Network",
    "epochs": "Epochs",
    "lr": "Learning rate",
    "corrections": "Learn from corrections",
    "name": "Name of the new model",
    "limit": "Trial on so many pictures",
}
# Each curve: its title, its unit, and what the columns of the history that it shows are called.
CURVES: dict[str, tuple[str, str, dict[str, str]]] = {
    "accuracy": (
        "Read right",
        "%",
        {
            "train_accuracy": "training",
            "validation_accuracy": "held out",
            "hands_accuracy": "other hands",
        },
    ),
    "loss": (
        "Loss: how far off (lower is better)",
        "loss",
        {"train_loss": "training", "validation_loss": "held out", "hands_loss": "other hands"},
    ),
    "lr": ("Learning rate: length of a step", "rate", {"lr": "learning rate"}),
}
TITLES = {
    "running": "Training",
    "cancelling": "Stopping",
    "finished": "Finished",
    "cancelled": "Cancelled",
    "failed": "Failed",
}
INTRODUCTION = (
    "A network learns by looking at many digits and being told what they are. Refining goes on "
    "from a trained model and takes minutes; training from scratch begins with one that knows "
    "nothing. You can go on reading digits meanwhile, and close this page: the run goes on."
)


# ------------------------------------------------------------------------------------------------
# What the buttons do
# ------------------------------------------------------------------------------------------------


def start_run(
    service: Service,
    start: str,
    model: str,
    epochs: float,
    lr: float,
    corrections: bool,
    promote: bool,
    hands: bool,
    name: str,
    limit: float,
    token: object,
) -> list[Any]:
    """Start a run with what was chosen, and show it.

    Parameters
    ----------
    service : Service
    start, model, epochs, lr, corrections, promote, hands, name, limit
        See `job_settings.JobSettings`. Without a `start`, `model` learns from scratch. Numbers come
        as the page has them, and are checked there.
    token : object
        What whoever asks has shown.

    Returns
    -------
    list
        As `follow`, and HTML that says why it may not or cannot be started.
    """
    said = ""
    try:
        service.access.require(token)
        service.jobs.start(
            JobSettings(
                model="" if start else model,
                epochs=_whole(epochs),
                lr=lr,
                start=start or SCRATCH,
                corrections=corrections,
                hands=hands,
                promote=promote,
                name=(name or "").strip(),
                limit=_whole(limit or 0),
            )
        )
    except DigitError as error:
        said = render_refusal("Not started", _name_field(service.tell(error, token=token)))
    return [*follow(service, "", token), said]


def cancel_run(service: Service, token: object) -> list[Any]:
    """End the run, and show how it ends.

    Returns
    -------
    list
        As `follow`, and HTML that says why it may not be ended.
    """
    said = ""
    try:
        service.access.require(token)
        service.jobs.cancel()
    except DigitError as error:
        said = render_refusal("Not cancelled", service.tell(error, token=token))
    return [*follow(service, "", token), said]


def _name_field(told: str) -> str:
    """Call a setting as the tab calls it; its message begins with the name that programs use."""
    field, colon, rest = told.partition(": ")
    return f"{LABELS.get(field, field)}{colon}{rest}"


def follow(service: Service, seen: str, token: object = None) -> list[Any]:
    """Show the newest run as it is now.

    Parameters
    ----------
    service : Service
    seen : str
        What the page shows already; only what has changed since is sent.
    token : object, optional
        Without it, strangers are not told what a run printed.

    Returns
    -------
    list
        Status, the three curves, log, table of runs, start button, cancel button, timer, and what
        the page shows then.
    """
    import gradio as gr

    runs = service.list_runs(RUNS_SHOWN, token=token)
    job = runs[0] if runs else None
    running = job is not None and job.is_running
    off = service.access.changes_are == "off"
    buttons = [
        gr.Button(interactive=not running and not off),
        gr.Button(interactive=job is not None and job.state == "running" and not off),
        gr.Timer(active=running),
    ]
    told = service.access.is_trusted(token)
    now = f"{job.run} {job.state} {len(job.history)} {told}" if job else "none"
    status, log = render_status(service, job), render_log(job.log if job else "")
    if now == seen:
        return [status, *[gr.skip()] * len(CURVES), log, gr.skip(), *buttons, now]
    history = job.history if job else []
    return [status, *draw_curves(history), log, render_runs(runs), *buttons, now]


def list_starts(service: Service) -> list[tuple[str, str]]:
    """Name what a run may begin with: the best model, nothing, or any other model."""
    hidden = set(ALIASES.values())
    others = [name for name in list_names(service.models_folder) if name not in hidden]
    return [
        ("The best model", "best"),
        ("Nothing: train from scratch", SCRATCH),
        *[(name, name) for name in others],
    ]


def refresh(service: Service, seen: str, token: object = None) -> list[Any]:
    """Show everything anew: the page was opened or reloaded."""
    import gradio as gr

    count = count_corrections(service)
    label = label_corrections(count)
    return [
        *follow(service, seen, token),
        gr.Dropdown(choices=list_starts(service)),
        # A box that cannot be changed must not stay ticked.
        gr.Checkbox(label=label, interactive=True)
        if count
        else gr.Checkbox(value=False, label=label, interactive=False),
    ]


def count_corrections(service: Service) -> int:
    """Count what there is to learn from; a store that cannot be read has nothing to give."""
    try:
        return service.feedback.count()
    except DigitError:
        return 0


def label_corrections(count: int) -> str:
    """Say how many corrections there are."""
    return f"Learn from corrections ({count:,} stored)"


def _whole(value: float) -> int:
    """Turn 3.0, as browsers send it, into 3; what is no whole number is refused later, by name."""
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------
# What is shown
# ------------------------------------------------------------------------------------------------


def render_status(service: Service, job: Job | None) -> str:
    """Show what happens: state, progress, time left.

    Returns
    -------
    str
        HTML.
    """
    if job is None:
        return f'<div class="run-none">{render_empty("No run yet", _first_words(service))}</div>'
    done, planned = len(job.history), job.settings.epochs
    best = max((row.get("validation_accuracy", 0.0) for row in job.history), default=None)
    facts = [f"{done} of {planned} epochs"]
    if job.left_s is not None:
        facts.append(f"about {in_words(job.left_s)} left")
    if best:
        facts.append(f"{best:.2%} of the held-out digits read right")
    share = 1.0 if job.state == "finished" else done / planned
    return f"""
<section class="run run-{job.state}" role="status">
  <h2>{TITLES[job.state]} <small>{escape(describe_settings(job))}</small></h2>
  <div class="run-track" role="progressbar" aria-label="Epochs" aria-valuemin="0"
    aria-valuemax="{planned}" aria-valuenow="{done}"><span style="width:{100 * share:.0f}%"></span>
  </div>
  <p class="run-facts">{escape(" · ".join(facts))}</p>
  <p>{escape(job.full_message)}</p>
</section>"""


def _first_words(service: Service) -> str:
    """Say what the first run needs."""
    if has_mnist(service.data_folder or data_dir()):
        return "Choose what to do, and start. The curves appear after the first epochs."
    return (
        f"The digits of MNIST are not on this machine yet ({', '.join(MNIST_FILES)}). A run "
        "fetches them first, 11 MB; without the internet, put the four files into data/MNIST/raw."
    )


def describe_settings(job: Job) -> str:
    """Say in a line what a run does."""
    settings = job.settings
    what = f"{settings.start} refined" if settings.start else "from scratch"
    learned = ["with corrections"] if settings.corrections else []
    learned += [f"{settings.limit:,} pictures only"] if settings.limit else []
    return ", ".join([settings.model, what, f"learning rate {settings.lr:g}", *learned])


def in_words(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    return f"{round(seconds / 60)} minutes"


def draw_curves(history: list[dict[str, Any]]) -> list[gr.LinePlot]:
    """Draw accuracy, loss and learning rate; one epoch alone makes no line yet."""
    import gradio as gr

    enough = len(history) > 1
    return [
        gr.LinePlot(value=tabulate(history, key) if enough else None, visible=enough)
        for key in CURVES
    ]


def tabulate(history: list[dict[str, Any]], curve: str) -> dict[str, Any]:
    """Turn a history into the long table that a plot draws: epoch, value, which digits.

    Parameters
    ----------
    history : list of dict
        See `runs.Run.add_epoch`.
    curve : str
        One of `CURVES`.

    Returns
    -------
    dict
        As `gr.LinePlot` sends it to the page. Of a DataFrame it would make the same, but take few
        epochs, too, for a measure, and write parts of them on its axis: 1.2, 1.4, ...
    """
    scale = 100 if curve == "accuracy" else 1
    rows = [
        [row["epoch"], scale * row[column], title]
        for row in history
        for column, title in CURVES[curve][2].items()
        if column in row
    ]
    counted = "ordinal" if len(history) <= EPOCHS_NAMED else "quantitative"
    kinds = {"epoch": counted, "value": "quantitative", "digits": "nominal"}
    return {"columns": [*kinds], "data": rows, "datatypes": kinds, "mark": "line"}


def render_runs(runs: list[Job]) -> str:
    """Show the runs so far as a table."""
    if not runs:
        return ""
    rows = "".join(
        f"<tr><td>{_when(job)}</td><td>{escape(job.candidate)}</td>"
        f"<td>{escape(describe_settings(job))}</td>"
        f'<td class="run-{job.state}">{TITLES[job.state]}</td>'
        f"<td>{escape(job.full_message)}</td></tr>"
        for job in runs
    )
    return (
        "<h3>Runs so far</h3>"
        '<div class="runs" tabindex="0" role="region" aria-label="Runs so far">'
        "<table><thead><tr><th>Started</th><th>New model</th>"
        f"<th>What</th><th>State</th><th>Result</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def render_log(text: str) -> str:
    """Show what a run printed, its end in view."""
    return f'<div class="run-log"><pre>{escape(text)}</pre></div>' if text else ""


def _when(job: Job) -> str:
    started = datetime.fromisoformat(job.started)
    return f'<time datetime="{escape(job.started)}">{started:%d %b, %H:%M}</time>'


# ------------------------------------------------------------------------------------------------
# The layout
# ------------------------------------------------------------------------------------------------


def build_train_tab(service: Service, tab: gr.Tab) -> None:
    """Lay out choices, status, curves and log, and wire them.

    Parameters
    ----------
    service : Service
    tab : gr.Tab
        The tab that this is; when it is opened, what runs is looked up.
    """
    import gradio as gr

    css = CSS.read_text(encoding="utf-8")
    gr.HTML(render_hint(INTRODUCTION), apply_default_css=False)
    token = build_unlock(service.access)
    with gr.Row(elem_classes="recognise looking training"):
        with gr.Column(min_width=0, elem_classes="recognise-pad"):
            chosen = _build_choices(service)
            with gr.Row():
                start = gr.Button("Start training", variant="primary", elem_id="train-start")
                cancel = gr.Button("Cancel", variant="stop", interactive=False, elem_id="train-end")
            said = gr.HTML("", apply_default_css=False, elem_id="train-said")
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            status = gr.HTML(
                render_status(service, None),
                css_template=css,
                apply_default_css=False,
                elem_id="train-status",
            )
            curves = [_build_curve(key) for key in CURVES]
            with gr.Accordion("Log", open=False, elem_id="train-log"):
                log = gr.HTML("", css_template=css, apply_default_css=False)
    runs = gr.HTML("", css_template=css, apply_default_css=False, elem_id="train-runs")
    timer = gr.Timer(TICK_S, active=False)
    seen = gr.Textbox("", visible="hidden")

    shown = [status, *curves, log, runs, start, cancel, timer, seen]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    suggested = [chosen["model"], chosen["epochs"], chosen["lr"]]
    chosen["start"].change(None, [chosen["start"]], suggested, js=SUGGEST, **quiet)
    start.click(
        partial(start_run, service),
        [*chosen.values(), token],
        [*shown, said],
        trigger_mode="once",
        **quiet,
    )
    cancel.click(
        partial(cancel_run, service), [token], [*shown, said], trigger_mode="once", **quiet
    )
    timer.tick(partial(follow, service), [seen, token], shown, queue=False, **quiet)
    tab.select(
        partial(refresh, service),
        [seen, token],
        [*shown, chosen["start"], chosen["corrections"]],
        queue=False,
        **quiet,
    )


def _build_choices(service: Service) -> dict[str, Any]:
    """Lay out what can be chosen, in the order of `start_run`."""
    import gradio as gr

    count = count_corrections(service)
    epochs, lr = REFINING
    chosen: dict[str, Any] = {
        "start": gr.Dropdown(
            list_starts(service),
            value="best",
            label=LABELS["start"],
            info="A trained model is refined: it keeps what it knows.",
            elem_id="train-from",
        ),
        "model": gr.Dropdown(
            list_models(),
            value=DEFAULT_ARCHITECTURE,
            label=LABELS["model"],
            info="How the network is built. mnistnet reads best; the others are smaller or older.",
            visible=False,
        ),
        "epochs": gr.Slider(
            LIMITS["epochs"].least,
            min(EPOCHS_SHOWN, LIMITS["epochs"].most),
            value=epochs,
            step=1,
            label=LABELS["epochs"],
            info="How many times every picture is looked at.",
            buttons=[],
            elem_id="train-epochs",
        ),
        "lr": _build_number(
            lr,
            least=LR_STEP,
            most=LIMITS["lr"].most,
            step=LR_STEP,
            label=LABELS["lr"],
            info=f"How far each step goes, up to {LIMITS['lr'].most}. Too small learns slowly, too "
            "large forgets.",
        ),
        "corrections": gr.Checkbox(
            False,
            label=label_corrections(count),
            info="They are mixed with MNIST's digits, so that nothing is forgotten.",
            interactive=count > 0,
            elem_id="train-corrections",
        ),
        "promote": gr.Checkbox(False, label="Make it the best model if it is not worse", info=RULE),
    }
    with gr.Accordion("More choices", open=False):
        chosen["hands"] = gr.Checkbox(
            True,
            label="Learn other hands and what is no digit, too",
            info="Digits that this program draws; made once, in some minutes, then kept.",
        )
        chosen["name"] = gr.Textbox(
            label=LABELS["name"],
            info="Letters, digits, - and _. Left empty, it is made of the network and the time.",
            max_lines=1,
            max_length=MAX_NAME,
        )
        chosen["limit"] = _build_number(
            0,
            least=LIMITS["limit"].least,
            most=LIMITS["limit"].most,
            step=1000,
            precision=0,
            label=LABELS["limit"],
            info="0 takes all 55,000. A trial is over soon, and never becomes the best model.",
            elem_id="train-limit",
        )
    return chosen


def _build_number(value: float, *, least: float, most: float, **options: Any) -> Any:
    """Make a field for a number, which its arrows keep within limits."""
    import gradio as gr

    field = gr.Number(value, minimum=least, maximum=most, **options)
    # Gradio would cover the tab with boxes of errors; `job_settings.py` says what cannot work.
    field.raise_if_out_of_bounds = lambda *_: None  # type: ignore[method-assign]
    return field


def _build_curve(key: str) -> gr.LinePlot:
    """Make one plot; it appears when there is something to see."""
    import gradio as gr

    title, unit, columns = CURVES[key]
    return gr.LinePlot(
        x="epoch",
        y="value",
        color="digits" if len(columns) > 1 else None,
        x_title="epoch",
        y_title=unit,
        title=title,
        height=200,
        visible=False,
        buttons=[],
        elem_id=f"train-{key}",
    )
