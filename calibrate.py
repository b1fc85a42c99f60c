"""Teach a trained network honest doubt: fit its temperature and choose when it refuses.

    validation digits, clean and photographed -> logits -> temperature: confidence is honest
    doubt of digits and of non-digits -> two thresholds (ok | unsure | not a digit)

The weights stay as they are; the checkpoint is written anew with the three numbers in it. Nothing
here has been seen in training: MNIST's validation pictures, digits of other hands made from a
seed that nothing learns from, and letters, scribbles, pairs and noise made in the same way.

    $ python calibrate.py --model best
    $ python calibrate.py --model best --output calibrated.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset import data_dir, load_mnist
from errors import OutputError
from hands import VALIDATION_COUNT, VALIDATION_SEED, make_hands, make_non_digits
from measures import calibration_error, negative_log_likelihood, roc_auc
from model import DigitNetwork, compute_logits
from predict import measure_doubt
from registry import Checkpoint, load_checkpoint, save_checkpoint
from utils import HelpFormatter, check_writable, report_errors, set_up_logging

# What verdicts may cost, as parts of all digits or of all non-digits. What strangers bring is
# harder than what we generate: for 5 % of theirs to be called ok, at most 2 % of ours may.
DIGITS_REFUSED = 0.01
DIGITS_UNSURE = 0.03
NON_DIGITS_OK = 0.02
RESERVE = 0.75  # of the first limit is used, as other pictures are a little different

LOG_TEMPERATURE = (-3.0, 3.0)  # search range; 0.05 to 20
STEPS = 2_000  # of doubt, among which the thresholds are chosen


@dataclass(frozen=True)
class Evidence:
    """What a network says about pictures that it has not learned from.

    Attributes
    ----------
    digits : dict of str to (ndarray of shape (N, 10), ndarray of shape (N,))
        For each set of digits the logits and the labels.
    non_digits : ndarray of shape (N, 10)
        Logits.
    """

    digits: dict[str, tuple[np.ndarray, np.ndarray]]
    non_digits: np.ndarray


def collect_evidence(
    model: DigitNetwork, data_folder: Path, *, count: int = VALIDATION_COUNT
) -> Evidence:
    """Ask a network about validation pictures.

    Parameters
    ----------
    model : DigitNetwork
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    count : int, default=3000
        How many digits of other hands, and how many non-digits.

    Raises
    ------
    DataNotFoundError
        If there is no MNIST.
    """
    mnist = load_mnist("validation", data_folder)
    assert mnist.labels is not None
    pictures, labels = mnist.images.numpy(), mnist.labels.numpy()
    hands, hand_labels = make_hands(
        count, seed=VALIDATION_SEED, folder=data_folder, mnist=(pictures, labels)
    )
    others, _ = make_non_digits(count, seed=VALIDATION_SEED, folder=data_folder)
    return Evidence(
        digits={
            "MNIST": (_ask(model, pictures), labels),
            "other hands": (_ask(model, hands), hand_labels),
        },
        non_digits=_ask(model, others),
    )


def _ask(model: DigitNetwork, images: np.ndarray) -> np.ndarray:
    """Compute logits, float64 of shape (N, 10)."""
    return compute_logits(model, torch.from_numpy(images).unsqueeze(1)).double().numpy()


def to_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Turn logits of shape (N, 10) into probabilities at a temperature."""
    from scipy.special import softmax

    probabilities: np.ndarray = softmax(logits / temperature, axis=1)
    return probabilities


