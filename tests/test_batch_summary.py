"""What a batch found is counted, and compared with what is known."""

from __future__ import annotations

import pytest

from batch_rows import Results
from batch_summary import summarise, summarise_run
from tests.conftest import make_row


def test_a_summary_counts_and_scores(row_store):
    row_store.add(
        [
            make_row("1", label=3),
            make_row("2", label=8, confidence=0.99),
            make_row("3", label=8, confidence=0.55, status="unsure"),
            make_row("4", label=5, status="error", digit=None, confidence=None, reason="9 bytes"),
            make_row(
                "5", label=None, status="error", digit=None, confidence=None, reason="10 bytes"
            ),
            make_row("6", label=None, status="not a digit", digit=None, confidence=None),
            make_row("7", label=3, status="not a digit", confidence=0.55),
        ],
        skipped=[("notes.txt", "not a picture")],
    )
    row_store.close()
    results = Results(row_store.path)

    summary = summarise(results)

    assert (summary["pictures"], summary["skipped"], summary["error"]) == (7, 1, 2)
    assert summary["digits"] == [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]
    assert summary["confidences"] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert summary["reasons"] == [{"count": 2, "reason": "10 bytes", "example": "5"}]
    assert (summary["labelled"], summary["correct"], summary["accuracy"]) == (5, 2, 0.4)
    by_status = {"ok": 1, "unsure": 0, "not a digit": 1, "error": 0}
    assert summary["correct_by_status"] == by_status
    assert summary["confusion"][8][3] == 2
    assert [each["path"] for each, _ in results.worst_mistakes(5)] == ["2", "3"]
    assert [each["path"] for each, _ in results.doubtful(5)] == ["3", "7", "2", "6"]


@pytest.mark.parametrize(
    ("seconds", "shown", "rate"), [(1.2345, 1.23, 3.2), (0.0, 0.0, 4_000_000_000.0)]
)
def test_a_run_is_summed_up_with_what_was_read_now(odd_rows, seconds, shown, rate):
    summary = summarise_run(odd_rows, {"run": "a", "kind": "zip"}, read_now=4, seconds=seconds)

    assert list(summary)[:3] == ["run", "kind", "pictures"]
    assert summary | summarise(odd_rows) == summary
    assert summary["read_now"] == 4
    assert (summary["seconds"], summary["pictures_per_second"]) == (shown, rate)


def test_without_labels_there_is_no_score(odd_rows):
    summary = summarise(odd_rows)

    assert (summary["labelled"], summary["accuracy"], summary["confusion"]) == (0, None, None)
