"""What several tabs are put together from, beside the pad and the panels.

    QUIET: how a tab asks        build_unlock: who may change things        deliver_file: downloads

The pad is in `pad.py`, the panels are in `panels.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from panels import render_notice

if TYPE_CHECKING:
    import gradio as gr
    from gradio.components import Component

    from access import Access

# How a tab asks about what is on it. Not through the queue, which would hold up answers that are
# there in milliseconds; without a spinner, which would flicker at each stroke; and not as a part of
# the public interface.
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}

CHANGES_OFF = (
    "You can look at everything here, but nothing can be changed: this server can be reached from "
    "other machines and has no administrator token. Set DIGITS_ADMIN_TOKEN where it runs, and "
    "start it again."
)


def build_unlock(access: Access) -> gr.Textbox:
    """Ask for the administrator token, where one is needed; say so where changes are off.

    A handler that changes something takes the value of this box as its last input and calls
    `service.access.require(value)` first: the box alone protects nothing.

    Returns
    -------
    gr.Textbox
        Not shown where everybody may change everything, or nobody anything.
    """
    import gradio as gr

    if access.changes_are == "off":
        gr.HTML(render_notice(CHANGES_OFF), apply_default_css=False)
    return gr.Textbox(
        label="Administrator token",
        info="Needed for changes. It is what DIGITS_ADMIN_TOKEN was set to on the server.",
        type="password",
        visible=access.changes_are == "locked",
        max_lines=1,
        elem_classes="unlock",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
    )


def deliver_file(
    trigger: Callable[..., Any],
    find: Callable[..., Any],
    inputs: Sequence[Component],
    *,
    elem_id: str,
) -> None:
    """Give the browser a file that is found or made when it is asked for, not before.

    A link that is kept ready would still lead to an older file for a moment after a choice.

    Parameters
    ----------
    trigger : event
        Such as `button.click`.
    find : callable
        From the values of `inputs` to the path of a file; or a generator that yields it and then
        removes the file, of which the page has a copy by then.
    inputs : sequence of gr components
    elem_id : str
        Of the hidden link that is made here and clicked.
    """
    import gradio as gr

    link = gr.DownloadButton(visible="hidden", elem_id=elem_id)
    found = trigger(find, inputs, [link], trigger_mode="once", api_visibility="private")
    found.success(None, js=f"() => document.querySelector('#{elem_id}').click()", **QUIET)
