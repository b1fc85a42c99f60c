"""Numbers that say how good answers are: arrays in, plain values out.

Four questions are asked of a reader: how often is it right, and how surely do we know that
(`Share`)? Does its confidence mean what it says (`calibration_error`)? How good is it on what it
is sure of (`coverage_curve`)? Does a score tell two kinds of pictures apart (`roc_auc`)?

    >>> Share(995, 1000).value
    0.995
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 15  # of confidence, as in most papers since Guo et al. 2017
LEVEL = 0.95  # of the interval around a share
SMALLEST = 1e-12  # probability; its logarithm is still finite


@dataclass(frozen=True)
class Share:
    """So many of so many, with the interval in which the true share lies.

    Attributes
    ----------
    count, of : int
        `count` from 0 to `of`.
    independent : int, optional
        How many of the `of` tell something of their own, where several are views of one thing;
        all of them by default.

    Examples
    --------
    >>> [round(bound, 3) for bound in Share(98, 100).interval()]
    [0.93, 0.994]
    >>> [round(bound, 3) for bound in Share(98, 100, independent=50).interval()]
    [0.895, 0.996]
    """

    count: int
    of: int
    independent: int | None = None

    @property
    def value(self) -> float | None:
        """From 0.0 to 1.0; None of nothing."""
        return self.count / self.of if self.of else None

    def interval(self) -> tuple[float, float]:
        """Bounds of the share at 95 % by Wilson's score; 0 and 1 where nothing was counted.

        The width is that of `independent` cases. So views of one thing count as one however much
        their answers agree: where they differ, the interval is a little too wide, never too narrow.

        References
        ----------
        Wilson 1927, "Probable inference, the law of succession, and statistical inference". The
        usual interval (the share plus or minus two deviations) has no width at 100 %.
        """
        if not self.of:
            return 0.0, 1.0
        from scipy.stats import norm

        cases = self.of if self.independent is None else self.independent
        share, z = self.count / self.of, float(norm.ppf(0.5 + LEVEL / 2))
        middle = share + z**2 / (2 * cases)
        reach = z * math.sqrt(share * (1 - share) / cases + (z / (2 * cases)) ** 2)
        scale = 1 + z**2 / cases
        # Rounding may put a bound a hair beyond what is possible.
        return max((middle - reach) / scale, 0.0), min((middle + reach) / scale, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, for JSON."""
        low, high = self.interval()
        return {
            "count": self.count,
            "of": self.of,
            "independent": self.of if self.independent is None else self.independent,
            "value": self.value,
            "low": round(low, 6),
            "high": round(high, 6),
        }


def calibration_bins(
    confidence: np.ndarray, right: np.ndarray, bins: int = BINS
) -> list[dict[str, float]]:
    """Compare, in steps of confidence, what was promised with what was kept.

    Parameters
    ----------
    confidence : ndarray of shape (N,), float
        From 0.0 to 1.0.
    right : ndarray of shape (N,), bool
        Whether the answer was right.
    bins : int, default=15
        Of equal width.

    Returns
    -------
    list of dict
        For each bin that is not empty `low` and `high` (its bounds), `count`, `confidence` (the
        mean) and `accuracy`.
    """
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": place / bins,
            "high": (place + 1) / bins,
            "count": int((places == place).sum()),
            "confidence": float(confidence[places == place].mean()),
            "accuracy": float(right[places == place].mean()),
        }
        for place in np.unique(places).tolist()
    ]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float | None:
    """Compute the expected calibration error: how far confidence is from accuracy, on average.

    Parameters
    ----------
    confidence, right, bins
        As for `calibration_bins`.

    Returns
    -------
    float or None
        From 0.0 (confidence means what it says) to 1.0; None if there are no answers.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks", equation 3.
    """
    if not len(confidence):
        return None
    rows = calibration_bins(confidence, right, bins)
    gaps = sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows)
    return float(gaps / len(confidence))


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Compute the mean negative logarithm of the probability that the right digit was given.

    Parameters
    ----------
    probabilities : ndarray of shape (N, 10), float
    labels : ndarray of shape (N,), int
        0 to 9.

    Returns
    -------
    float or None
        Zero or more, in nats; None if there are no answers.
    """
    if not len(labels):
        return None
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(given, SMALLEST)).mean())


def coverage_curve(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say how accurate the surest answers are, for every number of answers that one may accept.

    Parameters
    ----------
    confidence, right
        As for `calibration_bins`.

    Returns
    -------
    coverage : ndarray of shape (K,), float
        Part of all pictures that is accepted, rising to 1.0. Answers of equal confidence are
        accepted together, so K is the number of different confidences.
    accuracy : ndarray of shape (K,), float
        Part of the accepted answers that is right.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    accepted = np.arange(1, len(order) + 1)
    is_last_of_equals = np.append(np.diff(sorted_confidence) != 0, True)[: len(order)]
    accuracy = np.cumsum(right[order]) / accepted
    return accepted[is_last_of_equals] / len(order), accuracy[is_last_of_equals]


def roc_auc(wanted: np.ndarray, unwanted: np.ndarray) -> float:
    """Say how well a score tells two kinds of things apart: the area under its ROC curve.

    Parameters
    ----------
    wanted, unwanted : ndarray of shape (N,) and (M,), float
        Scores; those of `wanted` should be the higher ones.

    Returns
    -------
    float
        The chance that the score of one wanted thing is above that of one unwanted thing: 0.5 for
        a score that knows nothing, 1.0 for one without a mistake.
    """
    from sklearn.metrics import roc_auc_score

    kinds = np.concatenate([np.ones(len(wanted)), np.zeros(len(unwanted))])
    return float(roc_auc_score(kinds, np.concatenate([wanted, unwanted])))