def fit_temperature(digits: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Find the temperature of the least negative log-likelihood, each set counting the same.

    Parameters
    ----------
    digits : sequence of (ndarray of shape (N, 10), ndarray of shape (N,))
        Logits and labels of each set.

    Returns
    -------
    float
        0.05 to 20; above 1 where the network was too sure.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks", section 4.2.
    """
    from scipy.optimize import minimize_scalar

    def cost(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        return sum(
            negative_log_likelihood(to_probabilities(logits, temperature), labels) or 0.0
            for logits, labels in digits
        )

    return float(np.exp(minimize_scalar(cost, bounds=LOG_TEMPERATURE, method="bounded").x))


def choose_thresholds(digits: Sequence[np.ndarray], non_digits: np.ndarray) -> dict[str, float]:
    """Choose how much doubt makes a picture unsure, and how much makes it no digit.

    "Not a digit" begins where only three quarters of the digits that it may cost are lost.
    "Unsure" begins where the two limits that remain, digits called unsure and non-digits called
    ok, are used up to the same part.

    Parameters
    ----------
    digits : sequence of ndarray
        Doubt (see `predict.measure_doubt`) about each set of digits; sets count the same.
    non_digits : ndarray
        Doubt about pictures of no digit.

    Returns
    -------
    dict
        `unsure_above` and `not_a_digit_above`, the latter at least as high.
    """
    steps = np.linspace(0, 1, STEPS + 1)
    refused = np.mean([_share_above(doubt, steps) for doubt in digits], axis=0)
    # Doubt never exceeds 1, so the last step always costs nothing.
    last = int(np.argmax(refused <= RESERVE * DIGITS_REFUSED))
    unsure = (refused - refused[last])[: last + 1]
    wrongly_ok = 1 - _share_above(non_digits, steps[: last + 1])
    cost = np.maximum(unsure / DIGITS_UNSURE, wrongly_ok / NON_DIGITS_OK)
    return {
        "unsure_above": float(steps[int(cost.argmin())]),
        "not_a_digit_above": float(steps[last]),
    }


def _share_above(doubt: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Say for each step which part of the pictures has more doubt."""
    return 1 - np.searchsorted(np.sort(doubt), steps, side="right") / len(doubt)


def judge(evidence: Evidence, temperature: float, refusal: dict[str, float]) -> dict[str, Any]:
    """Count what a temperature and thresholds do to the pictures they were chosen by.

    Returns
    -------
    dict
        For each set of digits its `accuracy`, `calibration_error`, `unsure` and `refused` (parts
        of all), and for the non-digits `ok`, `unsure`, `refused` and their `roc_auc` from the
        digits of all sets.
    """
    found: dict[str, Any] = {}
    doubts = {}
    for name, (logits, labels) in evidence.digits.items():
        probabilities = to_probabilities(logits, temperature)
        right = probabilities.argmax(axis=1) == labels
        doubts[name] = measure_doubt(probabilities)
        found[name] = {
            "accuracy": float(right.mean()),
            "calibration_error": calibration_error(probabilities.max(axis=1), right),
            **_count(doubts[name], refusal),
        }
    doubt = measure_doubt(to_probabilities(evidence.non_digits, temperature))
    every = np.concatenate(list(doubts.values()))
    found["non-digits"] = {**_count(doubt, refusal), "roc_auc": roc_auc(-every, -doubt)}
    return found


def _count(doubt: np.ndarray, refusal: dict[str, float]) -> dict[str, float]:
    """Give the parts of a set that get each verdict."""
    ok = float((doubt <= refusal["unsure_above"]).mean())
    refused = float((doubt > refusal["not_a_digit_above"]).mean())
    return {"ok": ok, "unsure": round(1 - ok - refused, 12), "refused": refused}


def calibrate(
    checkpoint: Checkpoint,
    data_folder: Path,
    *,
    output: Path | None = None,
    count: int = VALIDATION_COUNT,
) -> dict[str, Any]:
    """Fit temperature and thresholds, and write the checkpoint with them.

    Parameters
    ----------
    checkpoint : Checkpoint
        The network; its weights are not changed.
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    output : Path, optional
        Where to write; by default the checkpoint's own file, which is replaced in one step.
    count : int, default=3000
        How many digits of other hands, and how many non-digits.

    Returns
    -------
    dict
        `temperature`, `refusal` (see `choose_thresholds`) and `sets` (see `judge`). It is kept in
        the checkpoint's metrics as `calibration`.

    Raises
    ------
    DataNotFoundError
        If there is no MNIST.
    OutputError
        If the file cannot be written; the old one stands.
    """
    target = output or checkpoint.path
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder; name a file with --output")
    check_writable(
        target.parent,
        purpose="where the calibrated model is to go",
        advice="name another file with --output",
    )
    evidence = collect_evidence(checkpoint.model, data_folder, count=count)
    temperature = fit_temperature(list(evidence.digits.values()))
    refusal = choose_thresholds(
        [
            measure_doubt(to_probabilities(logits, temperature))
            for logits, _ in evidence.digits.values()
        ],
        measure_doubt(to_probabilities(evidence.non_digits, temperature)),
    )
    found = {
        "temperature": temperature,
        "refusal": refusal,
        "sets": judge(evidence, temperature, refusal),
    }
    save_checkpoint(
        target,
        checkpoint.model,
        settings=checkpoint.settings,
        metrics={**checkpoint.metrics, "calibration": found},
        data=checkpoint.data,
        temperature=temperature,
        refusal=refusal,
        extra=checkpoint.extra,
    )
    return found


def format_result(found: dict[str, Any]) -> str:
    """Write what came out as a few lines for a terminal."""
    refusal = found["refusal"]
    lines = [
        f"temperature {found['temperature']:.3f}; of the highest doubt, more than "
        f"{refusal['unsure_above']:.3f} is unsure, more than "
        f"{refusal['not_a_digit_above']:.3f} is not a digit",
        "",
        "On the pictures that these numbers were chosen by, which flatter them a little:",
        f"{'':<12}  {'right':>8}  {'calibration':>11}  {'ok':>8}  {'unsure':>8}  {'refused':>8}",
    ]
    for name, row in found["sets"].items():
        right, error = row.get("accuracy"), row.get("calibration_error")
        lines.append(
            f"{name:<12}  {_percent(right):>8}  {_percent(error):>11}  "
            f"{_percent(row['ok']):>8}  {_percent(row['unsure']):>8}  {_percent(row['refused']):>8}"
        )
    separated = found["sets"]["non-digits"]["roc_auc"]
    lines += ["", f"doubt tells digits from the rest in {separated:.2%} of pairs"]
    if missed := find_missed_limits(found["sets"]):
        lines.append(f"limits that this network misses: {'; '.join(missed)}")
    return "\n".join(lines)


def find_missed_limits(sets: dict[str, Any]) -> list[str]:
    """Name what the verdicts cost more than they may, as `DIGITS_UNSURE` and its like say.

    Parameters
    ----------
    sets : dict
        As from `judge`; sets of digits count the same, as for `choose_thresholds`.

    Returns
    -------
    list of str
        One for each limit that is missed.
    """
    digits = [row for name, row in sets.items() if name != "non-digits"]
    costs = (
        ("digits are refused", np.mean([row["refused"] for row in digits]), DIGITS_REFUSED),
        ("digits are unsure", np.mean([row["unsure"] for row in digits]), DIGITS_UNSURE),
        ("non-digits are ok", sets["non-digits"]["ok"], NON_DIGITS_OK),
    )
    return [
        f"{cost:.2%} of {what}, {limit:.0%} may be" for what, cost, limit in costs if cost > limit
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Fit a network's temperature and its thresholds of doubt.",
        epilog="examples:\n"
        "  python calibrate.py --model best\n"
        "  python calibrate.py --model outputs/run/best.pth --output calibrated.pth",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument(
        "--output", type=Path, help="where to write; default: in place of the model"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder of MNIST; default: $DIGITS_DATA, or data/ here"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Calibrate, print what came out, and say what was written."""
    checkpoint = load_checkpoint(args.model)
    found = calibrate(checkpoint, data_dir(args.data_dir), output=args.output)
    print(format_result(found))
    print(f"\nwritten: {args.output or checkpoint.path}", file=sys.stderr)
    return 0


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    set_up_logging()
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
