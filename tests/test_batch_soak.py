from __future__ import annotations

import sys

import pytest

from tests.soak import BAD, soak


@pytest.mark.timeout(600)  # it starts the program five times, on a machine that may be busy
@pytest.mark.skipif(sys.platform == "win32", reason="needs links and kill -9")
def test_a_batch_that_is_killed_and_resumed_gives_the_rows_of_an_undisturbed_one(
    models_folder, tmp_path
):
    """The same with 100,000 pictures and ten kills: python -m tests.soak."""
    model = str(models_folder / "mnist_cnn_best.pth")

    done = soak(tmp_path, model, pictures=500, bad=2 * len(BAD), kills=2)

    assert "both tables are the same" in done
    assert "killed 0 times" not in done
