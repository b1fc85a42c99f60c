"""Numbers about answers agree with what one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from measures import (
    Share,
    calibration_bins,
    calibration_error,
    coverage_curve,
    negative_log_likelihood,
    roc_auc,
)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        # From the formula in Wilson's paper with z = 1.96, worked out by hand.
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (9950, 10000, 0.9934, 0.9962),
    ],
)
def test_the_interval_is_wilsons(count: int, of: int, low: float, high: float) -> None:
    share = Share(count, of)

    assert share.value == count / of
    assert share.interval() == pytest.approx((low, high), abs=1e-4)


def test_what_is_counted_twice_makes_the_interval_no_narrower() -> None:
    """Both polarities of 1,797 digits passed for 3,594 digits: 97.92 to 98.75 was told."""
    once, twice = Share(1768, 1797), Share(2 * 1768, 2 * 1797, independent=1797)

    assert twice.value == once.value
    assert twice.interval() == pytest.approx(once.interval())
    assert twice.interval() == pytest.approx((0.9769, 0.9887), abs=1e-4)
    assert twice.to_dict()["independent"] == 1797
    assert once.to_dict()["independent"] == 1797


def test_a_share_of_nothing_is_unknown() -> None:
    found = Share(0, 0).to_dict()

    assert found["value"] is None
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_bins_compare_what_was_promised_with_what_was_kept() -> None:
    confidence = np.array([0.05, 0.95, 0.97, 1.0])
    right = np.array([False, True, True, False])

    first, last = calibration_bins(confidence, right, bins=10)

    assert first == {"low": 0.0, "high": 0.1, "count": 1, "confidence": 0.05, "accuracy": 0.0}
    assert (last["low"], last["high"], last["count"]) == (0.9, 1.0, 3)
    assert last["confidence"] == pytest.approx(0.9733, abs=1e-4)
    assert last["accuracy"] == pytest.approx(2 / 3)


def test_confidence_that_means_what_it_says_has_no_error() -> None:
    confidence = np.full(100, 0.8)
    right = np.arange(100) < 80

    assert calibration_error(confidence, right) == pytest.approx(0)


def test_being_always_sure_and_half_right_is_an_error_of_a_half() -> None:
    assert calibration_error(np.ones(10), np.arange(10) < 5) == pytest.approx(0.5)


def test_no_answers_have_no_error_and_no_likelihood() -> None:
    assert calibration_error(np.empty(0), np.empty(0, bool)) is None
    assert negative_log_likelihood(np.empty((0, 10)), np.empty(0, int)) is None


def test_surprise_is_small_for_the_expected_and_finite_for_the_impossible() -> None:
    probabilities = np.array([[0.9, 0.1], [1.0, 0.0]])

    assert negative_log_likelihood(probabilities[:1], np.array([0])) == pytest.approx(-np.log(0.9))
    assert np.isfinite(negative_log_likelihood(probabilities, np.array([0, 1])) or np.inf)


def test_coverage_accepts_the_surest_first_and_equals_together() -> None:
    confidence = np.array([0.5, 0.9, 0.9, 0.7])
    right = np.array([False, True, True, False])

    coverage, accuracy = coverage_curve(confidence, right)

    assert coverage.tolist() == [0.5, 0.75, 1.0]
    assert accuracy.tolist() == [1.0, pytest.approx(2 / 3), 0.5]


@pytest.mark.parametrize(
    ("wanted", "unwanted", "area"),
    [([3, 4], [1, 2], 1.0), ([1, 2], [3, 4], 0.0), ([1, 3], [2, 2], 0.5), ([1], [1], 0.5)],
)
def test_area_counts_the_pairs_in_the_right_order(
    wanted: list[int], unwanted: list[int], area: float
) -> None:
    assert roc_auc(np.array(wanted), np.array(unwanted)) == area
