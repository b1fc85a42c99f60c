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
    figure = _figure(11, 3.8)
    loss, error, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]
    best = max((row for row in history if row["best"]), key=lambda row: row["epoch"], default=None)
    for axes, key, title in ((loss, "loss", "Loss"), (error, "accuracy", "Mistakes, %")):
        for part, colour in (("train", ORANGE), ("validation", BLUE)):
            values = np.array([row[f"{part}_{key}"] for row in history], float)
            if key == "accuracy":
                values = 100 * (1 - values)
            axes.plot(epochs, values, "o-", color=colour, markersize=3.5, label=part)
            if best and part == "validation":
                place = epochs.index(best["epoch"])
                axes.plot(epochs[place], values[place], "o", color=RED, markersize=8, zorder=3)
                axes.annotate(
                    f"best: {values[place]:.2f} %" if key == "accuracy" else f"{values[place]:.4f}",
                    (epochs[place], values[place]),
                    xytext=(0, 10),
                    textcoords="offset points",
                    ha="right" if place > len(epochs) / 2 else "left",
                    color=RED,
                )
        axes.set_title(title, loc="left")
        # Most of the fall is in the first epoch; only a logarithm shows the rest.
        axes.set_yscale("log")
    loss.legend(frameon=False)
    rate.plot(epochs, [row["lr"] for row in history], "o-", color=GREEN, markersize=3.5)
    rate.set_title("Learning rate at the end of the epoch", loc="left")
    for axes in (loss, error, rate):
        _tidy(axes)
        axes.set_xlabel("epoch")
    return figure


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
    display.plot(ax=axes, colorbar=False, cmap="Blues", values_format="d")
    # The diagonal holds hundreds of times more than the rest: colour by mistakes instead.
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    display.im_.set_data(mistakes)
    display.im_.set_cmap("Reds")
    display.im_.set_clim(0, max(mistakes.max(), 1) * 1.4)
    for (row, column), text in np.ndenumerate(display.text_):
        text.set_color("#9ca3af" if counts[row, column] == 0 else INK)
        text.set_fontweight("bold" if row != column and counts[row, column] else "normal")
        if row == column:
            text.set_color(QUIET)
    axes.set(xlabel="read as", ylabel="shows")
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
    figure = _figure(columns * 1.05, rows * 1.4 + 0.5)
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
