"""Checkpoints: what is saved comes back, and no file can do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import registry
from errors import CheckpointError, DigitError, ModelNotFoundError, OutputError
from model import InputScaling, MNISTNet, build_model, list_models
from registry import list_checkpoints, list_names, load_checkpoint, resolve, save_checkpoint


class RunsACommand:
    """An object whose unpickling creates the file `target`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a models folder with a "best" and a "last", both small."""
    folder = tmp_path / "models"
    for name in ("mnist_cnn", "mnist_cnn_best"):
        save_checkpoint(folder / f"{name}.pth", build_model("mlp"))
    return folder


# --- what is saved comes back -----------------------------------------------------------------


@pytest.mark.parametrize("name", list_models())
def test_every_network_comes_back_with_the_same_answers(tmp_path: Path, name: str) -> None:
    model = build_model(name).eval()
    pixels = torch.rand(3, 1, 28, 28)

    save_checkpoint(tmp_path / "net.pth", model)
    checkpoint = load_checkpoint(tmp_path / "net.pth")

    assert checkpoint.architecture == name
    assert checkpoint.scaling == model.scaling
    assert not checkpoint.model.training
    assert torch.equal(checkpoint.model(pixels), model(pixels))
    assert all(p.requires_grad and p.device.type == "cpu" for p in checkpoint.model.parameters())


def test_the_usual_pytorch_lines_load_the_weights(tmp_path: Path, monkeypatch) -> None:
    """These lines are promised to people who use the file without our code."""
    trained = MNISTNet()
    save_checkpoint(tmp_path / "models" / "mnist_cnn.pth", trained)
    monkeypatch.chdir(tmp_path)

    model = MNISTNet()
    checkpoint = torch.load("./models/mnist_cnn.pth")
    model.load_state_dict(checkpoint["model_state_dict"])

    assert torch.equal(model.fc3.weight, trained.fc3.weight)


def test_everything_that_travels_along_comes_back(tmp_path: Path) -> None:
    gate = {"weight": torch.rand(4, 5).T, "bias": torch.rand(2)}
    given: dict[str, Any] = {
        "settings": {"lr": 5e-4, "betas": (0.9, 0.999), "resume": None, "augment": True},
        "metrics": {"accuracy": 0.1 + 0.2, "recall": {7: 1.0}, "curve": [1.0, 0.5]},
        "data": {"name": "MNIST", "train": 55_000},
        "temperature": 1.0625,
        "refusal": {"unsure_above": 0.25, "not_a_digit_above": 1.0},
    }

    save_checkpoint(tmp_path / "net.pth", build_model("mlp"), **given, extra={"gate": gate})
    checkpoint = load_checkpoint(tmp_path / "net.pth")

    assert {name: getattr(checkpoint, name) for name in given} == given
    assert torch.equal(checkpoint.extra["gate"]["weight"], gate["weight"])
    assert set(checkpoint.versions) == {"python", "torch", "numpy"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", checkpoint.created)
    assert (checkpoint.name, checkpoint.path) == ("net", tmp_path / "net.pth")


def test_another_input_scaling_travels_with_the_weights(tmp_path: Path) -> None:
    scaling = InputScaling(0.25, 2.0)

    save_checkpoint(tmp_path / "net.pth", build_model("mlp", scaling))

    assert load_checkpoint(tmp_path / "net.pth").scaling == scaling


def test_the_version_tells_weights_apart_and_nothing_else(tmp_path: Path) -> None:
    model = build_model("mlp")

    first = save_checkpoint(tmp_path / "a.pth", model, metrics={"accuracy": 0.5})
    same = save_checkpoint(tmp_path / "b.pth", model, metrics={"accuracy": 0.6})
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-3
    other = save_checkpoint(tmp_path / "c.pth", model)

    assert re.fullmatch("[0-9a-f]{12}", first)
    assert first == same != other
    assert load_checkpoint(tmp_path / "a.pth").version == first


def test_loading_a_model_leaves_the_random_numbers_alone(folder: Path) -> None:
    """A page that loads a model while a seeded training runs must not change its result."""
    torch.manual_seed(5)
    expected = torch.rand(1)

    torch.manual_seed(5)
    load_checkpoint("best", folder)

    assert torch.equal(torch.rand(1), expected)


def test_a_view_is_saved_without_its_base(tmp_path: Path) -> None:
    rows = torch.zeros(1_000_000)[:10]

    save_checkpoint(tmp_path / "net.pth", build_model("mlp"), extra={"rows": rows})

    assert (tmp_path / "net.pth").stat().st_size < 1_100_000


# --- what cannot be saved ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (PurePosixPath("data"), r"settings\['x'\] is a PurePosixPath"),
        (np.float64(0.5), "float64"),
        (np.zeros(3), "ndarray"),
        (torch.zeros(3), "Tensor"),
        ([1, {"deep": {2}}], r"settings\['x'\]\[1\]\['deep'\] is a set"),
        ({(1, 2): 3}, r"the key \(1, 2\)"),
        (len, "builtin_function"),
    ],
)
def test_a_value_that_is_not_plain_is_refused_by_its_place(
    tmp_path: Path, value: object, hint: str
) -> None:
    with pytest.raises(CheckpointError, match=hint):
        save_checkpoint(tmp_path / "net.pth", build_model("mlp"), settings={"x": value})

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_cannot_work_is_refused(tmp_path: Path, temperature: float) -> None:
    with pytest.raises(CheckpointError, match="temperature"):
        save_checkpoint(tmp_path / "net.pth", build_model("mlp"), temperature=temperature)


def test_weights_of_a_diverged_training_do_not_replace_the_old_file(folder: Path) -> None:
    before = (folder / "mnist_cnn.pth").read_bytes()
    model = build_model("mlp")
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")

    with pytest.raises(CheckpointError, match="smaller --lr"):
        save_checkpoint(folder / "mnist_cnn.pth", model)

    assert (folder / "mnist_cnn.pth").read_bytes() == before


def test_a_network_of_somebody_else_is_not_saved_under_our_name(tmp_path: Path) -> None:
    model = build_model("mlp")
    model.name = "resnet"

    with pytest.raises(CheckpointError, match="no network 'resnet'"):
        save_checkpoint(tmp_path / "net.pth", model)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match=r"file.net\.pth"):
        save_checkpoint(tmp_path / "file" / "net.pth", build_model("mlp"))


def test_a_full_disk_is_reported_and_the_file_before_stands(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "net.pth"
    version = save_checkpoint(path, build_model("mlp"))

    with full_disk(), pytest.raises(OutputError, match=r"net\.pth"):
        save_checkpoint(path, build_model("mlp"))

    assert load_checkpoint(path).version == version


# --- files that cannot be used ----------------------------------------------------------------


def _content(**changes: Any) -> dict[str, Any]:
    """Return what a good checkpoint holds, with some fields replaced."""
    content: dict[str, Any] = {
        "format": 1,
        "architecture": "mlp",
        "model_state_dict": build_model("mlp").state_dict(),
        "scaling": {"mean": 0.5, "std": 0.5},
        "settings": {},
        "metrics": {},
        "data": {},
        "versions": {},
        "created": "2026-01-01T00:00:00+00:00",
        "temperature": 1.0,
        "refusal": None,
        "extra": {},
    }
    return content | changes


def _weights(**changes: Tensor) -> dict[str, Tensor]:
    """Return good weights for "mlp", with some tensors replaced."""
    names = {name.replace(".", "_"): name for name in build_model("mlp").state_dict()}
    return build_model("mlp").state_dict() | {names[key]: value for key, value in changes.items()}


def test_the_content_that_the_next_tests_spoil_is_good(tmp_path: Path) -> None:
    torch.save(_content(), tmp_path / "net.pth")

    assert load_checkpoint(tmp_path / "net.pth").architecture == "mlp"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ([1, 2], "holds a list"),
        ({}, "it lacks format, architecture"),
        ({"model_state_dict": {}, "epoch": 3}, "it lacks format, architecture, scaling"),
        (build_model("mlp").state_dict(), "bare weights"),
        (_content(format=99), "newer version"),
        (_content(format="1"), "a str as 'format'"),
        (_content(architecture="resnet"), "no network 'resnet'; choose one of: mnistnet"),
        (_content(architecture="cnn1"), "does not fit the network 'cnn1'"),
        (_content(model_state_dict=[1]), "a list as 'model_state_dict'"),
        (_content(model_state_dict={}), r"it lacks layers\.1\.bias"),
        (_content(model_state_dict=_weights() | {"evil": torch.zeros(1)}), "has unknown evil"),
        (_content(model_state_dict=_weights() | {"layers.1.bias": 3}), "not a plain tensor"),
        (
            _content(model_state_dict=_weights(layers_1_bias=torch.zeros(2))),
            r"layers\.1\.bias is \(2,\)",
        ),
        (
            _content(model_state_dict=_weights(layers_1_bias=torch.zeros(256).double())),
            "float64, not",
        ),
        (
            _content(model_state_dict=_weights(layers_1_bias=torch.zeros(256, device="meta"))),
            "not a plain tensor",
        ),
        (
            _content(model_state_dict=_weights(layers_1_bias=torch.full((256,), float("inf")))),
            "not numbers",
        ),
        (_content(scaling={"mean": 0.5}), "input scaling"),
        (_content(scaling={"mean": 0.5, "std": 0.0}), "input scaling"),
        (_content(scaling={"mean": 0.5, "std": 0.5, "soften": 0.3}), "input scaling"),
        (_content(scaling={"mean": float("nan"), "std": 1.0}), "input scaling"),
        (_content(temperature=-1.0), "temperature"),
        (_content(temperature=10**400), "a int as 'temperature'"),
        (_content(refusal=3), "a int as 'refusal'"),
        (_content(settings=None), "a NoneType as 'settings'"),
    ],
)
def test_a_checkpoint_with_wrong_contents_is_refused_with_advice(
    tmp_path: Path, content: object, hint: str
) -> None:
    path = tmp_path / "bad.pth"
    torch.save(content, path)

    with pytest.raises(CheckpointError, match=hint) as caught:
        load_checkpoint(path)

    assert "bad.pth" in str(caught.value)


def _truncated() -> bytes:
    whole = io.BytesIO()
    torch.save(_content(), whole)
    return whole.getvalue()[:-1000]


def _zip_bomb() -> bytes:
    """Return 0.3 MB that unpack to 300 MB, in the layout of a checkpoint."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1_000_000))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "is empty"),
        (b"hello, I am not a model", "damaged, or not a network"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged, or not a network"),
        (_truncated, "damaged, or not a network"),
        (_zip_bomb, "damaged, or not a network"),
    ],
    ids=["empty", "text", "picture", "truncated", "zip bomb"],
)
def test_a_file_that_is_no_checkpoint_is_refused_with_advice(
    tmp_path: Path, content: bytes | Callable[[], bytes], hint: str
) -> None:
    path = tmp_path / "bad.pth"
    path.write_bytes(content if isinstance(content, bytes) else content())

    with pytest.raises(CheckpointError, match=hint) as caught:
        load_checkpoint(path)

    assert "bad.pth" in str(caught.value)
    assert "choose another file" in str(caught.value)
    assert "python train.py, or the tab Train of the page" in str(caught.value)
    assert "git" not in str(caught.value)  # it may be a visitor's own file, on the page


