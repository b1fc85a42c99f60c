import shutil

import numpy as np
import pytest
import torch

import dataset
from dataset import (
    MNIST_FILES,
    Augmentation,
    Digits,
    augment,
    batches,
    data_dir,
    has_mnist,
    join,
    load_kaggle,
    load_mnist,
    load_stand_in,
)
from errors import DataFormatError, DataNotFoundError

HEADER = ",".join(["label", *(f"pixel{number}" for number in range(784))])


def write_csv(path, rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def labels_of(digits):
    assert digits.labels is not None
    return digits.labels.tolist()


def kaggle_row(label, ink=0):
    return ",".join([str(label)] + [str(ink)] * 784)


# --- MNIST --------------------------------------------------------------------------------------


def test_a_twelfth_of_the_training_pictures_is_held_out(mnist_folder):
    train, validation = load_mnist("train", mnist_folder), load_mnist("validation", mnist_folder)

    assert (len(train), len(validation)) == (1100, 100)
    assert train.images.dtype == torch.uint8
    assert train.images.shape[1:] == (28, 28)
    assert train.labels is not None
    assert train.labels.dtype == torch.int64


def test_training_and_validation_share_no_picture(tmp_path, mnist_folder, monkeypatch):
    numbered = torch.arange(1200).view(-1, 1, 1).expand(-1, 28, 28)
    monkeypatch.setattr(dataset, "_read_mnist", lambda folder, train: (numbered, numbered[:, 0, 0]))

    train = set(labels_of(load_mnist("train", tmp_path)))
    validation = set(labels_of(load_mnist("validation", tmp_path)))

    assert train & validation == set()
    assert train | validation == set(range(1200))


def test_the_split_of_the_real_mnist_never_changes():
    """Checkpoints name validation results; another split would make them incomparable."""
    order = np.random.RandomState(dataset.SPLIT_SEED).permutation(60_000)

    assert np.sort(order[:5000])[:5].tolist() == [29, 36, 41, 42, 73]


def test_pictures_and_labels_stay_together(mnist_folder, handwriting):
    test = load_mnist("test", mnist_folder)

    assert len(test) == 300
    assert labels_of(test) == handwriting.labels[1200:1500].tolist()
    assert np.allclose(test.images.numpy() / 255, handwriting.images[1200:1500], atol=1 / 255)


def test_without_files_and_network_the_error_says_which_files_go_where(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fail)

    with pytest.raises(DataNotFoundError, match="could not be downloaded") as caught:
        load_mnist("train", tmp_path)

    message = str(caught.value)
    assert all(name in message for name in MNIST_FILES)
    assert str(tmp_path / "MNIST" / "raw") in message
    assert "--data-dir" in message


def test_mnist_is_there_packed_or_unpacked_but_only_complete(tmp_path, mnist_folder):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES[:-1]:
        (raw / name).touch()

    assert not has_mnist(tmp_path)
    (raw / MNIST_FILES[-1]).touch()
    assert has_mnist(tmp_path)
    assert has_mnist(mnist_folder)
    assert not has_mnist(tmp_path / "nowhere")


def test_the_stand_in_for_mnist_has_its_form_and_needs_no_network(handwriting):
    parts = [load_stand_in(split) for split in ("train", "validation", "test")]

    assert [len(part) for part in parts] == [1200, 297, 300]
    whole = join(parts)
    assert labels_of(whole) == handwriting.labels.tolist()
    images = whole.images.numpy() / 255
    assert whole.images.dtype == torch.uint8
    ink = images.sum(axis=(1, 2))
    for axis in (1, 2):
        middle = (images.sum(axis=3 - axis) @ np.arange(28)) / ink
        assert np.abs(middle - 14).max() < 0.6
    assert np.abs(images - handwriting.images).mean() < 0.02


def test_a_cut_off_file_is_called_damaged(tmp_path, mnist_folder):
    shutil.copytree(mnist_folder / "MNIST", tmp_path / "MNIST")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataFormatError, match="damaged"):
        load_mnist("train", tmp_path)


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        ("here", "there", "here"),
        (None, "there", "there"),
        (None, None, str(dataset.PROJECT / "data")),
    ],
)
def test_the_data_folder_is_the_argument_then_the_variable_then_ours(
    argument, variable, expected, monkeypatch
):
    monkeypatch.delenv("DIGITS_DATA", raising=False)
    if variable:
        monkeypatch.setenv("DIGITS_DATA", variable)

    assert str(data_dir(argument)) == expected


# --- Kaggle -------------------------------------------------------------------------------------


