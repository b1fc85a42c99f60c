"""Changes of the models folder: whole or not at all, and never by surprise."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import shelf
from errors import (
    BusyError,
    CheckpointError,
    DigitError,
    ModelNotFoundError,
    OutputError,
    OvertakenError,
    SettingsError,
)
from model import build_model
from registry import list_names, load_checkpoint, save_checkpoint
from utils import PROJECT


@pytest.fixture
def folder(tmp_path: Path, models_folder: Path) -> Path:
    """Return a models folder that may be changed, with a second model "other"."""
    folder = tmp_path / "models"
    shutil.copytree(models_folder, folder)
    save_checkpoint(folder / "other.pth", build_model("cnn3"))
    return folder


def version(name: str, folder: Path) -> str:
    return load_checkpoint(name, folder).version


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Mine:
    """What a file from a stranger may try to build."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch taken-over-by-a-checkpoint",)


# --- adding ---------------------------------------------------------------------------------------


def test_a_checkpoint_that_comes_in_is_on_the_shelf(folder: Path) -> None:
    content = (folder / "other.pth").read_bytes()

    added = shelf.add(content, "My net (2).pth", folder)

    assert added.name == "My-net-2"
    assert added.version == version("My-net-2", folder) == version("other", folder)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mine.pth", "mine"),
        ("C:\\Models\\mine.pth", "mine"),
        ("../../etc/passwd", "passwd"),
        ("/absolute/mine.pth", "mine"),
        (".hidden.pth", "hidden"),
        ("--help", "help"),
        ("a\x00b\nc", "a-b-c"),
        ("x" * 100, "x" * 64),
        (7, "7"),
    ],
)
def test_a_name_is_made_of_letters_digits_and_dashes(text: object, name: str) -> None:
    assert shelf.clean_name(text) == name


@pytest.mark.parametrize("text", [None, "", ".pth", "...", "/", "数字"])
def test_a_name_of_which_nothing_is_left_is_refused(text: object) -> None:
    with pytest.raises(SettingsError, match="name:"):
        shelf.clean_name(text)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "new.pth is empty"),
        (b"GIF89a", "new.pth "),
        (pickled({"weights": torch.ones(3)}), "new.pth "),
        (pickled({"model_state_dict": {}, "run": Mine()}), "new.pth "),
    ],
    ids=["empty", "another file", "another dict", "code"],
)
def test_what_is_not_a_checkpoint_of_ours_leaves_nothing(
    folder: Path, content: bytes, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # where the code of the last one would leave its file
    before = {*folder.iterdir()}

    with pytest.raises(CheckpointError, match=f"^{hint}"):
        shelf.add(content, "new.pth", folder)

    assert {*folder.iterdir()} - before <= {folder / ".shelf.lock"}
    assert before <= {*folder.iterdir()}


def test_a_file_that_is_too_large_is_refused_unread(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="too large"):
        shelf.add(bytes(shelf.MAX_UPLOAD_BYTES + 1), "big", folder)


def test_a_file_that_unpacks_to_too_much_is_refused(folder: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300_000_000))

    with pytest.raises(CheckpointError, match="bomb"):
        shelf.add(buffer.getvalue(), "bomb", folder)


@pytest.mark.parametrize("name", ["other", "other.pth", "mnist_cnn_best", "best"])
def test_what_comes_in_replaces_nothing(folder: Path, name: str) -> None:
    content = (folder / "mnist_cnn.pth").read_bytes()
    kept = version("other", folder)

    with pytest.raises(SettingsError, match="name: there is a model"):
        shelf.add(content, name, folder)

    assert version("other", folder) == kept


@pytest.mark.parametrize(
    ("there", "options", "name"),
    [
        ([], {}, "mine"),
        (["mine"], {}, "mine-2"),
        (["mine", "mine-2", "mine-3"], {}, "mine-4"),
        (["mine"], {"own": "0123456789ab"}, "mine-2"),  # it is another one by now
        (["mine"], {"own": "OTHER"}, "mine"),
        (["mine"], {"replace": True}, "mine"),
    ],
)
def test_a_finished_model_gets_its_name_or_the_next_one_that_is_free(
    folder: Path, there: list[str], options: dict[str, object], name: str
) -> None:
    for each in there:
        shutil.copy(folder / "other.pth", folder / f"{each}.pth")
    before = set(list_names(folder))
    if options.get("own") == "OTHER":
        options = {"own": version("other", folder)}

    path = shelf.put(folder / "mnist_cnn.pth", "mine", folder, **options)

    assert path == folder / f"{name}.pth"
    assert version(name, folder) == version("mnist_cnn", folder)
    assert set(list_names(folder)) == before | {name}
    assert all(version(each, folder) == version("other", folder) for each in {*there} - {name})


def test_a_damaged_file_is_nobody_s_own_and_stays(folder: Path) -> None:
    (folder / "mine.pth").write_bytes(b"damaged")

    path = shelf.put(folder / "mnist_cnn.pth", "mine", folder)

    assert path.stem == "mine-2"
    assert (folder / "mine.pth").read_bytes() == b"damaged"