@pytest.mark.parametrize(
    "refusal",
    [
        {},
        {"not_a_digit_above": 0.5},
        {"unsure_above": 0.1, "refused_above": 0.5},
        {"unsure_above": 0.1, "not_a_digit_above": 0.5, "cat_above": 0.9},
        *(
            {"unsure_above": unsure, "not_a_digit_above": refused}
            for unsure, refused in [
                *((0.5, None), (0.5, "0.9"), (0, 1), (True, True), (10**400, 1.0)),
                *((None, 0.5), ("0.1", 0.5), (0, 0.5)),
                *((float("nan"), 0.9), (0.5, float("nan")), (0.5, float("inf"))),
                *((0.9, 0.5), (-0.1, 0.5), (0.5, 1.1)),
            ]
        ),
    ],
)
def test_thresholds_that_cannot_work_are_refused(tmp_path: Path, refusal: dict[str, Any]) -> None:
    """They loaded: with None the first prediction failed, and with NaN nothing was refused."""
    path = tmp_path / "bad.pth"
    torch.save(_content(refusal=refusal), path)

    with pytest.raises(CheckpointError, match=r"'refusal'.*0 to 1") as caught:
        load_checkpoint(path)

    assert "bad.pth" in str(caught.value)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "bad.pth").open("wb") as file:
        file.truncate(registry.MAX_BYTES + 1)  # takes no room on the disk

    with pytest.raises(CheckpointError, match="too large"):
        load_checkpoint(tmp_path / "bad.pth")