def test_a_kaggle_file_gives_pictures_and_labels(tmp_path):
    path = write_csv(tmp_path / "train.csv", [kaggle_row(3, 255), kaggle_row(9, 7)])

    digits = load_kaggle(path)

    assert labels_of(digits) == [3, 9]
    assert digits.images.shape == (2, 28, 28)
    assert digits.images[:, 0, 0].tolist() == [255, 7]


def test_the_unlabelled_kaggle_file_gives_no_labels(tmp_path):
    rows = [",".join(["1"] * 784)]
    path = write_csv(tmp_path / "test.csv", rows, HEADER.removeprefix("label,"))

    digits = load_kaggle(path)

    assert digits.labels is None
    assert len(digits) == 1


def test_pixels_are_read_row_by_row(tmp_path):
    values = [0] * 784
    values[28] = 9  # pixel28: second row, first column
    path = write_csv(tmp_path / "train.csv", ["1," + ",".join(map(str, values))])

    assert load_kaggle(path).images[0, 1, 0] == 9


@pytest.mark.parametrize(
    ("rows", "header", "hint"),
    [
        ([kaggle_row(10)], HEADER, "line 2, column label: '10'"),
        ([kaggle_row(1), kaggle_row(1, 256)], HEADER, "line 3, column pixel0: '256'"),
        ([kaggle_row(1), kaggle_row(1, -1)], HEADER, "line 3, column pixel0: '-1'"),
        ([kaggle_row(1, "ink")], HEADER, "line 2, column pixel0: 'ink'"),
        ([kaggle_row(1, 0.5)], HEADER, "line 2, column pixel0: '0.5'"),
        ([kaggle_row(1, 10**30)], HEADER, "line 2, column pixel0"),
        ([kaggle_row(1, "")], HEADER, "line 2, column pixel0: ''"),
        ([kaggle_row(1), "5,0,0"], HEADER, "line 3: 3 values, not 785"),
        (["5,0,0", "5,0,0"], HEADER, "line 2: 3 values, not 785"),
        ([], HEADER, "no pictures"),
        (["1"], "digit,pixel0", "line 1: expected the names"),
        ([], "", "line 1: expected the names"),
    ],
)
def test_a_bad_kaggle_file_is_refused_with_line_and_column(tmp_path, rows, header, hint):
    path = write_csv(tmp_path / "bad.csv", rows, header)

    with pytest.raises(DataFormatError) as caught:
        load_kaggle(path)

    assert hint in str(caught.value)
    assert "bad.csv" in str(caught.value)


def test_a_csv_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "picture.csv"
    path.write_bytes(bytes(range(256)))

    with pytest.raises(DataFormatError, match=r"picture\.csv"):
        load_kaggle(path)


def test_a_missing_csv_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"nothing\.csv"):
        load_kaggle(tmp_path / "nothing.csv")


# --- batches ------------------------------------------------------------------------------------


def numbered(count):
    return Digits(torch.zeros(count, 28, 28, dtype=torch.uint8), torch.arange(count))


def test_an_epoch_shows_each_picture_at_most_once_in_whole_batches():
    drawn = list(batches(numbered(25), 10, torch.Generator().manual_seed(0)))

    labels = torch.cat([labels for _, labels in drawn]).tolist()
    assert [len(pixels) for pixels, _ in drawn] == [10, 10]
    assert len(set(labels)) == 20
    assert labels != sorted(labels)


def test_a_set_smaller_than_a_batch_is_one_batch():
    drawn = list(batches(numbered(3), 10, torch.Generator()))

    assert [pixels.shape for pixels, _ in drawn] == [(3, 1, 28, 28)]


def test_batches_hold_pixels_from_0_to_1():
    digits = Digits(torch.full((4, 28, 28), 255, dtype=torch.uint8), torch.zeros(4).long())

    ((pixels, _),) = batches(digits, 4, torch.Generator())

    assert pixels.dtype == torch.float32
    assert (pixels == 1).all()


def test_joined_sets_keep_their_order():
    both = join([numbered(2), numbered(3)])

    assert labels_of(both) == [0, 1, 0, 1, 2]


# --- augmentation -------------------------------------------------------------------------------

NOTHING = Augmentation(rotation_deg=0, translation=0, scale=0, shear=0, erasing=0)


def field(count=8):
    """Return pictures of one bright block, off-centre so that every change can be seen."""
    pixels = torch.zeros(count, 1, 28, 28)
    pixels[:, :, 8:16, 10:14] = 1
    return pixels


def changed(settings, pixels, seed=0, **options):
    return augment(pixels, torch.Generator().manual_seed(seed), settings, **options)


def test_no_change_gives_the_picture_back():
    pixels = field()

    assert torch.allclose(changed(NOTHING, pixels), pixels, atol=1e-5)


