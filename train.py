"""Train a network on MNIST and leave its best weights in `models/`.

    digits in memory -> shuffled batches -> augment -> network -> loss -> weights
                                                    -> running average -> validation -> best

Each epoch ends with a look at the validation pictures; the weights that do best there are kept.
The test pictures are looked at once, after training, with those weights.

    $ python train.py --epochs 20 --batch-size 128 --lr 0.0005 --no-cuda
    $ python train.py --recipe fast
    $ python train.py --recipe refine --corrections --candidate mine

The weights go to `models/NAME.pth` (the last) and `models/NAME_best.pth` (the best, unless a better
or a calibrated model has that place, see `handover.py`); everything else that a run leaves behind
lies in its folder under `outputs/`, see `runs.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from corrections import OWN
from dataset import Split, data_dir, load_mnist
from distributed import ALONE, Team, join_team
from errors import OutputError, SettingsError
from handover import RunOptions, check_options, hand_over, offer
from learner import ADAM, Learner, build_learner
from learning import PRECISIONS, SCHEDULES
from model import DEFAULT_ARCHITECTURE, count_parameters, list_models
from recipes import RECIPES, Settings, check_settings
from registry import ALIASES, MODELS_DIR, load_checkpoint, save_checkpoint
from runs import ROW_TITLE, Outcome, Run, format_row, measure, publish
from training_data import Data, load_data
from utils import (
    INTERRUPTED,
    PROJECT,
    HelpFormatter,
    check_crowd,
    check_name,
    pick_device,
    report_errors,
    set_seed,
    set_up_logging,
    shorten_path,
)

OUTPUTS = PROJECT / "outputs"

_UNASKED = object()  # the value of a flag that is not on the command line

# What a checkpoint keeps of the epoch that it comes from.
CHECKPOINT_METRICS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "hands_loss",
    "hands_accuracy",
    "elapsed",
)


def train(
    settings: Settings,
    options: RunOptions,
    *,
    folder: Path,
    device: torch.device | None = None,
    team: Team = ALONE,
    resume: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Outcome:
    """Train one network from start to end.

    Parameters
    ----------
    settings : Settings
        What to compute.
    options : RunOptions
        Where everything lies, and what becomes of the weights.
    folder : Path
        The run's own folder; made if missing.
    device : torch.device, optional
        Default: the fastest there is.
    team : Team, optional
        The processes that share the work; this one leads them, the others call `assist`.
    resume : bool, default=False
        Go on from `folder`/resume.pt, or begin anew if the run was stopped in its first epoch; if
        only what follows the last epoch was not done, do that.
    on_epoch : callable, optional
        Gets each row of the history as it is written.

    Returns
    -------
    Outcome

    Raises
    ------
    SettingsError
        If a setting or an option cannot work, there is nothing to resume, the folder holds another
        run, or a teacher of a resumed run is another model now.
    DataNotFoundError, DataFormatError
        If MNIST cannot be read.
    ModelNotFoundError
        If there is no such teacher, or no such model to start from.
    BusyError
        If another process trains in the folder.
    DivergenceError
        If the loss is not a number any more.
    OutputError
        If a result cannot be written.
    """
    check_settings(settings)
    options = check_options(options, folder)
    team.check_batch(settings.batch_size)
    record = {**settings.to_dict(), "options": options.to_dict()}
    run = Run(folder, record, epochs=settings.epochs, patience=settings.patience)
    if not resume:
        run.check_new()
    set_seed(settings.seed)
    device = device or pick_device()
    data = load_data(settings, data_dir(options.data_dir), device, on_stage=run.note)
    team.broadcast("the data lie ready")  # the others find there what is made only once
    goes_on = resume and run.has_state
    learner = build_learner(settings, device, options.models_dir, team, with_start=not goes_on)
    state = learner.state
    with run.alone():
        if not resume:  # once more: another may have begun it while the data were read
            run.check_new()
        if resume and run.has_state:
            _take_up_sources(learner, folder / "last.pth")
        first_epoch = run.resume(state) if resume else run.start()
        team.broadcast((first_epoch, state.state_dict()))
        print(
            f"{settings.model}, {count_parameters(learner.model):,} parameters, on {device.type} "
            f"in {str(learner.precision).removeprefix('torch.')}; seed {settings.seed}; "
            f"{len(data.train[0]):,} training and {len(data.validation):,} validation pictures\n"
            f"results in {shorten_path(folder)}\n{ROW_TITLE}",
            flush=True,
        )
        interrupted = False
        try:
            _learn(run, learner, data, first_epoch, on_epoch)
            best_path = _finish(run, settings, options)
        except KeyboardInterrupt:
            if not (folder / "best.pth").is_file():  # in the first epoch: there is nothing to keep
                raise
            interrupted = True
            best_path = _hand_over(folder, settings, options)
        except OutputError as error:
            if not run.has_state:
                raise
            raise OutputError(
                f"{error}; what was learned before is safe: when that is put right, go on with: "
                f"python train.py --resume {shorten_path(folder)}"
            ) from error
        metrics = load_checkpoint(folder / "best.pth").metrics
        return Outcome(folder, best_path, run.history, metrics, interrupted)


def _take_up_sources(learner: Learner, last: Path) -> None:
    """Let a resumed run say what it once began with, and refuse other teachers of the same name.

    By now other weights may bear these names. A teacher that was named anew beside --resume is
    what somebody wants.
    """
    before = load_checkpoint(last).settings
    learner.sources["start"] = before["start"]
    known = set(before["teachers"])
    names = {each.rpartition("@")[0] for each in known}
    for reference in learner.sources["teachers"]:
        name, _, version = reference.rpartition("@")
        if name in names and reference not in known:
            once = ", ".join(sorted(each for each in known if each.rpartition("@")[0] == name))
            raise SettingsError(
                f"the teacher {name!r} is another model now (version {version}; this run learns "
                f"from {once}); put that one back, or name this one otherwise and give its name "
                "with --teachers"
            )


def _learn(
    run: Run,
    learner: Learner,
    data: Data,
    first_epoch: int,
    on_epoch: Callable[[dict[str, Any]], None],
) -> None:
    """Go through the epochs that are left, and save what each has brought."""
    for epoch in range(first_epoch, run.epochs + 1):
        if learner.team.broadcast(run.is_stuck):
            print(f"no better validation result for {run.patience} epochs: stopping early")
            break
        started = time.perf_counter()
        train_score = learner.learn(data.train[(epoch - 1) % len(data.train)], epoch)
        row = run.add_epoch(
            train_score,
            measure(learner.result, data.validation),
            measure(learner.result, data.hands) if data.hands else None,
            lr=learner.optimizer.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
        )
        _save(run, learner, data, row)
        print(format_row(row), flush=True)
        on_epoch(row)


def _save(run: Run, learner: Learner, data: Data, row: dict[str, Any]) -> None:
    """Leave the newest weights, the best ones, and all that is needed to go on."""
    last = run.folder / "last.pth"
    save_checkpoint(
        last,
        learner.result,
        settings=learner.record,
        metrics={key: row[key] for key in CHECKPOINT_METRICS if key in row},
        data=data.describe(),
    )
    if row["best"]:
        publish(last, run.folder / "best.pth")
    run.save(learner.state)


def assist(
    settings: Settings,
    options: RunOptions,
    team: Team,
    *,
    device: torch.device | None = None,
    resume: bool = False,
) -> None:
    """Do this process's part of a training that another one leads with `train`; write nothing.

    Parameters
    ----------
    settings, options, device, resume
        As for `train`, and the same as there.
    team : Team
    """
    set_seed(settings.seed)
    device = device or pick_device()
    team.broadcast("")
    data = load_data(settings, data_dir(options.data_dir), device)
    learner = build_learner(settings, device, options.models_dir, team, with_start=not resume)
    first_epoch, state = team.broadcast((1, learner.state.state_dict()))
    learner.state.load_state_dict(state)
    # Other pictures need other changes and other dropout than the leader's.
    learner.changes.manual_seed(settings.seed + team.rank)
    torch.manual_seed(settings.seed + team.rank)
    for epoch in range(first_epoch, settings.epochs + 1):
        if team.broadcast(False):
            break
        learner.learn(data.train[(epoch - 1) % len(data.train)], epoch)


def _finish(run: Run, settings: Settings, options: RunOptions) -> Path:
    """Do all that follows the last epoch, and return the path of the best weights."""
    _report(run, settings, data_dir(options.data_dir), test=options.test)
    best_path = _hand_over(run.folder, settings, options)
    outcome: dict[str, Any] = {"metrics": load_checkpoint(run.folder / "best.pth").metrics}
    if options.candidate:
        outcome = offer(
            run.folder,
            settings,
            options.candidate,
            models_folder=options.models_dir,
            data_folder=data_dir(options.data_dir),
            own=options.own,
            replace=options.replace,
            promoting=options.promote,
        )
        print(outcome["summary"], flush=True)
    run.finish(outcome)
    return best_path


def _hand_over(folder: Path, settings: Settings, options: RunOptions) -> Path:
    """Copy the weights to `models/`, if that is asked for, and return the path of the best ones."""
    if options.candidate or not options.hand_on:
        return folder / "best.pth"
    own_name = ALIASES["last"] if settings.model == DEFAULT_ARCHITECTURE else settings.model
    return hand_over(folder, options.models_dir, options.name or own_name, replace=options.replace)


def _report(run: Run, settings: Settings, data_folder: Path, *, test: bool) -> None:
    """Measure the best weights on the test pictures, once, and note it in their checkpoint.

    Without `test` the report is about the validation pictures, and nothing is noted.
    """
    split: Split = "test" if test else "validation"
    digits = load_mnist(split, data_folder).first(settings.limit)
    best = load_checkpoint(run.folder / "best.pth")
    scores = run.report(best.model, digits, split)
    print("\n" + (run.folder / "report.txt").read_text(encoding="utf-8"), flush=True)
    if test:
        save_checkpoint(
            best.path,
            best.model,
            settings=best.settings,
            metrics=best.metrics | scores,
            data=best.data | {"test_pictures": len(digits)},
        )


# --- the command line ----------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Train a network on MNIST and leave its best weights in models/.",
        epilog=(
            "examples:\n"
            "  python train.py                                  20 epochs of the default network\n"
            "  python train.py --recipe fast                    over 99 % in under a minute\n"
            "  python train.py --recipe hands                   other hands than MNIST's, too\n"
            "  python train.py --model cnn2 --epochs 5 --lr 0.001\n"
            "  python train.py --limit 500 --epochs 1           a short trial\n"
            "  python train.py --resume outputs/RUN             go on with a stopped run\n"
            "\n"
            "several processes: torchrun --nproc_per_node 2 -- train.py --recipe fast"
        ),
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", choices=list(RECIPES), default="default", help="named set of settings")
    add("--model", choices=list_models(), help="network")
    add("--epochs", type=int, metavar="N", help="how often each picture is seen")
    add("--batch-size", type=int, metavar="N", help="pictures between two steps")
    add("--lr", type=float, metavar="X", help="highest learning rate")
    add("--schedule", choices=SCHEDULES, help="how the learning rate changes")
    add("--weight-decay", type=float, metavar="X", help="pulls weights to zero; not for mlp")
    add("--label-smoothing", type=float, metavar="X", help="part of the target spread over all")
    add("--dropout", type=float, metavar="X", help="multiplies the network's dropout rates")
    add("--ema", type=float, metavar="X", help="decay of the running average of weights; 0: none")
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="turn, move, scale, slant and partly erase the training pictures",
    )
    add("--strength", type=float, metavar="X", help="multiplies how far pictures are changed")
    add("--elastic-px", type=float, metavar="X", help="smooth bending of strokes, in pixels")
    add("--thickness", type=float, metavar="X", help="part of pictures with other stroke widths")
    add("--soften", type=float, metavar="X", help="share of neighbours mixed in when reading")
    add("--untouched", type=float, metavar="X", help="part of pictures that are not moved or bent")
    add("--small-epochs", type=int, metavar="N", help="first epochs on the upper left 24x24 pixels")
    add(
        "--pool-first",
        action=argparse.BooleanOptionalAction,
        help="pool before batch normalisation while learning, for speed",
    )
    add("--patience", type=int, metavar="N", help="epochs without progress to stop; 0: never")
    add("--start", metavar="NAME", help="checkpoint whose weights to begin with")
    add("--teachers", nargs="*", metavar="NAME", help="checkpoints to learn from as well")
    add("--teaching", type=float, metavar="X", help="part of the loss that is the teachers'")
    add("--teacher-temperature", type=float, metavar="X", help="softens the teachers' answers")
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="torch.compile the network: slow to begin, for long trainings on a GPU",
    )
    add("--precision", choices=PRECISIONS, help="arithmetic; auto: bf16 where it is faster")
    add("--hands", type=int, metavar="N", help="digits of other hands to learn from as well")
    add("--ingredients", nargs="+", metavar="NAME", help="what they are made from")
    add("--non-digits", type=int, metavar="N", help="pictures of no digit to learn doubt from")
    add("--shards", type=int, metavar="N", help="sets of such pictures, taken in turn")
    add(
        "--corrections",
        nargs="?",
        const=OWN,
        metavar="FILE",
        help="learn from what visitors corrected as well; default file: the page's own",
    )
    add("--limit", type=int, metavar="N", help="only N pictures of each split; 0: all")
    add("--seed", type=int, metavar="N", help="same seed, same weights (on one CPU)")
    places = parser.add_argument_group("places")
    add = places.add_argument
    add("--data-dir", type=Path, metavar="DIR", help="holds MNIST/raw; else $DIGITS_DATA, data/")
    add("--output", type=Path, default=OUTPUTS, metavar="DIR", help="folder of all runs")
    add("--run", metavar="NAME", help="name of the run's folder; default: network and time")
    add("--models-dir", type=Path, default=MODELS_DIR, metavar="DIR", help="for checkpoints")
    add("--name", metavar="NAME", help="of the checkpoints; default: mnist_cnn, or the network")
    add("--resume", type=Path, metavar="DIR", help="go on as was asked for with the run in DIR")
    add("--candidate", metavar="NAME", help="calibrate, and save as a new models/NAME.pth only")
    doing = parser.add_argument_group("running")
    add = doing.add_argument
    add("--threads", type=int, default=0, metavar="N", help="CPU threads; 0: one for each core")
    add("--no-cuda", action="store_true", help="stay on the CPU; short for --device cpu")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    # Each of these can be taken back, as a resumed run begins with what was asked for at first.
    switch = argparse.BooleanOptionalAction
    add(
        "--test",
        action=switch,
        help="measure on the test pictures in the end; experiments should not",
    )
    add("--replace", action=switch, help="replace any NAME.pth, NAME_best.pth or candidate")
    add("--promote", action=switch, help="make the candidate the best if it is not worse")
    parser.set_defaults(**dataclasses.asdict(Settings()), **dataclasses.asdict(RunOptions()))
    return parser


def parse_settings(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Settings]:
    """Read the command line; a recipe or a stopped run gives the defaults of all other flags."""
    parser = build_parser()
    usual = vars(parser.parse_args([]))
    # Parsing leaves alone what is there already, so what was not asked for can be told.
    unasked = argparse.Namespace(**dict.fromkeys(usual, _UNASKED))
    given = vars(parser.parse_args(argv, unasked))
    asked = {name: value for name, value in given.items() if value is not _UNASKED}
    for name in ("name", "candidate"):  # empty ones mean that there are none, if not said
        if name in asked:
            check_name(f"--{name}", asked[name])
    recipe = RECIPES[asked.get("recipe", usual["recipe"])]
    saved = _read_record(asked["resume"]) if "resume" in asked else {}
    if saved:
        _check_resumed(asked, saved, usual)
    args = argparse.Namespace(**{**usual, **recipe, **saved, **asked})
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(Settings)}
    lists = {name: tuple(values[name]) for name in ("teachers", "ingredients")}
    settings = Settings(**{**values, **lists})
    if settings.model == ADAM and asked.get("weight_decay"):
        raise SettingsError(
            f"--weight-decay {settings.weight_decay:g}: the network {ADAM!r} learns by Adam, which "
            "has none here; leave --weight-decay out, or choose another --model"
        )
    from_recipe = "small_epochs" not in {**saved, **asked}
    if from_recipe and not settings.can_be_small:
        # Nobody asked for small pictures but a recipe, which suits other networks, too.
        settings = dataclasses.replace(settings, small_epochs=0)
    return args, settings


def _check_resumed(asked: dict[str, Any], saved: dict[str, Any], usual: dict[str, Any]) -> None:
    """Refuse what beside --resume comes too late, unless the run has it so.

    It would change nothing any more, or epochs would be compared that were measured otherwise.

    Parameters
    ----------
    asked, saved, usual : dict
        What is on the command line, what the run has, and what flags are if nobody says anything.
    """
    folder, place = asked["resume"], asked["resume"].resolve()
    start = f"the weights of {saved['start']!r}" if saved["start"] else "no weights of another"
    pictures = f"{saved['limit']} pictures of each split" if saved["limit"] else "all pictures"
    hands = "other hands as well" if saved["hands"] else "MNIST alone"
    checks = [
        ("model", asked.get("model") in (None, saved["model"]), f"trains {saved['model']}"),
        ("start", asked.get("start") in (None, saved["start"]), f"began with {start}"),
        ("seed", asked.get("seed") in (None, saved["seed"]), f"began with seed {saved['seed']}"),
        # Epochs compare only where they were measured alike, and the best of all is kept.
        (
            "limit",
            asked.get("limit") in (None, saved["limit"]),
            f"learns from and is measured on {pictures}",
        ),
        (
            "hands",
            "hands" not in asked or bool(asked["hands"]) == bool(saved["hands"]),
            f"is measured on {hands}",
        ),
        ("run", asked.get("run") in (None, place.name), "stays in its folder"),
        (
            "output",
            asked.get("output", place.parent).resolve() == place.parent,
            "stays in its folder",
        ),
    ]
    for name, is_so, fact in checks:
        if not is_so:
            raise SettingsError(
                f"--{name} {asked[name]}: the run in {folder} {fact}; "
                f"leave --{name} out, or begin a run without --resume"
            )
    if "recipe" not in asked:
        return
    recipe = {**usual, **RECIPES[asked["recipe"]]}
    if not Settings(model=saved["model"], augment=saved["augment"]).can_be_small:
        recipe["small_epochs"] = 0  # as when the run began
    decided = {name for each in RECIPES.values() for name in each} - asked.keys()
    others = [name for name in recipe if name in decided and recipe[name] != saved[name]]
    if others:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise SettingsError(
            f"--recipe {asked['recipe']}: the run in {folder} goes on with the settings that it "
            f"has, and others than this recipe's are {flags}; leave --recipe out, and give the "
            "flags that are to change, or begin a run without --resume"
        )


def _read_record(folder: Path) -> dict[str, Any]:
    """Read from a run's config.json its settings, and what was asked for besides."""
    path = folder / "config.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        earlier = saved.pop("wishes", {})  # what older versions called them, if they kept any
        options = RunOptions.from_dict(saved.pop("options", earlier))
        return {**dataclasses.asdict(Settings(**saved)), **dataclasses.asdict(options)}
    except OSError as error:
        raise SettingsError(f"nothing to resume: cannot read {path} ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} is not the record of a run ({error})") from error