@pytest.mark.parametrize("wrapped_by", ["torch", "torch legacy", "pickle"])
def test_code_in_a_file_is_never_executed(tmp_path: Path, wrapped_by: str) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "executed"
    content = _content(settings={"x": RunsACommand(target)})
    if wrapped_by == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=wrapped_by == "torch")

    with pytest.raises(CheckpointError, match="no code in it was run"):
        load_checkpoint(path)

    assert not target.exists()


def test_the_code_of_that_test_would_do_harm_if_it_were_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"

    pickle.loads(pickle.dumps(RunsACommand(target)))

    assert target.exists()


def test_one_flipped_byte_anywhere_never_passes_unnoticed_into_the_weights(folder: Path) -> None:
    """PyTorch does not look at the checksums in the file; weights with a wrong byte would load."""
    path = folder / "mnist_cnn.pth"
    good, version = path.read_bytes(), load_checkpoint(path).version
    rng = np.random.default_rng(0)

    refused = 0
    for position in rng.integers(0, len(good), 60):
        spoiled = bytearray(good)
        spoiled[position] ^= 0x10
        path.write_bytes(spoiled)
        try:
            assert load_checkpoint(path).version == version  # a byte that nobody reads
        except CheckpointError:
            refused += 1

    assert refused > 50


