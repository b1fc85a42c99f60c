"""Measure how well a network reads: any checkpoint, on any pictures whose digits are known.

    sources -> pictures -> the same path as for everybody -> answers -> metrics.json, report.html

Accuracy is only one number of several. A reader that people can trust also knows when it does not
know, so each set of pictures is asked: how many are right, with which interval; does confidence
mean what it says; which verdicts do digits get, and which do pictures of no digit.

    $ python evaluate.py
    $ python evaluate.py mnist load_digits hands non-digits --forms --robustness
    $ python evaluate.py pictures.csv --group kind --model last
    $ python evaluate.py scans/              # with folders scans/0 ... scans/9 and scans/none

What a run leaves behind:

    outputs/RUN/report.html     everything on one page, with the mistakes; needs no other file
    outputs/RUN/metrics.json    the same numbers for programs
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from batch_input import Input
from batch_workers import Answer, WorkerPool
from dataset import Digits, data_dir
from errors import SettingsError
from evaluation_report import Card, write_report
from hands import NOT_A_DIGIT
from measures import (
    Share,
    calibration_bins,
    calibration_error,
    coverage_curve,
    negative_log_likelihood,
    roc_auc,
)
from model import CLASSES, FORWARD_BATCH
from pixels import to_bytes
from predict import MNISTPredictor, measure_doubt
from reading import Prediction
from samples import (
    NONE,
    Sample,
    has_columns,
    holds_mnist_form,
    load_mnist_form,
    load_samples,
)
from stress import DAMAGES, FORMS, STRENGTHS, as_file, as_picture, damage, middle
from utils import (
    PROJECT,
    HelpFormatter,
    atomic_write,
    check_crowd,
    check_name,
    check_writable,
    count_processors,
    one_line,
    report_errors,
    set_up_logging,
)

OUTPUTS = PROJECT / "outputs"
DEFAULT_SOURCE = "mnist:validation"
VERDICTS = ("ok", "unsure", "not a digit", "error")
SHOWN = 120  # pictures under one heading of the report
CURVE_POINTS = 200
STRESS_LIMIT = 1_000  # pictures for each strength of each damage; every one is prepared anew
STRESS_SEED = 0
FEW = 100  # pictures for which no worker process is worth its start


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes
    ----------
    sample : Sample
        The picture and what it shows.
    prediction : Prediction or None
        None if there was nothing to ask the network.
    verdict : str
        The prediction's; "not a digit" for a blank picture; "error" for one that cannot be read.
    reason : str
        Why, in plain words; empty where the verdict is "ok".
    """

    sample: Sample
    prediction: Prediction | None
    verdict: str
    reason: str

    @property
    def is_right(self) -> bool:
        """Whether the digit was read, whatever the verdict."""
        return self.prediction is not None and self.prediction.digit == self.sample.label

    @property
    def confidence(self) -> float:
        """Of the prediction; 0.0 where there is none."""
        return 0.0 if self.prediction is None else self.prediction.confidence


# --- reading ------------------------------------------------------------------------------------


def read_samples(
    predictor: MNISTPredictor,
    samples: Iterable[Sample],
    *,
    workers: int = 0,
    title: str = "reading",
) -> list[Outcome]:
    """Read pictures on the path that every picture takes.

    Parameters
    ----------
    predictor : MNISTPredictor
    samples : iterable of Sample
        May be lazy.
    workers : int, default=0
        Processes that decode and prepare pictures; 0 does it in this one.
    title : str, optional
        Of the progress bar.

    Returns
    -------
    list of Outcome
        In the order of the samples, without files that are no pictures and that nobody named.
    """
    waiting, asked = itertools.tee(samples)
    outcomes: list[Outcome] = []
    with WorkerPool(workers) as pool:
        answers = pool.answer((sample.input, None) for sample in asked)
        pairs = zip(waiting, answers, strict=True)
        bar = tqdm(desc=title, unit=" pictures", leave=False, disable=None)
        with bar:
            while batch := list(itertools.islice(pairs, FORWARD_BATCH)):
                outcomes += _judge_batch(
                    predictor, [(sample, answer) for sample, (_, answer) in batch]
                )
                bar.update(len(batch))
    return outcomes


