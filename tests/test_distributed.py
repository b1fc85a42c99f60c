"""Several processes train one network: the same result as one process, and one set of files."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import distributed
import train
from distributed import ALONE, Team, join_team
from errors import SettingsError
from registry import load_checkpoint
from utils import PROJECT

pytestmark = pytest.mark.long

# Without augmentation and dropout nothing depends on which process sees a picture.
PLAIN = "--model mlp --no-augment --epochs 2 --batch-size 64 --limit 320 --precision fp32"
# And here everything does.
VARIED = "--limit 128 --batch-size 64 --precision fp32"
TASKS = Path("/proc/self/task")
# Trains, and then tells the threads of PyTorch's communication that are still there.
TELL_THREADS = f"""
import sys
from pathlib import Path
import train
code = train.main(sys.argv[1:])
names = [(task / "comm").read_text() for task in Path({str(TASKS)!r}).iterdir()]
sys.exit(code or "".join(name for name in names if "gloo" in name) or 0)
"""


def learn_in_two_processes(folder: Path, data: Path, words: str) -> Path:
    """Run train.py under torchrun, and return the folder of its run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "--", str(PROJECT / "train.py")]
    done = subprocess.run(
        command + _places(folder, data, words),
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results in") == 1  # only one of them speaks
    return folder / "run"


def learn_with_another(
    folder: Path, data: Path, words: str, other: Sequence[str] = (str(PROJECT / "train.py"),)
) -> None:
    """Run train.py here and in a second process, as torchrun would, without its own start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    places = _places(folder, data, words)
    with (
        subprocess.Popen(
            [sys.executable, *other, *places],
            cwd=PROJECT,
            env=os.environ | meeting | {"RANK": "1", "LOCAL_RANK": "1"},
            stdout=subprocess.PIPE,
            text=True,
        ) as second,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in (meeting | {"RANK": "0", "LOCAL_RANK": "0"}).items():
            patch.setenv(name, value)
        assert train.main(places) == 0
        assert second.communicate(timeout=150) == ("", None)  # only the first one speaks
        assert second.returncode == 0


def learn_alone(folder: Path, data: Path, words: str) -> Path:
    """Run train.py here, and return the folder of its run."""
    assert train.main(_places(folder, data, words)) == 0
    return folder / "run"


def _places(folder: Path, data: Path, words: str) -> list[str]:
    places = ["--data-dir", str(data), "--output", str(folder), "--run", "run"]
    places += ["--models-dir", str(folder / "models")]
    return [*words.split(), "--no-cuda", "--threads", "1", "--no-test", *places]


def test_two_processes_learn_what_one_learns(tmp_path: Path, mnist_folder: Path) -> None:
    one = learn_alone(tmp_path / "one", mnist_folder, PLAIN)
    two = learn_in_two_processes(tmp_path / "two", mnist_folder, PLAIN)

    alone, together = (load_checkpoint(run / "last.pth").model.state_dict() for run in (one, two))
    assert all(torch.allclose(alone[name], together[name], atol=1e-5) for name in alone)
    rows = [json.loads((run / "history.jsonl").read_text().splitlines()[-1]) for run in (one, two)]
    for key in ("train_loss", "train_accuracy", "validation_accuracy"):
        assert rows[0][key] == pytest.approx(rows[1][key], abs=1e-5)
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}


@pytest.fixture(scope="module")
def first_epoch(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Path:
    """Return a folder with the run of one process over one epoch. Go on in a copy of it."""
    folder = tmp_path_factory.mktemp("first")
    learn_alone(folder, mnist_folder, f"{VARIED} --epochs 1")
    return folder


def test_a_run_that_stopped_goes_on_with_more_processes_and_no_thread_outlives_them(
    tmp_path: Path, mnist_folder: Path, first_epoch: Path
) -> None:
    """Such a thread lets go of its tensors when Python is gone, and aborts the process."""
    shutil.copytree(first_epoch, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "run"
    # Only Linux tells the names of threads.
    other = ("-c", TELL_THREADS) if TASKS.is_dir() else (str(PROJECT / "train.py"),)

    learn_with_another(tmp_path, mnist_folder, f"{VARIED} --epochs 2 --resume {run}", other)

    lines = (run / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert load_checkpoint(run / "best.pth").architecture == "mnistnet"


def test_several_processes_do_what_is_left_after_the_last_epoch(
    tmp_path: Path, mnist_folder: Path, first_epoch: Path
) -> None:
    shutil.copytree(first_epoch, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "run"
    (run / "outcome.json").unlink()  # as if it had been killed

    learn_with_another(tmp_path, mnist_folder, f"--resume {run}")

    assert (run / "outcome.json").is_file()
    assert len((run / "history.jsonl").read_text().splitlines()) == 1


def test_a_process_that_was_started_alone_is_a_team_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    model, values = torch.nn.Linear(2, 2), torch.ones(3)

    with join_team("cpu") as (team, device):
        assert (team, device) == (ALONE, torch.device("cpu"))
        assert team.is_leader
        assert team.wrap(model) is model
        assert team.broadcast("word") == "word"
        assert team.all_reduce(values) is values
        team.check_batch(7)


def test_a_batch_that_cannot_be_cut_into_equal_parts_is_refused() -> None:
    with pytest.raises(SettingsError, match="a multiple of 2"):
        Team(rank=1, size=2).check_batch(7)


def test_more_processes_than_cards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(os, "environ", os.environ | {"WORLD_SIZE": "2", "LOCAL_RANK": "1"})

    with pytest.raises(SettingsError, match="as many CUDA cards"), join_team("auto"):
        pass