def test_the_longest_name_stays_one_when_it_gets_a_number(folder: Path) -> None:
    longest = "x" * shelf.LONGEST_NAME
    shutil.copy(folder / "other.pth", folder / f"{longest}.pth")

    path = shelf.put(folder / "other.pth", longest, folder)

    assert path.stem == shelf.clean_name(path.stem) == f"{longest[:-2]}-2"


# --- deleting -------------------------------------------------------------------------------------


def test_a_deleted_model_is_gone(folder: Path) -> None:
    shelf.delete("other", folder, in_use="mnist_cnn_best")

    assert list_names(folder) == ["mnist_cnn", "mnist_cnn_best"]


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("other", SettingsError, "in use"),
        ("mnist_cnn", SettingsError, "belongs to the program"),
        ("best", SettingsError, "belongs to the program"),
        ("nobody", ModelNotFoundError, "nobody"),
        ("../models/other", ModelNotFoundError, "no model"),
        ("", ModelNotFoundError, "no model"),
    ],
)
def test_a_model_that_is_needed_or_not_there_cannot_be_deleted(
    folder: Path, name: str, error: type[DigitError], hint: str
) -> None:
    with pytest.raises(error, match=hint):
        shelf.delete(name, folder, in_use="other")

    assert list_names(folder) == ["mnist_cnn", "mnist_cnn_best", "other"]


@pytest.mark.parametrize(
    ("problem", "error", "hint"),
    [
        (FileNotFoundError(2, "No such file"), ModelNotFoundError, "other is gone already"),
        (PermissionError(13, "Permission denied"), OutputError, "cannot delete .*denied"),
    ],
)
def test_a_model_that_cannot_be_deleted_is_told_with_the_reason(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    problem: OSError,
    error: type[DigitError],
    hint: str,
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise problem

    monkeypatch.setattr(Path, "unlink", refuse)

    with pytest.raises(error, match=hint):
        shelf.delete("other", folder, in_use="mnist_cnn_best")


def test_what_came_with_the_program_is_what_belongs_to_it() -> None:
    """The ensemble could be deleted from the page: it is no network that `list_models` names."""
    if not shutil.which("git") or not (PROJECT / ".git").exists():
        pytest.skip("only git knows which models came with the program, and which were added")
    command = ["git", "-C", str(PROJECT), "ls-files", "models/*.pth"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert {Path(file).stem for file in files} == shelf.SHIPPED


# --- the best one ---------------------------------------------------------------------------------


def test_a_new_best_can_be_taken_back_and_put_forward_again(folder: Path) -> None:
    first, other = version("best", folder), version("other", folder)

    now = shelf.make_best("other", folder)
    back = shelf.roll_back(folder)
    forward = shelf.roll_back(folder)

    assert (now.version, back.version, forward.version) == (other, first, other)
    assert version("best", folder) == other
    assert version("mnist_cnn_previous", folder) == first
    assert version("other", folder) == other


def test_the_one_before_becomes_the_best_again_by_name(folder: Path) -> None:
    """It was overwritten by the best before it was copied, and lost."""
    first, other = version("best", folder), version("other", folder)
    shelf.make_best("other", folder)

    assert shelf.make_best("mnist_cnn_previous", folder).version == first
    assert version("mnist_cnn_previous", folder) == other


def test_a_full_disk_leaves_the_best_and_the_one_before(
    folder: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    shelf.make_best("other", folder)
    before = {path.name: path.read_bytes() for path in folder.glob("*.pth")}

    with full_disk(), pytest.raises(OutputError):
        shelf.roll_back(folder)

    assert {path.name: path.read_bytes() for path in folder.glob("*.pth")} == before


def test_where_nothing_was_replaced_there_is_no_way_back(folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nothing to go back to"):
        shelf.roll_back(folder)


def test_a_damaged_model_does_not_become_the_best(folder: Path) -> None:
    first = version("best", folder)
    (folder / "other.pth").write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match="other"):
        shelf.make_best("other", folder)

    assert version("best", folder) == first
    assert "mnist_cnn_previous" not in list_names(folder)


def test_a_damaged_model_does_not_come_back(folder: Path) -> None:
    shelf.make_best("other", folder)
    (folder / "mnist_cnn_previous.pth").write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match="previous"):
        shelf.roll_back(folder)

    assert version("best", folder) == version("other", folder)


def test_the_best_cannot_become_the_best(folder: Path) -> None:
    with pytest.raises(SettingsError, match="already"):
        shelf.make_best("best", folder)

    assert "mnist_cnn_previous" not in list_names(folder)


@pytest.mark.parametrize("changed", ["other", "mnist_cnn_best"])
@pytest.mark.parametrize("change", ["deleted", "damaged", "replaced"])
def test_what_was_measured_becomes_the_best_in_the_place_of_what_was_measured(
    folder: Path, changed: str, change: str
) -> None:
    measured = version("other", folder), version("best", folder)
    path = folder / f"{changed}.pth"
    path.unlink()
    if change != "deleted":
        path.write_bytes(b"damaged")
    if change == "replaced":
        save_checkpoint(path, build_model("mlp"))
    before = sorted(folder.glob("*.pth"))

    with pytest.raises((OvertakenError, ModelNotFoundError, CheckpointError), match="other"):
        shelf.make_best("other", folder, measured=measured)

    assert sorted(folder.glob("*.pth")) == before


def test_the_first_best_model_is_made_if_there_is_still_none(folder: Path) -> None:
    other, first = version("other", folder), version("best", folder)

    with pytest.raises(OvertakenError, match="try again"):
        shelf.make_best("other", folder, measured=(other, None))
    (folder / "mnist_cnn_best.pth").unlink()
    shelf.make_best("other", folder, measured=(other, None))

    assert version("best", folder) == other != first


def test_where_there_is_no_best_there_is_one_then(folder: Path) -> None:
    (folder / "mnist_cnn_best.pth").unlink()

    shelf.make_best("other", folder)

    assert version("best", folder) == version("other", folder)


def test_many_changes_at_once_leave_whole_models(folder: Path) -> None:
    first, other = version("best", folder), version("other", folder)
    shelf.make_best("other", folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: shelf.roll_back(folder), range(7)))

    assert (version("best", folder), version("mnist_cnn_previous", folder)) == (first, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: shelf.add((folder / "other.pth").read_bytes(), "new", folder),
        lambda folder: shelf.put(folder / "other.pth", "new", folder),
        lambda folder: shelf.delete("other", folder, in_use=""),
        lambda folder: shelf.make_best("other", folder),
        shelf.roll_back,
    ],
    ids=["add", "put", "delete", "make_best", "roll_back"],
)
def test_a_change_waits_for_another_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(shelf, "LOCK_WAIT_S", 0.05)

    with FileLock(folder / ".shelf.lock"), pytest.raises(BusyError, match="try again"):
        change(folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")

    with pytest.raises(OutputError, match="models"):
        shelf.roll_back(tmp_path / "models")


# --- the table ------------------------------------------------------------------------------------


def test_every_model_is_in_the_table_of_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.pth").write_bytes(b"no checkpoint")

    code = shelf.main(["--models-dir", str(folder)])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split("|")[1].strip() for line in lines[2:]] == list_names(folder)
    assert "is damaged" in lines[2]
    assert "| mlp | 242,762 | 1.0 | - | 99.00 % | - | - | " in lines[3]


