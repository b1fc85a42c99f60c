import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

import plots


def history(*accuracies, hands=False):
    rows = []
    for number, accuracy in enumerate(accuracies):
        row = {
            "epoch": number + 1,
            "train_loss": 2 * (1 - accuracy),
            "train_accuracy": accuracy - 0.05,
            "validation_loss": 1 - accuracy,
            "validation_accuracy": accuracy,
            "lr": 0.001,
            "best": accuracy == max(accuracies[: number + 1]),
        }
        if hands:
            row |= {"hands_loss": 0.2, "hands_accuracy": 0.9}
        rows.append(row)
    return rows


def probabilities_for(answers, confidence=0.9):
    table = np.full((len(answers), 10), (1 - confidence) / 9, np.float32)
    table[np.arange(len(answers)), answers] = confidence
    return table


def draw(figure):
    """Render a figure, which finds what building it does not."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer).size


def texts(figure):
    """Return everything that is written in a figure."""
    return [
        text.get_text()
        for axes in figure.axes
        for text in [*axes.texts, axes.title, axes._left_title, axes.xaxis.label]
    ]


@pytest.mark.parametrize(
    "rows",
    [
        history(0.9),
        history(0.9, 0.98, 0.97),
        history(0.9, 0.98, hands=True),
        history(0.9, 1.0),  # no mistakes, whose logarithm does not exist
        [],
    ],
    ids=["one epoch", "three epochs", "other hands", "no mistakes", "no epochs"],
)
def test_curves_are_drawn_for_any_history(rows):
    figure = plots.training_curves(rows)

    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3
    assert draw(figure)[0] > 800


@pytest.mark.parametrize("count", [0, 1, 2, 3, 12, 30])
def test_the_axis_of_the_epochs_shows_whole_ones_only(count):
    """After one epoch it had 0.96, 0.98, 1.00, 1.02, 1.04."""
    figure = plots.training_curves(history(*[0.9] * count))

    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(float(tick).is_integer() for tick in ticks)


def test_the_best_epoch_is_marked_with_its_mistakes():
    figure = plots.training_curves(history(0.9, 0.98, 0.97))

    assert "best: 2.00 %" in texts(figure)


def test_other_hands_have_a_line_of_their_own():
    plain = plots.training_curves(history(0.9, 0.98))
    more = plots.training_curves(history(0.9, 0.98, hands=True))

    assert len(more.axes[0].lines) == len(plain.axes[0].lines) + 1


def test_the_confusion_matrix_counts_rows_as_truth_and_columns_as_answers():
    labels = np.array([7, 7, 7, 1])
    answers = np.array([7, 1, 1, 1])

    figure = plots.confusion_matrix(labels, answers, title="Trial")

    cells = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert cells[1, 7] == "2"  # matplotlib places by (column, row)
    assert cells[7, 7] == "1"
    assert cells[7, 1] == "·"
    assert "Trial: 2 mistakes" in texts(figure)
    draw(figure)


def test_a_confusion_matrix_without_mistakes_can_be_drawn():
    digits = np.arange(10)

    assert draw(plots.confusion_matrix(digits, digits))[0] > 400


def test_samples_begin_with_the_surest_mistake_and_end_with_the_surest_answer():
    images = np.zeros((4, 28, 28), np.uint8)
    labels = np.array([1, 2, 3, 4])
    table = probabilities_for([1, 7, 7, 4])
    table[1] = probabilities_for([7], 0.6)
    table[3] = probabilities_for([4], 0.5)

    figure = plots.sample_predictions(images, labels, table)

    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["3 read as 7\n90%", "2 read as 7\n60%", "4\n50%", "1\n90%"]


@pytest.mark.parametrize("count", [0, 1, 11, 100])
def test_samples_are_drawn_for_any_number_of_pictures(count):
    images = np.zeros((count, 28, 28), np.uint8)
    labels = np.zeros(count, int)

    figure = plots.sample_predictions(images, labels, probabilities_for(labels), count=40)

    assert sum(bool(axes.get_title()) for axes in figure.axes) == min(count, 40)
    draw(figure)


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (1, 1), (10, 1), (11, 2)])
def test_a_grid_shows_each_picture_once_under_its_title(count, rows):
    pictures = [np.full((8, 8), number, np.uint8) for number in range(count)]

    figure = plots.picture_grid(pictures, [f"number {number}" for number in range(count)])

    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [f"number {number}" for number in range(count)]
    assert [int(np.asarray(axes.images[0].get_array())[0, 0]) for axes in shown] == list(
        range(count)
    )
    assert figure.axes[0].get_gridspec().nrows == rows
    draw(figure)


@pytest.mark.parametrize(
    ("pictures", "limits"),
    [
        ([np.zeros((4, 4), np.uint8)], (0, 255)),
        ([np.zeros((4, 4), np.float32), np.ones((2, 9))], (0, 1)),
        ([np.zeros((4, 4, 3), np.uint8)], (0, 255)),
    ],
)
def test_a_grid_shows_grey_levels_as_they_are(pictures, limits):
    """A scale from the darkest to the lightest pixel would make a faint picture look strong."""
    figure = plots.picture_grid(pictures)

    assert {axes.images[0].get_clim() for axes in figure.axes} == {limits}


def test_signed_pictures_share_one_scale_around_zero():
    figure = plots.picture_grid([np.array([[1.0, -3.0]]), np.array([[0.5, 0.0]])], signed=True)

    assert {axes.images[0].get_clim() for axes in figure.axes} == {(-3, 3)}


def test_sizes_are_written_out_and_the_highest_point_is_inside():
    figure = plots.scale_curves(
        [1_000, 1_000_000], {"seconds": [2.0, 100.0]}, title="batch", x_label="pictures"
    )
    figure.canvas.draw()

    (axes,) = figure.axes
    assert {"1,000", "1,000,000"} <= {label.get_text() for label in axes.get_xticklabels()}
    assert axes.get_ylim()[1] > 100


def test_a_bin_of_few_pictures_is_fainter_than_one_of_many():
    """One misread picture at 50 % looked as weighty as 9,866 at 100 %."""
    few = {"low": 0.5, "high": 0.6, "count": 1, "confidence": 0.55, "accuracy": 1.0}
    many = {"low": 0.9, "high": 1.0, "count": 9866, "confidence": 0.99, "accuracy": 0.998}

    figure = plots.reliability_diagram([few, many], 0.01)

    faint, strong = figure.axes[0].patches
    assert to_rgba(faint.get_facecolor())[3] < to_rgba(strong.get_facecolor())[3] / 3
    assert to_rgba(faint.get_edgecolor())[3] < to_rgba(strong.get_edgecolor())[3] / 3
    assert "confidence (faint: fewer than 10 pictures)" in texts(figure)
    assert "confidence" in texts(plots.reliability_diagram([many], 0.01))
    draw(figure)


def test_a_reliability_diagram_without_answers_can_be_drawn():
    assert draw(plots.reliability_diagram([], 0.0))[0] > 400


def test_a_curve_without_mistakes_says_so_and_is_off_the_axis():
    """It lay on the axis, under a scale from 0 to 0.05."""
    spotless = plots.coverage_curve([0.5, 1.0], [1.0, 1.0])
    others = plots.coverage_curve([0.5, 1.0], [1.0, 0.9])

    assert "no mistakes, however many are accepted" in texts(spotless)
    assert spotless.axes[0].get_ylim()[0] < 0
    assert list(spotless.axes[0].get_yticks()) == [0]
    assert "no mistakes, however many are accepted" not in texts(others)
    assert others.axes[0].get_ylim()[0] == 0
    draw(spotless)


def test_drawing_leaves_the_global_state_of_pyplot_alone():
    """Pyplot keeps every figure alive and must not be used from a server's threads."""
    code = (
        "import numpy as np, plots, sys; digits = np.arange(10); "
        "plots.training_curves([]); "
        "plots.sample_predictions(np.zeros((10, 28, 28)), digits, np.eye(10)); "
        "print('matplotlib.pyplot' in sys.modules)"
    )

    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=plots.__file__.rpartition("/")[0], capture_output=True
    )

    assert printed.stdout.decode().strip() == "False", printed.stderr.decode()
