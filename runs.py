"""The folder of one training run: its settings, the history that a page can follow, its reports.

outputs/RUN/config.json      every setting, and what was asked for besides
outputs/RUN/history.jsonl    one line for each epoch, written as it ends
outputs/RUN/stage.json       what is done before there is a history, for whoever follows the run
outputs/RUN/resume.pt        all that is needed to go on
outputs/RUN/best.pth         best weights on validation; last.pth: the newest
outputs/RUN/*.png            curves, confusion matrix, samples; report.txt: scores by digit
outputs/RUN/outcome.json     what it came to; the mark of a run that has done all that was asked

>>> run = Run(Path("outputs/first"), {"model": "mnistnet"}, epochs=20)
>>> run.start()
1
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import plots
from dataset import Digits
from errors import CheckpointError, OutputError, SettingsError
from learning import RunningAverage
from model import CLASSES, DigitNetwork, compute_logits
from utils import atomic_write, hold_lock, save_tensors, shorten_path

log = logging.getLogger(__name__)

HISTORY = "history.jsonl"
OUTCOME = "outcome.json"
RESUME = "resume.pt"
STAGE = "stage.json"


@dataclass(frozen=True)
class Score:
    """How a network does on labelled pictures: mean cross entropy, and part read right."""

    loss: float
    accuracy: float


def measure(model: nn.Module, digits: Digits) -> Score:
    """Compute loss and accuracy of a network on labelled pictures, in float32."""
    logits = compute_logits(model, digits.images.unsqueeze(1))
    assert digits.labels is not None
    labels = digits.labels.cpu()
    return Score(
        loss=float(F.cross_entropy(logits, labels)),
        accuracy=int((logits.argmax(dim=1) == labels).sum()) / max(len(labels), 1),
    )


@dataclass(frozen=True)
class Resumable:
    """Everything that changes while training, so that a run can go on as if it never stopped."""

    model: nn.Module
    average: RunningAverage | None
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    changes: torch.Generator

    @property
    def card(self) -> torch.device | None:
        """The CUDA card of the network, if it has one; asking others would start them."""
        device = next(self.model.parameters()).device
        return device if device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        """Collect tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict() if self.average else None,
            "average_count": self.average.count if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "changes": self.changes.get_state(),
            "dropout": torch.get_rng_state(),
            "dropout_card": torch.cuda.get_rng_state(self.card) if self.card else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put everything back."""
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.model.load_state_dict(state["average"] or state["model"])
            self.average.count = state["average_count"]
        # The state brings settings, too; those of the run stand, which a flag may have changed.
        asked = [group["weight_decay"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, weight_decay in zip(self.optimizer.param_groups, asked, strict=True):
            group["weight_decay"] = weight_decay
        self.order.set_state(state["order"])
        if len(state["changes"]) == len(self.changes.get_state()):  # else it is another device's
            self.changes.set_state(state["changes"])
        torch.set_rng_state(state["dropout"])
        if self.card and state.get("dropout_card") is not None:
            torch.cuda.set_rng_state(state["dropout_card"], self.card)


def rank(row: Mapping[str, Any]) -> tuple[float, float]:
    """Order epochs by validation accuracy, MNIST's and (if there are any) other hands' alike.

    Accuracy comes in steps of 1/5000, so ties are common; the loss decides between them.
    """
    accuracy = row["validation_accuracy"] + row.get("hands_accuracy", 0.0)
    return accuracy, -row["validation_loss"] - row.get("hands_loss", 0.0)


@dataclass(frozen=True)
class Stage:
    """What a run does before its first epoch has ended: from then on its history tells.

    Attributes
    ----------
    name : {"making digits", "making non-digits", "learning"}
    done, total : int, default=0
        Pictures, while some are made.
    """

    name: str
    done: int = 0
    total: int = 0


def read_stage(folder: Path) -> Stage | None:
    """Read what a run has noted last; None if there is no such note, as in older versions' runs."""
    try:
        noted = json.loads((folder / STAGE).read_text(encoding="utf-8"))
        return Stage(str(noted["name"]), int(noted["done"]), int(noted["total"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Run:
    """One training run and the folder that it writes.

    Parameters
    ----------
    folder : Path
        Made when the run starts.
    settings : mapping
        Plain values, for config.json.
    epochs : int
        How many are planned.
    patience : int, default=0
        Stop after this many epochs without a better one; 0 never stops early.

    Attributes
    ----------
    history : list of dict
        One row for each epoch, as in history.jsonl.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], *, epochs: int, patience: int = 0
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.epochs = epochs
        self.patience = patience
        self.history: list[dict[str, Any]] = []

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes out of the folder: two would mix their histories and weights.

        Raises
        ------
        BusyError
            If another process has the folder.
        OutputError
            If the folder cannot be written.
        """
        where = shorten_path(self.folder)
        busy = f"another process trains in {where}; wait for its end, or name another --run"
        return hold_lock(self.folder / ".lock", busy=busy)

    def check_new(self) -> None:
        """Refuse a folder that holds a run already.

        Raises
        ------
        SettingsError
            The message says what to do.
        """
        if (self.folder / "config.json").exists():
            raise SettingsError(
                f"{shorten_path(self.folder)} holds a run already; name another --run, or "
                "--resume that one"
            )

    def start(self) -> int:
        """Write the settings and the history so far, and return the first epoch.

        What the run came to before it went on is not so any more, and is deleted.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        with atomic_write(self.folder / "config.json") as path:
            path.write_text(json.dumps(self.settings, indent=2) + "\n", encoding="utf-8")
        with atomic_write(self.folder / HISTORY) as path:
            lines = [json.dumps(row) + "\n" for row in self.history]
            path.write_text("".join(lines), encoding="utf-8")
        self.note(Stage("learning"))
        try:
            (self.folder / OUTCOME).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror or error}") from error
        return len(self.history) + 1

    def note(self, stage: Stage) -> None:
        """Write what the run does now, for whoever follows it; `read_stage` reads it.

        Whoever follows a run from its first moment has made the folder. Otherwise it is made when
        the run starts, so that one that cannot start leaves nothing behind.
        """
        if not self.folder.is_dir():
            return
        try:
            with atomic_write(self.folder / STAGE) as path:
                path.write_text(json.dumps(asdict(stage)) + "\n", encoding="utf-8")
        except OutputError as error:  # no reason to stop; what has to be written reports itself
            log.warning("%s; whoever follows the run does not see what it does", error)

    @property
    def has_state(self) -> bool:
        """Whether there is something to go on from: an epoch has ended and was kept."""
        return (self.folder / RESUME).is_file()

    def resume(self, state: Resumable) -> int:
        """Put a stopped run back where it was, and return the epoch that comes next.

        A run that was stopped in its first epoch begins anew. One whose epochs are all done, but
        not what was to follow them, is resumed as well: the epoch that comes next is one too many
        then, or `is_stuck`.

        Raises
        ------
        SettingsError
            If there is nothing to resume, or the run is finished.
        CheckpointError
            If resume.pt is damaged, or of another network.
        """
        path = self.folder / RESUME
        if not self.has_state:
            if not self._may_begin_anew:
                raise SettingsError(
                    f"nothing to resume: no {path}; name the folder of a stopped run"
                )
            return self.start()
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            state.load_state_dict(saved["state"])
            self.history = list(saved["history"])
        # A damaged file, or one of another network, fails in as many ways as it has bytes.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{path} is damaged, or of another network than the one asked for ({reason}); "
                "start again without --resume"
            ) from error
        is_over = self.is_stuck or len(self.history) >= self.epochs
        if is_over and (self.folder / OUTCOME).exists():
            advice = "with --patience 0" if self.is_stuck else "with --epochs"
            raise SettingsError(
                f"the run in {self.folder} is finished, after epoch {len(self.history)}; "
                f"ask for more {advice}"
            )
        return self.start()

    @property
    def _may_begin_anew(self) -> bool:
        """Whether a run was begun in the folder, and no more than one epoch of it can get lost.

        An epoch is in the history before resume.pt is written, which a full disk may prevent.
        """
        if not (self.folder / "config.json").is_file() or (self.folder / OUTCOME).exists():
            return False
        try:
            return len((self.folder / HISTORY).read_bytes().splitlines()) <= 1
        except FileNotFoundError:
            return True
        except OSError as error:
            raise OutputError(f"cannot read {self.folder}: {error.strerror or error}") from error

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Write what the run came to: plain values. From now on it counts as finished."""
        with atomic_write(self.folder / OUTCOME) as path:
            path.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")

    def save(self, state: Resumable) -> None:
        """Write what `resume` needs.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        content = {"history": self.history, "state": state.state_dict()}
        save_tensors(content, self.folder / RESUME)

    @property
    def best_epoch(self) -> int:
        """The last epoch that was better than all before it."""
        return max(row["epoch"] for row in self.history if row["best"])

    @property
    def is_stuck(self) -> bool:
        """Whether so many epochs were not better than the best that patience has run out."""
        if not (self.patience and self.history):
            return False
        return len(self.history) - self.best_epoch >= self.patience

    def add_epoch(
        self, train: Score, validation: Score, hands: Score | None, *, lr: float, seconds: float
    ) -> dict[str, Any]:
        """Write the next row of the history, and decide whether it is the best so far.

        Parameters
        ----------
        train, validation : Score
        hands : Score or None
            On the held-out pictures of other hands.
        lr : float
            Learning rate of the last step.
        seconds : float
            That the epoch took.

        Returns
        -------
        dict
            The row: epoch, epochs, {train,validation,hands}_{loss,accuracy}, lr, seconds,
            elapsed (seconds of all epochs so far), best.
        """
        row: dict[str, Any] = {"epoch": len(self.history) + 1, "epochs": self.epochs}
        for name, score in (("train", train), ("validation", validation), ("hands", hands)):
            if score:
                row |= {f"{name}_loss": score.loss, f"{name}_accuracy": score.accuracy}
        before = self.history[-1]["elapsed"] if self.history else 0.0
        row |= {"lr": lr, "seconds": round(seconds, 3), "elapsed": round(before + seconds, 3)}
        row["best"] = all(rank(row) > rank(earlier) for earlier in self.history)
        self.history.append(row)
        try:
            with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror or error}") from error
        return row

    def report(self, model: DigitNetwork, digits: Digits, split: str) -> dict[str, Any]:
        """Write pictures and scores of the finished run.

        Parameters
        ----------
        model : DigitNetwork
            In evaluation mode, on the device of `digits`.
        digits : Digits
            Labelled.
        split : str
            What `digits` are, for the titles.

        Returns
        -------
        dict
            `{split}_accuracy` and `{split}_loss`.
        """
        from sklearn.metrics import classification_report  # only whoever finishes a run pays

        labels = digits.labels
        assert labels is not None
        logits = compute_logits(model, digits.images.unsqueeze(1))
        probabilities, truth = logits.softmax(dim=1).numpy(), labels.cpu().numpy()
        answers = probabilities.argmax(axis=1)
        right = int((answers == truth).sum())
        title = f"{len(digits):,} {split} pictures"
        figures = {
            "training_curves": plots.training_curves(self.history),
            "confusion_matrix": plots.confusion_matrix(truth, answers, title=title),
            "sample_predictions": plots.sample_predictions(
                digits.images.cpu().numpy(), truth, probabilities, title=title
            ),
        }
        for name, figure in figures.items():
            with atomic_write(self.folder / f"{name}.png") as path:
                figure.savefig(path)
            # The newest run's pictures also lie where one looks first.
            publish(self.folder / f"{name}.png", self.folder.parent / f"{name}.png")
        scores = classification_report(
            truth, answers, labels=range(CLASSES), digits=4, zero_division=0
        )
        text = f"{title}: {right:,} right, {right / len(truth):.2%}\n\n{scores}"
        with atomic_write(self.folder / "report.txt") as path:
            path.write_text(text, encoding="utf-8")
        return {
            f"{split}_accuracy": right / len(truth),
            f"{split}_loss": float(F.cross_entropy(logits, labels.cpu())),
        }


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    folder : Path
        The run's own folder under `outputs/`.
    best_path : Path
        Checkpoint with the best weights of this run.
    history : list of dict
        One row for each epoch, as in `history.jsonl`.
    metrics : dict
        As saved with the best weights.
    interrupted : bool
        Ended by Ctrl-C.
    """

    folder: Path
    best_path: Path
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    interrupted: bool


ROW_TITLE = "  epoch    loss  accuracy  validation loss  accuracy     hands        lr  seconds"


def format_row(row: Mapping[str, Any]) -> str:
    """Write one epoch as a line under `ROW_TITLE`; a star marks the best so far."""
    hands = f"{row['hands_accuracy']:.2%}" if "hands_accuracy" in row else "-"
    return (
        f"{row['epoch']:>3}/{row['epochs']:<3}  {row['train_loss']:.4f}  "
        f"{row['train_accuracy']:>8.2%}  {row['validation_loss']:>15.4f}  "
        f"{row['validation_accuracy']:>8.2%}  {hands:>8}  {row['lr']:>8.2e}  {row['seconds']:>7.1f}"
        f"{' *' if row['best'] else ''}"
    )


def publish(source: Path, target: Path) -> None:
    """Copy a finished file over another in one step."""
    with atomic_write(target) as path:
        shutil.copyfile(source, path)