def _judge_batch(
    predictor: MNISTPredictor, pairs: Sequence[tuple[Sample, Answer]]
) -> Iterator[Outcome]:
    """Run the network over what the workers have prepared."""
    prepared = [answer.prepared for _, answer in pairs if answer.prepared is not None]
    predictions = iter(predictor.predict_prepared(prepared))
    for sample, answer in pairs:
        if answer.prepared is not None:
            prediction = next(predictions)
            yield Outcome(sample, prediction, prediction.verdict, prediction.reason)
        elif answer.status != "skipped":
            yield Outcome(sample, None, answer.status, answer.reason)


# --- counting -----------------------------------------------------------------------------------


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Count everything that a report says about one set of pictures.

    Parameters
    ----------
    outcomes : sequence of Outcome

    Returns
    -------
    dict
        Plain values. `accuracy` and `ok_but_wrong` (see `measures.Share`); `classes` and, for each
        known group, `groups`: rows of pictures, accuracy and verdicts; `confusion` (ten rows of
        ten counts, by label and then by digit); `calibration` (error, bins,
        negative_log_likelihood);
        `coverage` (points of a curve); `verdicts` of digits and non-digits; `roc_auc` of the
        two by doubt, or None where one is missing.
    """
    digits = [outcome for outcome in outcomes if outcome.sample.label != NOT_A_DIGIT]
    others = [outcome for outcome in outcomes if outcome.sample.label == NOT_A_DIGIT]
    trusted = [outcome for outcome in digits if outcome.verdict == "ok"]
    read = [outcome for outcome in digits if outcome.prediction is not None]
    confidence = np.array([outcome.confidence for outcome in digits])
    right = np.array([outcome.is_right for outcome in digits], bool)
    has_answer = np.array([outcome.prediction is not None for outcome in digits], bool)
    labels = np.array([outcome.sample.label for outcome in read], np.int64)
    columns = sorted({column for outcome in outcomes for column in outcome.sample.groups})
    return {
        "pictures": len(outcomes),
        "digits": len(digits),
        "non_digits": len(others),
        "accuracy": _share_right(digits).to_dict(),
        "ok_but_wrong": Share(
            sum(not outcome.is_right for outcome in trusted),
            len(trusted),
            _count_independent(trusted),
        ).to_dict(),
        "classes": _rows(outcomes, [_label_name(o.sample.label) for o in outcomes]),
        "groups": {
            column: _rows(outcomes, [o.sample.groups.get(column, "") for o in outcomes])
            for column in columns
        },
        "confusion": _count_confusions(read),
        "calibration": {
            "error": calibration_error(confidence[has_answer], right[has_answer]),
            "bins": calibration_bins(confidence[has_answer], right[has_answer]),
            "negative_log_likelihood": negative_log_likelihood(_probabilities(read), labels),
        },
        "coverage": _thin_curve(confidence, right),
        "verdicts": {"digits": _count_verdicts(digits), "non_digits": _count_verdicts(others)},
        "roc_auc": _roc_auc(digits, others),
    }


def _share_right(outcomes: Sequence[Outcome]) -> Share:
    """Count the right answers among digits."""
    right = sum(outcome.is_right for outcome in outcomes)
    return Share(right, len(outcomes), _count_independent(outcomes))


def _count_independent(outcomes: Sequence[Outcome]) -> int:
    """Count every digit once, of however many pictures it is shown in."""
    views = [outcome.sample.view_of for outcome in outcomes if outcome.sample.view_of]
    return len(outcomes) - len(views) + len(set(views))


def _label_name(label: int) -> str:
    return NONE if label == NOT_A_DIGIT else str(label)


def _rows(outcomes: Sequence[Outcome], names: Sequence[str]) -> list[dict[str, Any]]:
    """Count pictures, right answers and verdicts for each part of a set, given its name each."""
    parts: dict[str, list[Outcome]] = {}
    for outcome, name in zip(outcomes, names, strict=True):
        parts.setdefault(name, []).append(outcome)
    return [
        {
            "name": name,
            "pictures": len(part),
            "accuracy": _share_right(
                [outcome for outcome in part if outcome.sample.label != NOT_A_DIGIT]
            ).to_dict(),
            "verdicts": _count_verdicts(part),
        }
        for name, part in sorted(parts.items())
    ]


def _count_verdicts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    counts = Counter(outcome.verdict for outcome in outcomes)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _count_confusions(read: Sequence[Outcome]) -> list[list[int]]:
    counts = np.zeros((CLASSES, CLASSES), int)
    for outcome in read:
        assert outcome.prediction is not None
        counts[outcome.sample.label, outcome.prediction.digit] += 1
    table: list[list[int]] = counts.tolist()
    return table


def _probabilities(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Stack what the network said, (N, 10)."""
    rows = [outcome.prediction.probabilities for outcome in outcomes if outcome.prediction]
    return np.stack(rows) if rows else np.empty((0, CLASSES))