def test_what_a_trial_reads_right_says_of_how_few_pictures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("short", 2_000), ("whole", 5_000)):
        save_checkpoint(
            folder / f"{name}.pth",
            build_model("cnn3"),
            metrics={"validation_accuracy": 0.998},
            data={"validation_pictures": count},
        )

    shelf.main(["--models-dir", str(folder)])

    shown = {line.split("|")[1].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "| 99.80 % of 2,000 |" in shown["short"]
    assert "| 99.80 % |" in shown["whole"]


def test_the_time_of_training_is_called_that_of_the_last_run(folder: Path) -> None:
    """A network that had learned for hours, in two runs, was "trained in 29 min"."""
    save_checkpoint(folder / "timed.pth", build_model("mlp"), metrics={"elapsed": 1_740.0})

    lines = [re.split(r" ?\| ?", line) for line in shelf.tabulate(folder).splitlines()]

    place = lines[0].index("last training")
    assert [line[place] for line in lines if line[1] == "timed"] == ["29 min"]


@pytest.mark.parametrize("name", ["mistyped", "file"])
def test_a_folder_that_was_named_and_is_not_there_is_told_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A name with a typo passed as a folder without models."""
    (tmp_path / "file").touch()

    code = shelf.main(["--models-dir", str(tmp_path / name)])

    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (1, "", 1)
    assert f"{tmp_path / name}: no such folder" in printed.err
    assert "--models-dir" in printed.err


def test_the_usual_folder_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shelf, "MODELS_DIR", tmp_path / "models")

    assert shelf.main([]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 2  # the head of the table


@pytest.mark.parametrize(
    ("metrics", "shares"),
    [
        ({}, [None, None, None]),
        ({"test_accuracy": 0.99, "hands_accuracy": 0.9}, [0.99, None, 0.9]),
        ({"calibration": {"sets": {"other hands": {"accuracy": 0.8}}}}, [None, None, 0.8]),
        (
            {"validation_accuracy": 0.7, "calibration": {"sets": {"MNIST": {"accuracy": 0.8}}}},
            [None, 0.7, None],
        ),
        ({"test_accuracy": "good", "calibration": None}, [None, None, None]),
        ({"calibration": {"sets": {"MNIST": 5}}}, [None, None, None]),
    ],
)
def test_what_a_file_says_of_its_accuracy_is_found(
    folder: Path, metrics: dict[str, object], shares: list[float | None]
) -> None:
    save_checkpoint(folder / "told.pth", build_model("cnn3"), metrics=metrics)

    assert shelf.find_shares(load_checkpoint("told", folder)) == shares