def test_the_same_seed_changes_alike_and_another_otherwise():
    settings = Augmentation(elastic_px=1, thickness=0.5, erasing=0.5)

    once, again, other = (changed(settings, field(), seed) for seed in (1, 1, 2))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.parametrize(
    "change",
    [
        {"rotation_deg": 10},
        {"translation": 0.1},
        {"scale": 0.1},
        {"shear": 0.2},
        {"elastic_px": 1},
        {"thickness": 1},
    ],
)
def test_each_change_changes_every_picture_in_its_own_way(change):
    settings = Augmentation(**{**vars(NOTHING), **change})

    result = changed(settings, field())

    assert result.shape == (8, 1, 28, 28)
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-5
    assert len({picture.numpy().tobytes() for picture in result}) == 8


def centre(pictures):
    """Return the centres of mass, (B, 2): row and column."""
    mass = pictures.sum((1, 2, 3))
    line = torch.arange(28.0)
    rows = (pictures.sum((1, 3)) * line).sum(1) / mass
    columns = (pictures.sum((1, 2)) * line).sum(1) / mass
    return torch.stack([rows, columns], 1)


def test_a_tenth_of_translation_moves_by_at_most_a_tenth_of_the_side():
    settings = Augmentation(**{**vars(NOTHING), "translation": 0.1})
    pixels = field(200)

    moved = (centre(changed(settings, pixels)) - centre(pixels)).abs()

    assert moved.max() <= 2.81
    assert moved.max() > 2.5
    assert moved.mean() == pytest.approx(1.4, abs=0.2)


def test_scale_changes_the_amount_of_ink_within_its_limits():
    settings = Augmentation(**{**vars(NOTHING), "scale": 0.1})
    pixels = field(200)

    ratio = changed(settings, pixels).sum((1, 2, 3)) / pixels.sum((1, 2, 3))

    assert ratio.min() == pytest.approx(0.9**2, abs=0.05)
    assert ratio.max() == pytest.approx(1.1**2, abs=0.05)


def test_thickness_leaves_the_other_pictures_alone():
    settings = Augmentation(**{**vars(NOTHING), "thickness": 0.25})
    pixels = field(400)

    touched = (changed(settings, pixels) - pixels).abs().amax((1, 2, 3)) > 0.01

    assert touched.float().mean() == pytest.approx(0.25, abs=0.07)


def test_erasing_blackens_one_rectangle_in_its_share_of_the_pictures():
    settings = Augmentation(**{**vars(NOTHING), "erasing": 0.25, "erasing_px": (5, 8)})
    pixels = torch.ones(400, 1, 28, 28)

    erased = changed(settings, pixels) < 0.5

    areas = erased.sum((1, 2, 3))
    assert (areas > 0).float().mean() == pytest.approx(0.25, abs=0.07)
    for picture in erased[areas > 0]:
        height, width = picture.any(2).sum(), picture.any(1).sum()
        assert height * width == picture.sum()  # a full rectangle
        assert 4 <= height <= 8
        assert 4 <= width <= 8


def test_a_smaller_size_cuts_off_the_right_and_the_bottom_and_moves_nothing():
    pixels = field()

    assert torch.allclose(changed(NOTHING, pixels, size=24), pixels[:, :, :24, :24], atol=1e-5)


def test_a_smaller_size_is_a_part_of_the_same_changed_picture():
    pixels, settings = field(), Augmentation(erasing=0)

    small = changed(settings, pixels, size=24)

    assert torch.allclose(small, changed(settings, pixels)[:, :, :24, :24], atol=1e-4)


def test_strength_multiplies_every_change_and_0_leaves_pictures_alone():
    half = Augmentation(erasing=0.8).times(0.5)

    assert (half.rotation_deg, half.translation, half.erasing) == (5, 0.05, 0.4)
    assert torch.allclose(changed(Augmentation().times(0), field()), field(), atol=1e-5)
    assert Augmentation(erasing=0.8).times(2).erasing == 1


def test_the_given_pictures_are_not_changed():
    pixels = field()

    changed(Augmentation(elastic_px=1, thickness=1, erasing=1), pixels)

    assert torch.equal(pixels, field())


def test_untouched_pictures_stay_as_they_are_and_the_others_do_not():
    pixels = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    settings = Augmentation(elastic_px=0.5, erasing=0.0, untouched=0.5)

    changed = augment(pixels, torch.Generator().manual_seed(1), settings)

    distance = (changed - pixels).abs().amax(dim=(1, 2, 3))
    assert 70 < int((distance < 1e-5).sum()) < 130
    assert int((distance > 0.1).sum()) > 70
