from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench import build_parser
from bench_predict import KINDS, BareReader, NaiveReader, draw_files, run
from model import build_model
from predict import MNISTPredictor
from registry import save_checkpoint

QUICK = ["predict", "--rounds", "1", "--pictures", "2", "--batches", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def tables(models_folder):
    path = models_folder / "mnist_cnn_best.pth"
    threads = torch.get_num_threads()
    found = run(build_parser().parse_args([*QUICK, "--model", str(path)]))
    assert torch.get_num_threads() == threads
    return {table.name: table for table in found}


def test_one_picture_is_compared_with_the_naive_way_and_the_floor(tables):
    table = tables["predict-file"]

    assert list(table.rows) == ["naive", "ours", "floor"]
    assert table.rows["floor"]["this / floor"] == 1
    assert [goal.measured for goal in table.goals] == [table.rows["ours"]["this / floor"]]


def test_the_stages_of_reading_are_measured_beside_the_whole(tables):
    rows = tables["predict-stages"].rows

    assert list(rows) == ["decode", "prepare", "network", "network, judged", "all"]
    assert rows["all"]["part / all"] == 1


def test_pictures_of_every_kind_are_prepared(tables):
    rows = tables["predict-kinds"].rows

    assert list(rows) == ["28x28 PNG in MNIST's form", *KINDS]
    assert all(min(row.values()) > 0 for row in rows.values())


def test_batches_of_every_size_up_to_the_number_of_pictures_are_measured(tables):
    table = tables["predict-batches"]

    assert list(table.rows) == ["1", "4"]
    assert all(row["pictures/s"] > 0 for row in table.rows.values())
    assert table.x


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_memory_grows_from_pytorch_alone_to_a_predictor_that_has_worked(tables):
    rows = tables["predict-memory"].rows

    assert list(rows) == [
        "import torch",
        "idle predictor",
        "after single pictures",
        "after a batch",
    ]
    assert rows["idle predictor"]["MB"] > rows["import torch"]["MB"] > 50


def test_the_pictures_are_digits_in_the_form_of_mnist(tmp_path):
    paths = draw_files(tmp_path, 3)

    pictures = [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in paths]
    assert [picture.shape for picture in pictures] == [(28, 28)] * 3
    assert all(picture[0, 0] == 0 and picture.max() > 200 for picture in pictures)


def test_naive_and_floor_really_run_the_network(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "some.pth", build_model())
    predictor = MNISTPredictor(tmp_path / "some.pth", device="cpu")
    (path,) = draw_files(tmp_path, 1)

    logits = BareReader(predictor).read(path)
    digit, confidence = NaiveReader(predictor.checkpoint).read(path)

    decoded = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.float32)
    with torch.no_grad():
        wanted = predictor.checkpoint.model(torch.from_numpy(decoded)[None, None])
    assert torch.allclose(logits, wanted, rtol=1e-4, atol=1e-3)  # pixels up to 255, so large logits
    assert 0 <= digit <= 9
    assert 0.1 <= confidence <= 1