def _thin_curve(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Keep as many points of the coverage curve as one can see."""
    if not len(confidence):
        return []
    coverage, accuracy = coverage_curve(confidence, right)
    places = np.unique(np.linspace(0, len(coverage) - 1, CURVE_POINTS).round().astype(int))
    return [
        {"coverage": float(coverage[place]), "accuracy": float(accuracy[place])}
        for place in places.tolist()
    ]


def _roc_auc(digits: Sequence[Outcome], others: Sequence[Outcome]) -> float | None:
    """Say how well doubt tells digits from the rest; what could not be read has none."""
    doubts = [measure_doubt(_probabilities(part)) for part in (digits, others)]
    if not all(map(len, doubts)):
        return None
    return roc_auc(-doubts[0], -doubts[1])


def choose_cards(outcomes: Sequence[Outcome]) -> dict[str, list[Card]]:
    """Choose the pictures that somebody should look at, the most telling first."""
    by_confidence = sorted(outcomes, key=lambda outcome: -outcome.confidence)
    digits = [outcome for outcome in by_confidence if outcome.sample.label != NOT_A_DIGIT]
    chosen = {
        "Misread": [o for o in digits if o.prediction is not None and not o.is_right],
        "Not a digit, yet taken for one": [
            o for o in by_confidence if o.sample.label == NOT_A_DIGIT and o.verdict == "ok"
        ],
        "A digit, yet called none": [
            o for o in digits if o.is_right and o.verdict == "not a digit"
        ],
        "Not read at all": [
            o
            for o in outcomes
            if o.verdict == "error" or (o.prediction is None and o.sample.label != NOT_A_DIGIT)
        ],
    }
    return {
        f"{heading}: {len(some):,}" + (f" (the first {SHOWN})" if len(some) > SHOWN else ""): [
            _make_card(outcome) for outcome in some[:SHOWN]
        ]
        for heading, some in chosen.items()
    }


def _make_card(outcome: Outcome) -> Card:
    """Collect what is shown of one picture."""
    prediction = outcome.prediction
    answer = "–" if prediction is None else f"{prediction.digit} at {prediction.confidence:.1%}"
    note = f"{outcome.verdict}: {outcome.reason}" if outcome.reason else outcome.verdict
    return Card(
        name=outcome.sample.name,
        shows=_label_name(outcome.sample.label),
        answer=answer,
        note=note,
        source=_picture_of(outcome.sample.input),
        seen=None if prediction is None else prediction.image,
    )


def _picture_of(item: Input) -> str | bytes | np.ndarray | None:
    """Give the picture as it came, for its thumbnail."""
    if item.is_raw and item.data:
        return np.frombuffer(item.data, np.uint8).reshape(28, 28)
    return item.file if item.data is None else item.data


# --- making it harder ---------------------------------------------------------------------------


def measure_forms(predictor: MNISTPredictor, digits: Digits, *, workers: int = 0) -> dict[str, Any]:
    """Write MNIST's digits as files in the forms of `stress.FORMS`, and read them again.

    Parameters
    ----------
    predictor : MNISTPredictor
    digits : Digits
        With labels.
    workers : int, default=0
        As for `read_samples`.

    Returns
    -------
    dict
        `direct`: accuracy of the network on the pictures themselves; `rows`: for each form its
        accuracy and how many percentage points that is above `direct`.
    """
    direct = _share_right(read_samples(predictor, _raw_samples(digits), title="as they are"))
    rows = []
    for form in FORMS:
        rng = np.random.default_rng(STRESS_SEED)
        samples = (
            _file_sample(as_file(pixels, form, rng), label) for pixels, label in _pairs(digits)
        )
        found = _share_right(read_samples(predictor, samples, workers=workers, title=form))
        points = 100 * (found.count - direct.count) / max(direct.of, 1)
        rows.append({"form": form, "accuracy": found.to_dict(), "points": round(points, 4)})
    return {"pictures": len(digits), "direct": direct.to_dict(), "rows": rows}


def measure_robustness(
    predictor: MNISTPredictor, digits: Digits, *, workers: int = 0
) -> dict[str, Any]:
    """Spoil MNIST's digits in the ways of `stress.DAMAGES`, and read them again.

    Parameters
    ----------
    predictor, digits, workers
        As for `measure_forms`.

    Returns
    -------
    dict
        `curves`: for each kind of damage a row for each strength: `amount`; `accuracy` of the
        whole reader, which gets a picture; `network`: that of the network alone, which gets the
        middle of the field; `ok`: the part of the reader's answers with that verdict. `units`:
        what the amounts of each kind are counted in.
    """
    curves: dict[str, list[dict[str, float]]] = {}
    for kind, (amounts, _) in DAMAGES.items():
        curves[kind] = []
        for strength, amount in zip(STRENGTHS, amounts, strict=True):
            rng = np.random.default_rng(STRESS_SEED)
            fields = [damage(pixels, kind, strength, rng) for pixels, _ in _pairs(digits)]
            labels = [label for _, label in _pairs(digits)]
            samples = (
                _file_sample(as_picture(field), label)
                for field, label in zip(fields, labels, strict=True)
            )
            title = f"{kind} {strength} of {len(STRENGTHS)}"
            outcomes = read_samples(predictor, samples, workers=workers, title=title)
            seen = to_bytes(np.stack([middle(field) for field in fields]))
            alone = read_samples(
                predictor, _raw_samples(Digits(torch.from_numpy(seen), digits.labels))
            )
            curves[kind].append(
                {
                    "amount": amount,
                    "accuracy": sum(o.is_right for o in outcomes) / len(outcomes),
                    "network": sum(o.is_right for o in alone) / len(alone),
                    "ok": sum(o.verdict == "ok" for o in outcomes) / len(outcomes),
                }
            )
    units = {kind: unit for kind, (_, unit) in DAMAGES.items()}
    return {"pictures": len(digits), "curves": curves, "units": units}


def _pairs(digits: Digits) -> Iterator[tuple[np.ndarray, int]]:
    """Walk over pictures and labels."""
    assert digits.labels is not None
    return zip(digits.images.numpy(), digits.labels.tolist(), strict=True)


def _raw_samples(digits: Digits) -> list[Sample]:
    """Hand 28x28 pictures to the network as they are."""
    return [
        Sample(Input(f"#{place}", data=pixels.tobytes(), is_raw=True), label)
        for place, (pixels, label) in enumerate(_pairs(digits))
    ]


def _file_sample(content: bytes, label: int) -> Sample:
    """Describe a picture file that is only in memory."""
    return Sample(Input("made here", data=content, size=len(content), is_listed=True), label)


# --- all together -------------------------------------------------------------------------------


def evaluate(
    predictor: MNISTPredictor,
    sources: Sequence[str] = (DEFAULT_SOURCE,),
    *,
    folder: Path,
    data_folder: Path,
    groups: Sequence[str] = (),
    forms: bool = False,
    robustness: bool = False,
    limit: int = 0,
    workers: int = 0,
) -> dict[str, Any]:
    """Measure a reader on sets of pictures and write the report.

    Parameters
    ----------
    predictor : MNISTPredictor
        Who is measured.
    sources : sequence of str
        Sets of pictures; see `samples.load_samples`.
    folder : Path
        Gets `metrics.json` and `report.html`.
    data_folder : Path
        Where MNIST lies and generated pictures are kept.
    groups : sequence of str
        Columns of tables that are counted apart.
    forms, robustness : bool, default=False
        Whether to make `measure_forms` and `measure_robustness` of the first source that holds
        pictures in MNIST's form (of MNIST's validation pictures, if none does).
    limit : int, default=0
        Take only this many pictures of each set; 0 takes all.
    workers : int, default=0
        Processes that make, decode and prepare pictures.

    Returns
    -------
    dict
        What `metrics.json` holds: `model`, `sets` (see `summarise`), `forms`, `robustness`, ...

    Raises
    ------
    SettingsError
        If there are groups, and no table among the sources.
    DigitError
        If a source cannot be read, or the report cannot be written.
    """
    if groups and not any(map(has_columns, sources)):
        raise SettingsError(
            f"--group {groups[0]}: only a table, FILE.csv, has columns to count by, and no source "
            "is one; leave it out, or write a table"
        )
    started = time.perf_counter()
    checkpoint = predictor.checkpoint
    check_writable(folder, purpose="where the report is to go", advice="name another --output")
    # Everything is looked up before anything is read: a wrong name must not cost minutes.
    found = {
        what: load_samples(what, data_folder, groups=groups, limit=limit, workers=workers)
        for what in sources
    }
    sets, cards = {}, {}
    for what, samples in found.items():
        few = len(samples) < FEW
        outcomes = read_samples(predictor, samples, workers=0 if few else workers, title=what)
        sets[what], cards[what] = summarise(outcomes), choose_cards(outcomes)
    metrics: dict[str, Any] = {
        "model": {
            "name": checkpoint.name,
            "architecture": checkpoint.architecture,
            "version": checkpoint.version,
            "created": checkpoint.created,
            "temperature": checkpoint.temperature,
            "refusal": checkpoint.refusal,
        },
        "sets": sets,
    }
    base = next(filter(holds_mnist_form, sources), DEFAULT_SOURCE)
    if forms:
        digits = load_mnist_form(base, data_folder, limit=limit)
        metrics["forms"] = {"source": base, **measure_forms(predictor, digits, workers=workers)}
    if robustness:
        digits = load_mnist_form(base, data_folder, limit=min(limit or STRESS_LIMIT, STRESS_LIMIT))
        metrics["robustness"] = {
            "source": base,
            **measure_robustness(predictor, digits, workers=workers),
        }
    metrics["measured"] = datetime.now().astimezone().isoformat(timespec="seconds")
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    with atomic_write(folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    write_report(metrics, cards, folder / "report.html")
    return metrics


# --- command line -------------------------------------------------------------------------------


def format_metrics(metrics: dict[str, Any]) -> str:
    """Write the most telling numbers as a table for a terminal."""
    sets = {one_line(name): found for name, found in metrics["sets"].items()}
    width = max(len(name) for name in [*sets, *FORMS, "set"])
    lines = [
        f"{'set':<{width}}  {'digits':>7}  {'right':>7}  {'95 % interval':>16}  {'calibration':>11}"
        f"  {'unsure':>7}  {'refused':>7}  {'non-digits':>10}  {'of them ok':>10}"
    ]
    for name, found in sets.items():
        verdicts, count, others = found["verdicts"], found["digits"], found["non_digits"]
        digits, rest = verdicts["digits"], verdicts["non_digits"]
        lines.append(
            f"{name:<{width}}  {count:>7,}  {_percent(found['accuracy']['value']):>7}  "
            f"{_interval(found['accuracy']):>16}  {_percent(found['calibration']['error']):>11}  "
            f"{_percent(digits['unsure'] / count if count else None):>7}  "
            f"{_percent(digits['not a digit'] / count if count else None):>7}  "
            f"{others or '-':>10}  {_percent(rest['ok'] / others if others else None):>10}"
        )
    lines += [
        f"{name}: {share['of']:,} pictures of {share['independent']:,} digits, which the interval "
        "counts"
        for name, share in ((name, found["accuracy"]) for name, found in sets.items())
        if share["independent"] < share["of"]
    ]
    if "forms" in metrics:
        direct = metrics["forms"]["direct"]
        lines += ["", f"{'form':<{width}}  {'':>7}  {'right':>7}  {'95 % interval':>16}  points"]
        lines.append(
            f"{'given to the network':<{width}}  {direct['of']:>7,}  "
            f"{_percent(direct['value']):>7}  {_interval(direct):>16}"
        )
        for row in metrics["forms"]["rows"]:
            share = row["accuracy"]
            lines.append(
                f"{row['form']:<{width}}  {share['of']:>7,}  {_percent(share['value']):>7}  "
                f"{_interval(share):>16}  {row['points']:+.2f}"
            )
    if "robustness" in metrics:
        strengths = "".join(f"{strength:>9}" for strength in STRENGTHS)
        lines += ["", f"{'right at strength':<{width}}{strengths}   (network alone)"]
        for kind, rows in metrics["robustness"]["curves"].items():
            reader = "".join(f"{_percent(row['accuracy']):>9}" for row in rows)
            alone = ", ".join(f"{100 * row['network']:.0f}" for row in rows)
            lines.append(f"{kind:<{width}}{reader}   ({alone})")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _interval(share: dict[str, Any]) -> str:
    return f"{100 * share['low']:.2f} to {100 * share['high']:.2f}" if share["of"] else "-"


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Measure how well a network reads pictures whose digits are known.",
        epilog="sources:\n"
        "  mnist, mnist:validation       pictures that training never sees; choose by these\n"
        "  mnist:test                    for one final measurement only\n"
        "  load_digits                   scikit-learn's digits, enlarged, in both polarities\n"
        "  hands, non-digits             generated pictures\n"
        "  FOLDER, FILE.zip, FILE.tar    pictures in folders named 0 to 9, or none\n"
        "  FILE.csv                      path,label and more columns; or Kaggle's train.csv\n\n"
        "examples:\n"
        "  python evaluate.py mnist load_digits --forms --robustness\n"
        "  python evaluate.py pictures.csv --group kind --model last",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    # fmt: off
    add("sources", nargs="*", metavar="SOURCE", default=[DEFAULT_SOURCE], help="what to read")
    add("--model", default="best", help="name in models/, or a checkpoint's path")
    add("--group", action="append", default=[], metavar="COLUMN",
        help="count by this column of a table too; may be repeated")
    add("--forms", action="store_true", help="also write MNIST's digits as files of eight forms")
    add("--robustness", action="store_true",
        help="also spoil MNIST's digits in six ways, at five strengths")
    add("--limit", type=int, default=0, metavar="N",
        help="take only so many pictures of each set; 0 takes all")
    add("--workers", type=int, metavar="N",
        help="processes that make and prepare pictures; default: one for each core")
    add("--data-dir", type=Path, help="folder of MNIST; default: $DIGITS_DATA, or data/ here")
    add("--output", type=Path, default=OUTPUTS, help="where the run's folder goes")
    add("--run", metavar="NAME", help="name of the run's folder; default: model and time")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    # fmt: on
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, print the table and say where the report is."""
    workers = count_processors() if args.workers is None else args.workers
    check_crowd("--workers", workers)
    if args.run is not None:
        check_name("--run", args.run)
    predictor = MNISTPredictor(args.model, device=args.device)
    name = args.run or f"evaluation-{predictor.checkpoint.name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = args.output / name
    if (folder / "metrics.json").exists():
        raise SettingsError(
            f"--run {name}: {folder} holds a report already; choose another name, or delete it"
        )
    metrics = evaluate(
        predictor,
        args.sources,
        folder=folder,
        data_folder=data_dir(args.data_dir),
        groups=args.group,
        forms=args.forms,
        robustness=args.robustness,
        limit=args.limit,
        workers=workers,
    )
    print(format_metrics(metrics))
    print(f"\nreport: {folder / 'report.html'}", file=sys.stderr)
    return 0


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    set_up_logging()
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