# --- choosing by name -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("best", "mnist_cnn_best.pth"),
        ("last", "mnist_cnn.pth"),
        ("mnist_cnn", "mnist_cnn.pth"),
        ("mnist_cnn.pth", "mnist_cnn.pth"),
    ],
)
def test_a_checkpoint_is_found_by_its_names(folder: Path, name: str, file: str) -> None:
    found = resolve(name, folder)

    assert found == folder / file
    assert resolve(name, folder, allow_paths=False) == found


def test_a_path_to_a_file_elsewhere_is_taken_as_it_is(tmp_path: Path, folder: Path) -> None:
    elsewhere = tmp_path / "mine.pt"
    elsewhere.write_bytes((folder / "mnist_cnn.pth").read_bytes())

    assert resolve(elsewhere, folder) == elsewhere
    assert load_checkpoint(str(elsewhere), folder).architecture == "mlp"


def test_a_misspelt_name_gets_a_suggestion_and_the_names_there_are(folder: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("mnist_cn_best", folder)

    message = str(caught.value)
    assert "did you mean 'mnist_cnn_best'?" in message
    assert "there are: best, last, mnist_cnn, mnist_cnn_best" in message
    assert "python train.py" in message
    assert str(folder) in message


def test_a_path_without_a_file_is_called_that_and_not_a_model_of_the_folder(
    tmp_path: Path, folder: Path
) -> None:
    missing = tmp_path / "runs" / "mnist_cn.pth"

    with pytest.raises(ModelNotFoundError) as caught:
        resolve(str(missing), folder)

    message = str(caught.value)
    assert message.startswith(f"{missing}: no such file; did you mean 'mnist_cnn'? there are: best")
    assert str(folder) not in message


def test_of_very_many_names_some_are_told_and_the_rest_counted(folder: Path) -> None:
    content = (folder / "mnist_cnn.pth").read_bytes()
    for number in range(40):
        (folder / f"z{number:02}.pth").write_bytes(content)

    with pytest.raises(ModelNotFoundError) as caught:
        resolve("nobody", folder)

    assert re.search(r"z\d\d and \d\d more; or train one", str(caught.value))
    assert str(caught.value).count(",") < 20


def test_without_any_model_the_message_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no models yet; train one: python train\.py"):
        resolve("best", tmp_path / "nowhere")


def test_a_folder_is_not_a_checkpoint(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder"):
        resolve(tmp_path, folder)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "../secret",
        "../secret.pth",
        "/etc/passwd",
        "..\\secret",
        "sub/inner",
        "models/../../secret.pth",
        "mnist_cnn/",
        ".",
        "",
        "mnist_cnn\0.pth",
        "x" * 10_000,
    ],
)
def test_a_stranger_reaches_no_file_outside_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret.pth").write_bytes((folder / "mnist_cnn.pth").read_bytes())
    (folder / "sub").mkdir()
    (folder / "sub" / "inner.pth").write_bytes((folder / "mnist_cnn.pth").read_bytes())

    with pytest.raises(ModelNotFoundError) as caught:
        load_checkpoint(name, folder, allow_paths=False)

    assert str(folder) not in str(caught.value)  # nor learns where we live


