from __future__ import annotations

import pytest

from batch_sources import open_source
from errors import DataNotFoundError
from tests.conftest import png


def test_an_address_is_read_like_a_folder(tree):
    pytest.importorskip("pyarrow")

    source = open_source(tree.as_uri())
    items = list(source.read())

    assert [item.path.partition("tree/")[2] for item in items] == [
        "12/z.png", "7/deep/y.png", "7/x.jpg", "a.png", "b.png"
    ]  # fmt: skip
    assert items[3].size == len(png())
    assert [item.label for item in items] == [None, None, 7, None, None]


@pytest.mark.parametrize("address", ["nosuch://bucket/x", "file:///nowhere/at/all"])
def test_an_address_that_leads_nowhere_is_named(address):
    pytest.importorskip("pyarrow")

    with pytest.raises(DataNotFoundError, match=address):
        list(open_source(address).read())
