from __future__ import annotations

import pickle

import pytest

from batch_input import LARGEST, Input, Source
from errors import SettingsError


def test_an_input_travels_to_another_process_as_it_is():
    item = Input("a.zip/7/b.png", data=b"PNG", size=3, stamp=5, label=7, is_listed=True)

    assert pickle.loads(pickle.dumps(item)) == item


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        ({"size": 2**64 - 1}, {"size": LARGEST}),
        ({"stamp": LARGEST}, {"stamp": LARGEST}),
        ({"stamp": LARGEST + 2}, {"stamp": 1}),
        ({"stamp": -1}, {"stamp": LARGEST}),
    ],
)
def test_what_a_file_claims_of_itself_fits_into_a_table(claimed, kept):
    assert Input("a.png", **claimed) == Input("a.png", **kept)


@pytest.mark.parametrize("kind", ["folder", "list", "zip"])
def test_what_can_be_told_from_others_can_be_gone_on_with(kind):
    Source(kind, "scans", "/scans", lambda: iter([])).check_resumable()


def test_standard_input_cannot_be_gone_on_with():
    with pytest.raises(SettingsError, match=r"list\.txt"):
        Source("stdin", "stdin", "-", lambda: iter([])).check_resumable()
