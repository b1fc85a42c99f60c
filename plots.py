"""Draw what training and evaluation found: arrays in, a matplotlib `Figure` out.

Nothing here reads a file or shows a window, and pyplot with its global state is never touched,
so figures can be made in any thread.

    >>> training_curves(history).savefig("training_curves.png")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = 10
DPI = 120
FEW = 10  # pictures; a share of fewer says hardly anything

# Dark enough for white paper, apart also for colour-blind eyes (Okabe and Ito).
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, QUIET, GRID = "#222222", "#6b7280", "#e5e7eb"


def training_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss, error and learning rate over the epochs.

    Parameters
    ----------
    history : sequence of mappings
        Rows of a run's `history.jsonl`: epoch, train_loss, train_accuracy, validation_loss,
        validation_accuracy, lr, best.

    Returns
    -------
    Figure
    """
    figure = _figure(11, 3.6)
    loss, error, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]
    best = max((row for row in history if row["best"]), key=lambda row: row["epoch"], default=None)
    for axes, key in ((loss, "loss"), (error, "accuracy")):
        for part, colour in (("train", ORANGE), ("validation", BLUE)):
            values = [_loss_or_mistakes(row, part, key) for row in history]
            axes.plot(epochs, values, "o-", color=colour, markersize=3, label=part)
        if any("hands_loss" in row for row in history):
            values = [_loss_or_mistakes(row, "hands", key) for row in history]
            axes.plot(epochs, values, "o-", color=GREEN, markersize=3, label="other hands")
        # Most of the fall is in the first epoch; only a logarithm shows the rest.
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        if best:
            value = _loss_or_mistakes(best, "validation", key)
            axes.plot(best["epoch"], value, "o", color=RED, markersize=7, zorder=3)
            axes.margins(y=0.14)  # room for the number under the point
            axes.annotate(
                f"best: {value:.2f} %" if key == "accuracy" else f"{value:.4f}",
                (best["epoch"], value),
                xytext=(0, -8),
                textcoords="offset points",
                ha="right" if best["epoch"] > len(epochs) / 2 else "left",
                va="top",
                color=RED,
                fontsize=9,
            )
    loss.set_title("Loss", loc="left")
    loss.legend(frameon=False, fontsize=9)
    error.set_title("Mistakes, %", loc="left")
    rate.plot(epochs, [1000 * row["lr"] for row in history], "o-", color=QUIET, markersize=3)
    rate.set_title("Learning rate, thousandths", loc="left")
    for axes in (loss, error, rate):
        _tidy(axes)
        axes.title.set_fontsize(11)
        # Where there is one epoch only, matplotlib would rather show parts of it than one tick.
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_xlabel("epoch", color=QUIET, fontsize=9)
    return figure


def _loss_or_mistakes(row: Mapping[str, Any], part: str, key: str) -> float:
    """Take the loss, or turn the accuracy into mistakes in percent; NaN leaves a gap."""
    value = float(row.get(f"{part}_{key}", np.nan))
    # No mistakes at all have no place on a logarithm: they are drawn as one in 10,000.
    return max(value, 1e-4) if key == "loss" else max(100 * (1 - value), 0.01)


def confusion_matrix(
    labels: np.ndarray, answers: np.ndarray, *, title: str = "Which digit is read as which"
) -> Figure:
    """Count which digits are read as which; mistakes get the colour, since there are few.

    Parameters
    ----------
    labels, answers : ndarray of shape (N,), int
        What the pictures show, and what was read; 0 to 9.
    title : str, optional

    Returns
    -------
    Figure
    """
    from sklearn.metrics import ConfusionMatrixDisplay
    from sklearn.metrics import confusion_matrix as count_confusions

    counts = count_confusions(labels, answers, labels=range(CLASSES))
    figure = _figure(6.4, 6.2)
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(counts, display_labels=range(CLASSES))
    display.plot(ax=axes, colorbar=False, cmap="Reds", values_format="d")
    # The diagonal holds hundreds of times more than the rest: colour by mistakes instead.
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, np.nan)
    display.im_.set_data(mistakes)
    display.im_.set_clim(0, max(np.nanmax(mistakes), 1) * 1.4)
    axes.set_facecolor("#eef4f9")  # shows through where there is no number of mistakes
    for (row, column), text in np.ndenumerate(display.text_):
        is_mistake = row != column and counts[row, column]
        text.set_text(str(counts[row, column]) if is_mistake or row == column else "·")
        text.set_color(INK if is_mistake else QUIET)
        text.set_fontweight("bold" if is_mistake else "normal")
    axes.set_xlabel("read as", color=QUIET)
    axes.set_ylabel("shows", color=QUIET)
    axes.spines[:].set_visible(False)
    right = np.trace(counts)
    axes.set_title(f"{title}: {counts.sum() - right} mistakes", loc="left")
    axes.tick_params(length=0)
    return figure


