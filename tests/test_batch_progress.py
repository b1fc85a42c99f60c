"""What a batch shows while it runs: only what is known."""

from __future__ import annotations

import pytest

import batch_progress
from batch_input import Source
from batch_progress import Progress


@pytest.mark.parametrize(
    ("total", "told", "is_left_told"),
    [
        (4_000, "scans: 2,000 of 4,000, ", True),
        (2_000, "scans: 2,000 of 2,000, ", True),
        (None, "scans: 2,000 so far, ", False),  # a table or a tar, which is not counted
        (1_999, "scans: 2,000 so far, ", False),  # files came while it was read
    ],
)
def test_plain_progress_says_how_much_is_left_only_where_that_is_known(
    total: int | None,
    told: str,
    is_left_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It was "1 of ?, 0.05 pictures/s, 00:00 left" while a table of numbers was read."""
    monkeypatch.setattr(batch_progress, "PLAIN_PROGRESS_SECONDS", 1e-9)
    monkeypatch.setattr(Progress, "_count", lambda self, source: None)  # a thread of its own

    with Progress(Source("manifest", "scans", "scans.csv", lambda: iter(())), True) as progress:
        progress._bar.total = total
        progress.update(2_000, errors=0)

    lines = capsys.readouterr().err.splitlines()
    assert lines
    for line in lines:
        assert line.startswith(told)
        assert (" left" in line) == is_left_told


@pytest.mark.parametrize(
    ("updates", "told"),
    [
        ([(4_000, 4_000)], "scans: 4,000 kept from before, errors=0"),
        ([(4_000, 4_000), (20, 0)], "scans: 4,020 of 5,000, 2.00 pictures/s, 08:10 left, errors=0"),
        ([(4_020, 4_000)], "scans: 4,020 of 5,000, 2.00 pictures/s, 08:10 left, errors=0"),
        ([(20, 0)], "scans: 20 of 5,000, 2.00 pictures/s, 41:30 left, errors=0"),
    ],
)
def test_rows_that_are_kept_are_no_part_of_the_rate(
    updates: list[tuple[int, int]],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A batch that was resumed read thousands of pictures a second at first, and was soon done."""
    monkeypatch.setattr(Progress, "_count", lambda self, source: None)  # a thread of its own

    with Progress(Source("manifest", "scans", "scans.csv", lambda: iter(())), True) as progress:
        progress._bar.total = 5_000
        for done, kept in updates:
            now = progress._bar.start_t + 10  # seconds
            monkeypatch.setattr(progress._bar, "_time", lambda now=now: now)
            progress._bar.last_print_t = progress._bar.start_t
            progress.update(done, errors=0, kept=kept)

    line = capsys.readouterr().err.splitlines()[len(updates) - 1]
    assert " ".join(line.split()) == told
