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


# Gradio's names for what gets our colours, which `page.css` defines for light and for dark.
_COLOURS = {
    "body_background_fill": "page",
    "body_text_color": "ink",
    "body_text_color_subdued": "quiet",
    "background_fill_primary": "card",
    "background_fill_secondary": "card",
    "block_background_fill": "card",
    "block_border_color": "line",
    "block_info_text_color": "quiet",
    "block_label_background_fill": "card",
    "block_label_text_color": "quiet",
    "block_title_text_color": "ink",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent",
    "button_primary_text_color": "accent-ink",
    "button_secondary_background_fill": "card",
    "button_secondary_background_fill_hover": "accent-soft",
    "button_secondary_border_color": "line",
    "button_secondary_text_color": "ink",
    "color_accent": "accent",
    "color_accent_soft": "accent-soft",
    "input_background_fill": "paper",
    "input_border_color": "line",
    "input_border_color_focus": "accent",
    "link_text_color": "accent",
    "loader_color": "accent",
    "slider_color": "accent",
    "table_border_color": "line",
    "table_even_background_fill": "card",
    "table_odd_background_fill": "card",
    "table_text_color": "ink",
}


# Gradio's own sizes of text, as parts of what a reader has chosen in the browser: it has pixels.
_TEXT = {"xxs": 9, "xs": 10, "sm": 12, "md": 14, "lg": 16, "xl": 22, "xxl": 26}
_ROOT_PX = 16  # the size of text where nobody has chosen one


def build_theme() -> gr.themes.Base:
    """Make Gradio's own parts look like ours; only the system's fonts are used."""
    import gradio as gr

    system = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
    sizes = {name: f"{pixels / _ROOT_PX}rem" for name, pixels in _TEXT.items()}
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        text_size=gr.themes.Size(**sizes, name="text_rem"),
        font=system,
        font_mono=mono,
    )
    return theme.set(
        block_radius="16px",
        button_large_radius="12px",
        button_medium_radius="12px",
        button_small_radius="10px",
        input_radius="10px",
        input_border_width="1px",
        input_border_width_dark="1px",
        **{
            f"{name}{suffix}": f"var(--{colour})"
            for name, colour in _COLOURS.items()
            for suffix in ("", "_dark")  # the variables change with the mode themselves
            if f"{name}{suffix}" != "color_accent_dark"  # the one that Gradio does not have
        },
    )