@pytest.mark.parametrize("name", ["", "mnist_cnn\0.pth", "x" * 10_000])
def test_a_name_that_no_file_can_have_is_simply_not_found(folder: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        resolve(name, folder)


# --- listing ----------------------------------------------------------------------------------


def test_the_listing_shows_good_files_and_says_what_is_wrong_with_others(folder: Path) -> None:
    (folder / "broken.pth").write_bytes(b"oh dear")
    (folder / "notes.txt").write_text("not a model")
    (folder / ".mnist_cnn-x1.pth").write_bytes(b"still being written")

    listings = list_checkpoints(folder)

    assert [listing.name for listing in listings] == ["broken", "mnist_cnn", "mnist_cnn_best"]
    assert listings[0].checkpoint is None
    assert "damaged" in listings[0].problem
    assert all(listing.checkpoint and not listing.problem for listing in listings[1:])
    assert list_names(folder) == [listing.name for listing in listings]


def test_the_listing_of_this_folder_is_not_that_of_the_shipped_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare file name is also the name of a model, which was looked up in models/ first."""
    version = save_checkpoint(tmp_path / "mnist_cnn.pth", build_model("mlp"))
    monkeypatch.chdir(tmp_path)

    listings = list_checkpoints(Path())

    assert [each.checkpoint and each.checkpoint.version for each in listings] == [version]


def test_a_missing_folder_counts_as_empty(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_every_error_of_the_registry_is_one_of_ours() -> None:
    assert issubclass(CheckpointError, DigitError)
    assert issubclass(ModelNotFoundError, DigitError)


def test_a_loaded_network_softens_and_answers_as_the_saved_one_did(tmp_path):
    """Networks are built without values first; what is no weight must have one all the same."""
    network = build_model("mnistnet", InputScaling(0.13, 0.3, 0.2)).eval()
    save_checkpoint(tmp_path / "new.pth", network)
    pixels = torch.rand(3, 1, 28, 28)

    loaded = load_checkpoint("new", tmp_path).model

    with torch.no_grad():
        assert torch.equal(loaded(pixels), network(pixels))
    assert {value.device.type for value in loaded.buffers()} == {"cpu"}


def test_what_a_network_softens_is_kept_and_old_checkpoints_soften_nothing(tmp_path):
    network = build_model("mlp", InputScaling(0.5, 0.5, 0.125)).eval()
    save_checkpoint(tmp_path / "new.pth", network)
    content = torch.load(tmp_path / "new.pth", weights_only=True)
    del content["scaling"]["soften"]
    torch.save({**content, "format": 1}, tmp_path / "old.pth")

    kept, old = (load_checkpoint(name, tmp_path).scaling for name in ("new", "old"))

    assert kept == InputScaling(0.5, 0.5, 0.125)
    assert old == InputScaling(0.5, 0.5, 0.0)


@pytest.mark.parametrize(
    "name", ["mnist_cnn", "mnist_cnn_best", *sorted(set(list_models()) - {"mnistnet"})]
)
def test_a_shipped_checkpoint_holds_no_path_of_the_machine_that_made_it(name):
    checkpoint = load_checkpoint(name)

    kept = (checkpoint.settings, checkpoint.metrics, checkpoint.data, checkpoint.extra)
    assert not re.search(r'"(/|~|\w:)', json.dumps(kept))