def sample_predictions(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    count: int = 40,
    title: str = "Sample",
) -> Figure:
    """Show pictures with their answers: the worst mistakes first, then the least certain.

    Parameters
    ----------
    images : ndarray of shape (N, 28, 28)
        White ink on black.
    labels : ndarray of shape (N,), int
    probabilities : ndarray of shape (N, 10), float
    count : int, default=40
        How many are shown at most.
    title : str, optional

    Returns
    -------
    Figure
    """
    answers = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = answers != labels
    # Sure mistakes teach most; then pictures that were nearly misread.
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[:count]
    columns = 10
    rows = max(-(-len(order) // columns), 1)
    figure = _figure(columns * 1.05, rows * 1.3 + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, place in zip(grid.flat, order, strict=False):
        axes.imshow(images[place], cmap="gray_r", interpolation="nearest")
        colour = RED if wrong[place] else GREEN
        text = f"{labels[place]} read as {answers[place]}" if wrong[place] else f"{labels[place]}"
        axes.set_title(f"{text}\n{confidence[place]:.0%}", color=colour, fontsize=8)
    figure.suptitle(
        f"{title}: {wrong.sum()} mistakes (orange), then the least certain", x=0.01, ha="left"
    )
    return figure


def picture_grid(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    *,
    columns: int = 10,
    side: float = 1.0,
    signed: bool = False,
) -> Figure:
    """Show pictures in rows.

    Parameters
    ----------
    pictures : sequence of ndarray of shape (height, width) or (height, width, 3)
        uint8 from 0 to 255, or float from 0.0 to 1.0; grey from black to white.
    titles : sequence of str, optional
        One above each picture; fewer leave the last ones without.
    columns : int, default=10
        How many in a row.
    side : float, default=1.0
        Of a picture, in inches.
    signed : bool, default=False
        The values have signs: positive ones are shown red, negative ones blue, zero white; all
        pictures share one scale.

    Returns
    -------
    Figure
    """
    columns = max(min(columns, len(pictures)), 1)
    rows = max(-(-len(pictures) // columns), 1)
    figure = _figure(columns * side, rows * (side + (0.25 if titles else 0)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    reach = max((float(np.abs(picture).max()) for picture in pictures), default=1.0) or 1.0
    for axes, picture in zip(grid.flat, pictures, strict=False):
        full = 255 if picture.dtype == np.uint8 else 1.0
        scale = {"vmin": -reach, "vmax": reach} if signed else {"vmin": 0, "vmax": full}
        axes.imshow(picture, cmap="RdBu_r" if signed else "gray", interpolation="nearest", **scale)
    for axes, title in zip(grid.flat, titles, strict=False):
        axes.set_title(title, fontsize=8, color=INK)
    return figure


def reliability_diagram(
    bins: Sequence[Mapping[str, float]], error: float, *, title: str = "Is confidence honest?"
) -> Figure:
    """Draw how often answers of each confidence were right; honest ones lie on the diagonal.

    Bins of fewer than ten pictures are faint: one picture alone is always at 0 or at 1.

    Parameters
    ----------
    bins : sequence of mappings
        As from `measures.calibration_bins`.
    error : float
        The expected calibration error, 0.0 to 1.0.
    title : str, optional

    Returns
    -------
    Figure
    """
    figure = _figure(5.2, 4.6)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left = [row["low"] for row in bins]
    width = [row["high"] - row["low"] for row in bins]
    accuracy = [row["accuracy"] for row in bins]
    confidence = [row["confidence"] for row in bins]
    strength = [0.2 if row["count"] < FEW else 1.0 for row in bins]
    bars = axes.bar(left, accuracy, width, align="edge")
    for bar, alpha in zip(bars, strength, strict=True):
        bar.set(facecolor=(BLUE, 0.35 * alpha), edgecolor=(BLUE, alpha))
    axes.scatter(confidence, accuracy, 16, [(BLUE, alpha) for alpha in strength], zorder=3)
    axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1)
    axes.set(ylabel="part that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{title} Error {100 * error:.2f} %", loc="left")
    counts.bar(left, [row["count"] for row in bins], width, align="edge", color=QUIET)
    note = f" (faint: fewer than {FEW} pictures)" if min(strength, default=1.0) < 1 else ""
    counts.set(xlabel=f"confidence{note}", ylabel="pictures")
    counts.set_yscale("log")  # nearly all answers are in the last bin
    for each in (axes, counts):
        _tidy(each)
    return figure


def coverage_curve(
    coverage: Sequence[float], accuracy: Sequence[float], *, title: str = "Accept only sure answers"
) -> Figure:
    """Draw how many mistakes remain if only the surest answers are accepted.

    Parameters
    ----------
    coverage, accuracy : sequences of float, 0.0 to 1.0
        As from `measures.coverage_curve`.
    title : str, optional

    Returns
    -------
    Figure
    """
    figure = _figure(5.2, 4.6)
    axes = figure.subplots()
    mistakes = 100 * (1 - np.asarray(accuracy))
    axes.plot(100 * np.asarray(coverage), mistakes, color=BLUE)
    axes.set(xlabel="accepted answers, %", ylabel="mistakes among them, %", xlim=(0, 100))
    if mistakes.any():
        axes.set_ylim(bottom=0)
    else:  # a line on the axis, under a scale of hundredths, looked like no line at all
        axes.set_ylim(-0.05, 1)
        axes.set_yticks([0])
        axes.text(50, 0.03, "no mistakes, however many are accepted", ha="center", color=QUIET)
    axes.set_title(title, loc="left")
    _tidy(axes)
    return figure


def damage_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], units: Mapping[str, str]
) -> Figure:
    """Draw how reading suffers as pictures get worse, one panel for each kind of damage.

    Parameters
    ----------
    curves : mapping
        For each kind of damage a row for each strength: `amount`, and from 0.0 to 1.0 `accuracy`
        (of the whole reader), `network` (accuracy of the network alone) and `ok` (part of the
        answers that the reader trusts).
    units : mapping
        What the amounts of each kind are counted in.

    Returns
    -------
    Figure
    """
    figure = _figure(11, 6.2)
    panels = figure.subplots(2, -(-len(curves) // 2), squeeze=False, sharey=True).flat
    lines = (
        ("accuracy", "o-", BLUE, "whole reader"),
        ("network", "s-", ORANGE, "network alone"),
        ("ok", "--", QUIET, 'verdict "ok"'),
    )
    for axes, (kind, rows) in zip(panels, curves.items(), strict=False):
        strengths = range(len(rows))
        for key, style, colour, label in lines:
            values = [100 * row[key] for row in rows]
            axes.plot(strengths, values, style, color=colour, markersize=4, label=label)
        axes.set_xticks(strengths, [f"{row['amount']:g}" for row in rows])
        axes.set_title(kind, loc="left")
        axes.set_xlabel(units[kind], fontsize=8, color=QUIET)
        axes.set_ylim(0, 102)
        _tidy(axes)
    figure.axes[0].set_ylabel("% of pictures")
    figure.axes[0].legend(frameon=False, loc="lower left")
    return figure


def scale_curves(
    x: Sequence[float], curves: Mapping[str, Sequence[float]], *, title: str, x_label: str
) -> Figure:
    """Draw how measured values change with the size of the task, one panel for each value.

    Parameters
    ----------
    x : sequence of float
        Above 0: threads, files, clients.
    curves : mapping of str to sequence of float
        Values at each x, by what they are.
    title, x_label : str

    Returns
    -------
    Figure
    """
    figure = _figure(4.2 * len(curves), 3.4)
    panels = figure.subplots(1, len(curves), squeeze=False).flat
    for axes, (name, values) in zip(panels, curves.items(), strict=True):
        axes.plot(x, values, "o-", color=BLUE, markersize=4)
        axes.set_ylim(0, 1.08 * max(values) or 1)
        if len(x) > 1 and max(x) / min(x) > 10:
            axes.set_xscale("log")
        else:
            axes.set_xticks(x)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_xlabel(x_label, color=QUIET, fontsize=9)
        _tidy(axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _figure(width: float, height: float) -> Figure:
    """Make an empty white figure with room for its labels; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _tidy(axes: Axes) -> None:
    """Leave only the lines that carry something."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, labelsize=8)