def run(args: argparse.Namespace, settings: Settings) -> Outcome | None:
    """Do what the command line says; None if another process leads and tells of the outcome."""
    check_crowd("--threads", args.threads)
    if args.run is not None:
        check_name("--run", args.run)
    if args.promote and not args.candidate:
        raise SettingsError("--promote needs --candidate NAME: the name it stays under if not")
    if args.threads:
        torch.set_num_threads(args.threads)
    run_name = args.run or f"{settings.model}-{datetime.now():%Y%m%d-%H%M%S}"
    fields = dataclasses.fields(RunOptions)
    options = RunOptions(**{field.name: getattr(args, field.name) for field in fields})
    with join_team("cpu" if args.no_cuda else args.device) as (team, device):
        if not team.is_leader:
            assist(settings, options, team, device=device, resume=args.resume is not None)
            return None
        return train(
            settings,
            options,
            folder=args.resume or args.output / run_name,
            device=device,
            team=team,
            resume=args.resume is not None,
        )


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says."""
    args, settings = parse_settings(argv)
    set_up_logging()
    try:
        with _stop_like_ctrl_c():
            outcome = run(args, settings)
    except KeyboardInterrupt:
        print("stopped with nothing to keep but what lies in the run's folder", file=sys.stderr)
        return INTERRUPTED
    if not outcome:
        return 0
    folder, best_path = shorten_path(outcome.folder), shorten_path(outcome.best_path)
    if outcome.interrupted:
        print(
            f"stopped; the best weights so far are in {best_path}; go on with:\n"
            f"  python train.py --resume {folder}",
            file=sys.stderr,
        )
        return INTERRUPTED
    print(f"best weights: {best_path}; curves and report: {folder}")
    return 0


@contextlib.contextmanager
def _stop_like_ctrl_c() -> Iterator[None]:
    """Treat a polite request to end (kill, a page's "cancel") as Ctrl-C: files are put in order."""

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
