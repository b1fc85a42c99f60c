"""How Gradio's own parts are made to look like ours; the rest is in `page.css`.

>>> gr.mount_gradio_app(app, page, path="/", theme=build_theme(), css_paths=[CSS], head=HEAD)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils import PROJECT

if TYPE_CHECKING:
    import gradio as gr

TITLE = "Digit reader"
CSS = PROJECT / "page.css"

_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
    "<rect width='32' height='32' rx='8' fill='%231f4fd8'/>"
    "<path d='M10 9h12c-4 4-6 8-7 14' fill='none' stroke='white' stroke-width='3.4'"
    " stroke-linecap='round' stroke-linejoin='round'/></svg>"
)
HEAD = f'<link rel="icon" type="image/svg+xml" href="data:image/svg+xml,{_ICON}">'
HEADER = f"""
<header class="page-header">
  <img class="page-logo" src="data:image/svg+xml,{_ICON}" width="40" height="40" alt="">
  <div><h1>{TITLE}</h1><p>Draw a digit. It is read while you draw.</p></div>
</header>"""


def build_theme() -> gr.themes.Base:
    """Make Gradio's own parts look like ours; only the system's fonts are used."""
    import gradio as gr

    system = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
    return gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=system, font_mono=mono).set(
        body_background_fill="var(--page)",
        body_background_fill_dark="var(--page)",
        body_text_color="var(--ink)",
        body_text_color_dark="var(--ink)",
        block_background_fill="var(--card)",
        block_background_fill_dark="var(--card)",
        block_border_color="var(--line)",
        block_border_color_dark="var(--line)",
        block_radius="16px",
    )
