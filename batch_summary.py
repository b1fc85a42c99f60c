"""What a batch found, in numbers: counts, accuracy, mistakes, speed.

    Results -> summarise, summarise_run -> plain values for summary.json, the report and the page

SQLite counts, so a million rows take a second and no memory.

    >>> summarise(results)["unsure"]
    12
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from batch_rows import STATUSES, Results, Row

_NUMBERS = re.compile(r"\d[\d,.]*")


def summarise(results: Results) -> dict[str, Any]:
    """Count everything that a report says about a run.

    Returns
    -------
    dict
        Plain values: `pictures`, one count for each status, `skipped`, `digits` (ten counts; None
        for numbers), `confidences` (ten counts, from 0-10 % to 90-100 %), `reasons` (each with a
        count and an example), and where labels are known `labelled`, `correct` (the best guess
        counts, whatever the verdict), `correct_by_status` (one count for each status), `accuracy`
        and `confusion` (ten rows of ten counts, by label and then by digit; None for numbers),
        else None.
    """
    statuses = dict(results.query("SELECT status, count(*) FROM rows GROUP BY status"))
    tenths = dict(
        results.query(
            "SELECT min(9, CAST(confidence * 10 AS INTEGER)), count(*) FROM rows GROUP BY 1"
        )
    )
    return {
        "pictures": sum(statuses.values()),
        **{status: statuses.get(status, 0) for status in STATUSES},
        "skipped": results.query("SELECT count(*) FROM skipped")[0][0],
        "digits": _count_digits(results),
        "confidences": [tenths.get(tenth, 0) for tenth in range(10)],
        "reasons": _count_reasons(results),
        **_score(results),
    }


def summarise_run(
    results: Results, about: Mapping[str, Any], *, read_now: int, seconds: float
) -> dict[str, Any]:
    """Say what a run was, what it found, and how fast it was.

    Parameters
    ----------
    results : Results
        Its rows.
    about : mapping
        Its name, source, model and settings, which come first.
    read_now : int
        How many of the rows were read now, and not in an earlier run.
    seconds : float
        What that took.

    Returns
    -------
    dict
        `about`, what `summarise` counts, `read_now`, `seconds` and `pictures_per_second`.
    """
    return {
        **about,
        **summarise(results),
        "read_now": read_now,
        "seconds": round(seconds, 2),
        "pictures_per_second": round(read_now / max(seconds, 1e-9), 1),
    }


def _count_digits(results: Results) -> list[int] | None:
    """Count how often each digit was read, where a row holds one."""
    if results.answer != "digit":
        return None
    counts = dict(results.query("SELECT digit, count(*) FROM rows GROUP BY digit"))
    return [counts.get(digit, 0) for digit in range(10)]


def _count_reasons(results: Results) -> list[dict[str, Any]]:
    """Count errors by their reason, taking messages that differ only in a number as one."""
    counts: Counter[str] = Counter()
    examples: dict[str, Row] = {}
    for reason, count, path in results.query(
        "SELECT reason, count(*), min(path) FROM rows WHERE status = 'error' GROUP BY reason"
    ):
        kind = _NUMBERS.sub("#", reason)
        counts[kind] += count
        examples.setdefault(kind, {"reason": reason, "example": path})
    return [{"count": count, **examples[kind]} for kind, count in counts.most_common()]


def _score(results: Results) -> dict[str, Any]:
    """Compare answers with labels. A labelled picture that could not be read counts as wrong."""
    ((labelled, correct),) = results.query(
        f"SELECT count(label), coalesce(sum({results.answer} = label), 0) FROM rows"
    )
    right = dict(
        results.query(
            f"SELECT status, count(*) FROM rows WHERE {results.answer} = label GROUP BY status"
        )
    )
    return {
        "labelled": labelled,
        "correct": correct,
        "correct_by_status": {status: right.get(status, 0) for status in STATUSES},
        "accuracy": round(correct / labelled, 6) if labelled else None,
        "confusion": _confuse(results) if labelled and results.answer == "digit" else None,
    }


def explain_correct(summary: Mapping[str, Any]) -> str:
    """Say how many of the right answers were not given as sure, and that they count; or nothing.

    >>> explain_correct({"correct_by_status": {"ok": 7, "unsure": 1, "not a digit": 2}})
    '1 unsure and 2 refused (the best guess counts, whatever the verdict)'
    """
    right = summary["correct_by_status"]
    parts = [
        f"{right[status]:,} {word}"
        for status, word in (("unsure", "unsure"), ("not a digit", "refused"))
        if right[status]
    ]
    return f"{' and '.join(parts)} (the best guess counts, whatever the verdict)" if parts else ""


def _confuse(results: Results) -> list[list[int]]:
    """Count for each label (row) which digit was read (column)."""
    confusion = [[0] * 10 for _ in range(10)]
    for label, digit, count in results.query(
        "SELECT label, digit, count(*) FROM rows WHERE digit IS NOT NULL AND label IS NOT NULL "
        "GROUP BY label, digit"
    ):
        confusion[label][digit] = count
    return confusion
