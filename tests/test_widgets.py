"""Who may not change anything is asked for no token."""

from __future__ import annotations

import gradio as gr
import pytest

from access import Access
from widgets import build_unlock


@pytest.mark.parametrize(
    ("access", "asks", "says"),
    [
        (Access(), False, False),
        (Access(token="a secret of some length"), True, False),
        (Access(beyond_loopback=True, token="a secret of some length"), True, False),
        (Access(beyond_loopback=True), False, True),
    ],
)
def test_the_token_is_asked_for_only_where_it_opens_something(
    access: Access, asks: bool, says: bool
):
    with gr.Blocks() as page:
        box = build_unlock(access)

    notices = [block for block in page.blocks.values() if isinstance(block, gr.HTML)]
    assert (box.visible, box.type) == (asks, "password")
    assert bool(notices) == says
    assert "secret" not in str(page.get_config_file())
