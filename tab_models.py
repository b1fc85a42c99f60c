"""The tab "Models": every checkpoint, which one reads, and what may be done with them.

    models/ -> table | use, make the best, go back | compare two | upload, download, delete

All work is done by `shelf.py`, `promotion.py` and the service; a change takes the administrator
token, and what cannot be undone asks first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shelf
from dataset import data_dir
from errors import (
    BlankImageError,
    CheckpointError,
    DigitError,
    ModelNotFoundError,
    SettingsError,
)
from model import count_parameters
from pad import (
    ask_again,
    build_pad,
    keep_current,
    name_picture,
    offer_samples,
    pick_sample,
    read_picture,
)
from panels import render_answer, render_hint, render_message, render_notice, render_refusal
from predict import MNISTPredictor
from promotion import RULE, promote
from registry import ALIASES, Checkpoint, Listing, list_names, resolve
from utils import PROJECT
from widgets import QUIET, build_unlock, deliver_file

if TYPE_CHECKING:
    import gradio as gr

    from service import Service

CSS = PROJECT / "training.css"
MB = 1e6
ABOUT = {
    shelf.BEST: "the best",
    shelf.PREVIOUS: "the best one before",
    ALIASES["last"]: "the last one trained",
}
LEGEND = (
    "MNIST test: read right of MNIST's 10,000 test pictures. Held out: of 5,000 training pictures "
    "that no network learned from. Other hands: of digits that this program draws in hands MNIST "
    "does not have. Calibrated: whether its confidence was measured, and can be taken at its word."
)
COMPARING = "Comparing it with the best one on held-out digits. This may take a minute …"
INTRODUCTION = (
    "Every trained network is a file here. One of them reads for all visitors; choosing another "
    "takes effect at once, and nothing is lost by it."
)


# ------------------------------------------------------------------------------------------------
# What the buttons do
# ------------------------------------------------------------------------------------------------


def change(
    service: Service, action: Callable[[Service, str], str], chosen: str, token: object
) -> list[Any]:
    """Do one of the actions below, and show the models as they are then.

    Parameters
    ----------
    service : Service
    action : callable
        Gets the service and the chosen name; says what it did.
    chosen : str
        Name of the model that is chosen on the page. Not trusted.
    token : object
        The administrator token, if there is one.

    Returns
    -------
    list
        As `show`, with what was done in words, or why nothing was.
    """
    try:
        service.access.require(token)
        said = action(service, chosen or "")
    except ModelNotFoundError as error:  # deleted on another page, perhaps
        shown = show(service, None)
        shown[1] = render_refusal("Not done", service.tell(error, token=token))
        return shown
    except DigitError as error:
        return _refuse("Not done", service.tell(error, token=token))
    return show(service, chosen, said)


def use(service: Service, name: str) -> str:
    """Let a model read from now on."""
    checkpoint = service.use_model(name)
    return f"{checkpoint.name} reads from now on."


def make_best(service: Service, name: str) -> str:
    """Make a model the best one, if it is not worse."""
    comparison = promote(name, service.models_folder, service.data_folder or data_dir())
    if not comparison.is_not_worse:
        return f"{shelf.BEST} stays as it was, for {name} is worse ({comparison.text})."
    service.follow_best()
    return f"{name} is the best model now ({comparison.text}). “Go back” undoes it."


def go_back(service: Service, name: str) -> str:
    """Put the best model back that was replaced."""
    checkpoint = shelf.roll_back(service.models_folder)
    service.follow_best()
    return (
        f"{shelf.BEST} is again what it was before, version {checkpoint.version}. "
        "“Go back” once more undoes this."
    )


def delete(service: Service, name: str) -> str:
    """Delete a model for good."""
    shelf.delete(name, service.models_folder, in_use=service.predictor.checkpoint.name)
    return f"{name} is deleted."


def upload(service: Service, path: str | None, token: object) -> list[Any]:
    """Put a checkpoint that came from a browser on the shelf; the uploaded file is removed.

    Returns
    -------
    list
        As `show`, with the new model chosen, or with the reason why it is not one of ours.
    """
    file = Path(path or "")
    try:
        service.access.require(token)
        checkpoint = shelf.add(_read_upload(file), file.name, service.models_folder)
    except DigitError as error:
        return _refuse("Not added", service.tell(error, token=token))
    finally:
        if path:
            file.unlink(missing_ok=True)
    return show(service, checkpoint.name, f"{checkpoint.name} is added; it does not read yet.")


def _refuse(title: str, reason: str) -> list[Any]:
    """Say why nothing was done, as the outputs of `show`; the rest stays as it is."""
    import gradio as gr

    return [gr.skip(), render_refusal(title, reason), *[gr.skip()] * 4, gr.Column(visible=False)]


def _read_upload(file: Path) -> bytes:
    """Read what was uploaded, unless it is far too large."""
    try:
        if file.stat().st_size > shelf.MAX_UPLOAD_BYTES:
            raise CheckpointError(
                f"{file.name} is too large for one of our networks "
                f"(at most {shelf.MAX_UPLOAD_BYTES / MB:.0f} MB); choose another file"
            )
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file.name or 'the file'} did not arrive; try again") from error


def show(service: Service, chosen: str | None, said: str = "", *, keep: bool = False) -> list[Any]:
    """Show the models as they are now.

    Parameters
    ----------
    service : Service
    chosen : str, optional
        The model to choose, if it is there.
    said : str
        What was done.
    keep : bool
        `chosen` stood on the page when this was asked, and whatever stands there by now stays.

    Returns
    -------
    list
        Table, what was done, choice of a model, choices of the two to compare, the button that
        leads back, and the closed question.
    """
    import gradio as gr

    listings = service.list_models()
    names = [each.name for each in listings if each.checkpoint]
    used = service.predictor.checkpoint.name
    kept = keep and chosen in names
    chosen = chosen if chosen in names else (used if used in names else None)
    choice: dict[str, Any] = {} if kept else {"value": chosen}
    return [
        render_table(listings, service.predictor.checkpoint),
        _say(said) if said else "",
        gr.Dropdown(choices=[each.name for each in listings], **choice),
        *[gr.Dropdown(choices=names)] * 2,
        gr.Button(interactive=shelf.PREVIOUS in names and service.access.changes_are != "off"),
        gr.Column(visible=False),
    ]


def _say(text: str) -> str:
    """Show what was done, or is being done."""
    return f'<p class="said" role="status">{escape(text)}</p>'


def fetch(service: Service, name: str | None) -> str:
    """Find the file of a model for the browser.

    Returns
    -------
    str
        Path. What cannot be had is a toast, as nothing on the tab changes by it.
    """
    import gradio as gr

    try:
        return str(resolve(name or "", service.models_folder, allow_paths=False))
    except DigitError as error:  # nothing is chosen, or it was deleted a moment ago
        words = escape(service.tell(error))  # Gradio shows it as HTML, and names of files are in it
        raise gr.Error(words, print_exception=False) from error


def ask(service: Service, name: str | None) -> list[Any]:
    """Ask before deleting; what is deleted is what was asked about, whatever is chosen then."""
    import gradio as gr

    may_go = bool(name)
    question = f"Delete {name} for good?" if name else "Choose a model first."
    if name == service.predictor.checkpoint.name:
        may_go = False
        question = f"{name} is the one that reads now: use another one first, then delete it."
    return [gr.Column(visible=True), render_notice(question), gr.Button(visible=may_go), name]


def compare(service: Service, value: object, first: str, second: str) -> tuple[str, str]:
    """Read the same drawing with two models.

    Parameters
    ----------
    service : Service
    value : object
        What the pad sent; see `pad.read_picture`.
    first, second : str
        Names of models.

    Returns
    -------
    first, second : str
        HTML. What cannot be read is a message, not an exception.
    """
    return _answer(service, value, first), _answer(service, value, second)


def _answer(service: Service, value: object, name: str) -> str:
    """Read a drawing with one model."""
    picture = None
    try:
        predictor = _load(service, name)
        picture = read_picture(value)
        if picture is None:
            return blank_side()
        return render_answer(
            service.predict(picture.content, predictor), label=picture.label, name=picture.name
        )
    except BlankImageError:
        return blank_side()
    except DigitError as error:
        return render_message(
            "Cannot be read", service.tell(error, subject=name_picture(picture)), tone="error"
        )


def blank_side() -> str:
    """Say what to do while there is nothing to compare."""
    return render_message("Draw a digit", "Both models read it.")


def _load(service: Service, name: str) -> MNISTPredictor:
    """Load a model, or find it loaded: at each stroke both are asked."""
    path = resolve(name or "", service.models_folder, allow_paths=False)
    try:
        return _load_version(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise CheckpointError(f"{path.stem} is gone; choose another model") from error


@lru_cache(maxsize=4)
def _load_version(path: Path, changed: int) -> MNISTPredictor:
    return MNISTPredictor(path, device="cpu")


# ------------------------------------------------------------------------------------------------
# The table
# ------------------------------------------------------------------------------------------------


def render_table(listings: list[Listing], used: Checkpoint) -> str:
    """Show all models, those that cannot be used with the reason.

    Returns
    -------
    str
        HTML.
    """
    heads = (
        *("Model", "MNIST test", "Held out", "Other hands", "Network", "Parameters"),
        *("Size", "Calibrated", "Made (UTC)"),
    )
    rows = "".join(
        _row(each, each.checkpoint, in_use=each.name == used.name)
        if each.checkpoint
        else f'<tr><td>{escape(each.name)}</td><td class="model-problem" '
        f'colspan="{len(heads) - 1}">{escape(_without_folder(each))}</td></tr>'
        for each in listings
    )
    head = "".join(f"<th>{title}</th>" for title in heads)
    return (
        '<div class="models" tabindex="0" role="region" aria-label="Models">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{render_hint(LEGEND)}"
    )


def _without_folder(listing: Listing) -> str:
    """Say why a file cannot be used, but not where the server keeps it."""
    return listing.problem.replace(str(listing.path), listing.path.name)


def _row(listing: Listing, checkpoint: Checkpoint, *, in_use: bool) -> str:
    """Show one model."""
    notes = ["in use"] if in_use else []
    notes += [ABOUT[listing.name]] if listing.name in ABOUT else []
    trial = shelf.find_trial(checkpoint)
    notes += [] if trial is None else [f"a trial, measured on {trial:,} pictures of each kind"]
    shares = "".join(
        f'<td class="number">{_share(share)}</td>' for share in shelf.find_shares(checkpoint)
    )
    calibrated = "yes" if checkpoint.refusal else "no: its doubt means little"
    return (
        f"<tr{' class=model-used' if in_use else ''}><td>{escape(listing.name)}"
        f"<small>{escape(', '.join(notes))}</small></td>{shares}"
        f"<td>{escape(checkpoint.architecture)}</td>"
        f'<td class="number">{count_parameters(checkpoint.model):,}</td>'
        f'<td class="number">{_size(listing.path)}</td><td>{calibrated}</td>'
        f"<td>{_date(checkpoint.created)}</td></tr>"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _size(path: Path) -> str:
    try:
        return f"{path.stat().st_size / MB:.1f} MB"
    except OSError:  # deleted a moment ago
        return "–"


def _date(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created):%d %b %Y, %H:%M}"
    except ValueError:  # a checkpoint from elsewhere may say anything
        return escape(created[:20])


# ------------------------------------------------------------------------------------------------
# The layout
# ------------------------------------------------------------------------------------------------


def build_models_tab(service: Service, tab: gr.Tab) -> gr.HTML:
    """Lay out the table, the actions and the comparison, and wire them.

    Parameters
    ----------
    service : Service
    tab : gr.Tab
        The tab that this is; when it is opened, the models are listed anew.

    Returns
    -------
    gr.HTML
        What was done last, in words; it changes whenever the model in use may have changed.
    """
    import gradio as gr

    css = CSS.read_text(encoding="utf-8")
    may_change = service.access.changes_are != "off"
    used = service.predictor.checkpoint.name
    names = list_names(service.models_folder)
    gr.HTML(render_hint(INTRODUCTION), apply_default_css=False)
    token = build_unlock(service.access)
    table = gr.HTML("", css_template=css, apply_default_css=False, elem_id="models-table")
    said = gr.HTML("", css_template=css, apply_default_css=False, elem_id="models-said")
    with gr.Row(elem_classes="recognise"), gr.Column(min_width=0):
        # Gradio takes a click on a choice for its place in the list. So the list is whole from the
        # start: where it grew just before a click, that chose what had come to that place.
        chosen = gr.Dropdown(
            names, value=used if used in names else None, label="Model", elem_id="models-chosen"
        )
        with gr.Row(elem_classes="actions"):
            use_it = gr.Button(
                "Use it", variant="primary", interactive=may_change, elem_id="models-use"
            )
            best = gr.Button("Make it the best", interactive=may_change, elem_id="models-best")
            download = gr.Button("Download", elem_id="models-download")
            remove = gr.Button("Delete", interactive=may_change, elem_id="models-delete")
        with gr.Column(visible=False, elem_id="models-question") as question:
            words = gr.HTML("", apply_default_css=False)
            with gr.Row(elem_classes="actions"):
                sure = gr.Button("Delete", variant="stop", elem_id="models-sure")
                keep = gr.Button("Keep")
        with gr.Row(elem_classes="actions"):
            add = gr.UploadButton("Upload a model", file_types=[".pth"], interactive=may_change)
            back = gr.Button(
                "Go back to the best one before", interactive=False, elem_id="models-back"
            )
    with gr.Accordion("When is a model the best?", open=False, elem_classes="words"):
        gr.Markdown(
            f"{RULE} Otherwise it stays in the list under its own name and can still be used. "
            "The best one before is kept, so one step back is always possible.\n\n"
            "In technical words, doubt is compared by the mean cross entropy after calibration."
        )
    first, second = _build_comparison(service)

    shown = [table, said, chosen, first, second, back, question]
    asked = gr.Textbox(visible="hidden")
    wire: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # Said by the browser itself, at once; what was said before would look like the answer.
    comparing = json.dumps(_say(COMPARING))
    best.click(None, None, [said], js=f"() => {comparing}", **QUIET)
    actions = [
        (use_it, use, chosen),
        (best, make_best, chosen),
        (back, go_back, chosen),
        (sure, delete, asked),
    ]
    for button, action, name in actions:
        button.click(
            partial(change, service, action), [name, token], shown, trigger_mode="once", **wire
        )
    remove.click(
        partial(ask, service), [chosen], [question, words, sure, asked], queue=False, **wire
    )
    keep.click(lambda: gr.Column(visible=False), None, [question], queue=False, **wire)
    add.upload(partial(upload, service), [add, token], shown, trigger_mode="once", **wire)
    deliver_file(download.click, partial(fetch, service), [chosen], elem_id="models-file")
    # A slow list that arrives just after "Delete" leaves its question open.
    tab.select(lambda name: show(service, name, keep=True)[:-1], [chosen], shown[:-1], **QUIET)
    return said


def _build_comparison(service: Service) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Lay out two answers to one drawing, and wire them; return the choices of the models."""
    import gradio as gr

    best = service.predictor.checkpoint.name
    names = [best, *(name for name in list_names(service.models_folder) if name != best)]
    with (
        gr.Accordion("Compare two models on the same drawing", open=False, elem_id="compare"),
        gr.Row(elem_classes="recognise looking compare"),
    ):
        with gr.Column(min_width=0, elem_classes="side-pad"):
            pad = build_pad(elem_id="compare-pad")
            offer_samples(pad, partial(pick_sample, service.data_folder))
        sides = [_build_side(names, place) for place in (1, 2)]
    (first, one), (second, other) = sides
    answers = [one, other]
    for choice in (first, second):
        ask_again(choice.input, pad)
    show = partial(compare, service)
    keep_current([pad.input], show, [pad, first, second], answers, blank=blank_side())
    return first, second


def _build_side(names: Sequence[str], place: int) -> tuple[gr.Dropdown, gr.HTML]:
    """Lay out the choice of a model, and its answer below; on each side it begins with another."""
    import gradio as gr

    label = ("One model", "The other")[place - 1]
    name = names[min(place, len(names)) - 1]
    with gr.Column(min_width=0, elem_classes=["recognise-answer", "beside"]):
        choice = gr.Dropdown(list(names), value=name, label=label, elem_id=f"compare-{place}")
        answer = gr.HTML(
            blank_side(),
            apply_default_css=False,
            elem_id=f"compare-answer-{place}",
        )
    return choice, answer
