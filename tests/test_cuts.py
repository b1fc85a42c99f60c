"""Cuts: touching ink falls into parts, and nothing is lost or doubled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cuts import LEAST_PART, Part, cut_apart, find_paths
from strokes import draw_number


def ring(size: int = 60, thickness: int = 6) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), size // 2 - thickness // 2 - 1, 1, thickness)
    return mask


def tight(mask: np.ndarray) -> np.ndarray:
    left, top, wide, tall = cv2.boundingRect(mask)
    return np.ascontiguousarray(mask[top : top + tall, left : left + wide])


def touching(one: np.ndarray, other: np.ndarray, *, overlap: int = 2) -> np.ndarray:
    """Put two masks side by side so that they touch; return their union."""
    one, other = tight(one), tight(other)
    width = one.shape[1] + other.shape[1] - overlap
    mask = np.zeros((max(one.shape[0], other.shape[0]), width), np.uint8)
    mask[: one.shape[0], : one.shape[1]] |= one
    mask[: other.shape[0], width - other.shape[1] :] |= other
    return mask


def best_share(parts: list[Part], one: np.ndarray, whole: np.ndarray) -> float:
    """Tell how well the parts on the left of the best cut agree with what ought to be there."""
    wanted = np.zeros(whole.shape, bool)
    wanted[: one.shape[0], : one.shape[1]] = one > 0
    shares = []
    for count in range(1, len(parts)):
        left = np.any([part.mask for part in parts[:count]], axis=0)
        shares.append((left & wanted).sum() / (left | wanted).sum())
    return float(max(shares))


def test_the_parts_are_the_whole_and_share_no_ink():
    mask = touching(ring(), ring())

    parts = cut_apart(mask, size=60, stroke=6)

    assert len(parts) > 1
    assert np.array_equal(sum(part.mask.astype(int) for part in parts), mask)


def test_two_rings_that_touch_come_apart_at_one_of_the_cuts():
    mask = touching(ring(), ring())

    parts = cut_apart(mask, size=60, stroke=6)

    assert best_share(parts, tight(ring()), mask) > 0.95


def test_the_parts_of_three_rings_come_from_left_to_right():
    pair = touching(ring(), ring())
    mask = touching(pair, ring())

    parts = cut_apart(mask, size=60, stroke=6)

    for left in (tight(ring()), pair):
        assert best_share(parts, left, mask) > 0.95


def test_the_first_part_has_no_cut_on_its_left_and_the_others_say_what_theirs_cost():
    parts = cut_apart(touching(ring(), ring()), size=60, stroke=6)

    assert parts[0].strokes == 0
    assert all(0 <= part.strokes <= 48 * 0.45 for part in parts[1:])


def test_where_the_cut_is_cheap_it_costs_less_than_through_a_digit():
    """Two rings hang together by a thread; through a ring a cut crosses two strokes."""
    mask = np.zeros((60, 130), np.uint8)
    mask[:, :60] |= ring()
    mask[:, 70:] |= ring()
    mask[30, 55:75] = 1

    parts = cut_apart(mask, size=60, stroke=6)

    lefts = [cv2.boundingRect(part.mask.astype(np.uint8))[0] for part in parts]
    thread = min(range(1, len(parts)), key=lambda number: abs(lefts[number] - 65))
    assert parts[thread].strokes == min(part.strokes for part in parts[1:])


def test_a_slanted_pair_is_cut_along_its_slant():
    strokes = [np.zeros((60, 80), np.uint8) for _ in range(2)]
    for left, stroke in zip((15, 45), strokes, strict=True):
        cv2.line(stroke, (left + 15, 2), (left, 57), 1, 5)
    both = strokes[0] | strokes[1]
    both[30:33, 20:50] = 1  # what joins them

    parts = cut_apart(both, size=60, stroke=5)

    # An upright cut between them would go through one of the strokes.
    assert best_share(parts, strokes[0], both) > 0.7
    cheapest = 1 + int(np.argmin([part.strokes for part in parts[1:]]))
    left = np.sum([part.mask.astype(int) for part in parts[:cheapest]], axis=0)
    assert (left * strokes[1]).sum() == 0
    assert (left * strokes[0]).sum() == strokes[0].sum()


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((60, 8), np.uint8),  # a 1
        np.ones((1, 1), np.uint8),
        np.ones((3, 3), np.uint8),
    ],
)
def test_what_offers_no_cut_stays_whole(mask: np.ndarray):
    parts = cut_apart(mask, size=60, stroke=6)

    assert len(parts) == 1
    assert np.array_equal(parts[0].mask, mask > 0)


def test_a_wide_row_gets_about_as_many_cuts_as_its_width_allows():
    mask = touching(ring(), ring())
    for _ in range(2):
        mask = touching(mask, ring())

    parts = cut_apart(mask, size=60, stroke=6)

    assert 4 <= len(parts) <= 4.5 * (mask.shape[1] / 60) + 1


def test_a_fence_of_strokes_gets_no_more_cuts_than_its_width_allows():
    fence = np.zeros((60, 60), np.uint8)
    fence[:, 1::8] = fence[:, 2::8] = fence[30] = 1

    assert 3 <= len(cut_apart(tight(fence), size=60, stroke=2)) <= 5


@pytest.mark.parametrize(("seed", "gap"), [(1, -0.05), (6, -0.15)])
def test_no_part_is_smaller_than_a_digit_may_be(seed: int, gap: float):
    ink, _ = draw_number("3562", np.random.default_rng(seed), height=60, gap=gap)

    parts = cut_apart(tight((ink > 100).astype(np.uint8)), size=60, stroke=5)

    assert len(parts) > 1
    sides = [max(tight(part.mask.astype(np.uint8)).shape) for part in parts]
    assert min(sides) >= LEAST_PART * 60


@pytest.mark.parametrize("size", [24.0, 60.0, 200.0])
def test_the_same_ink_is_cut_alike_in_every_size(size: float):
    small = touching(ring(), ring())
    scale = size / 60
    mask = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)

    parts = cut_apart(mask, size=size, stroke=6 * scale)

    one = cv2.resize(tight(ring()), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    assert best_share(parts, one, mask) > 0.9


def test_a_path_goes_through_the_gap_and_costs_nothing_there():
    ink = np.ones((48, 60), np.float32)
    ink[:, 30] = 0

    paths, costs = find_paths(ink, 5.0)

    inside = paths.mean(axis=1).round() == 30
    assert np.all(costs[inside].min() == 0)
    assert np.all(paths[inside][costs[inside].argmin()] == 30)


def test_a_path_winds_through_a_gap_that_winds() -> None:
    ink = np.ones((48, 60), np.float32)
    middles = (30 + 5 * np.sin(np.arange(48) / 48 * 2 * np.pi)).round().astype(int)
    for row, middle in zip(ink, middles, strict=True):
        row[middle - 1 : middle + 2] = 0

    paths, costs = find_paths(ink, 5.0)

    inside = ((paths > 10) & (paths < 50)).all(axis=1)  # beside the ink every path costs nothing
    assert costs[inside].min() == 0
    assert np.abs(paths[inside][costs[inside].argmin()] - middles).max() <= 1


def test_ink_too_narrow_for_a_path_gets_none():
    paths, costs = find_paths(np.ones((48, 9), np.float32), 5.0)

    assert paths.shape == (0, 48)
    assert costs.shape == (0,)
