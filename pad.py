"""The drawing pad, which also takes pictures, and how a tab answers what is on it.

    what the pad sends -> read_picture -> bytes        pad.input -> keep_current -> panels

The pad is a canvas of our own, because Gradio's sketchpad is slow and starts without a pen. What it
does in the browser is in `pad.js` and `answers.js`, and how it looks is in `page.css`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoding import LONGEST_HEAD, decode_base64, picture_url
from errors import EncodingError, ImageError, ImageTooLargeError
from tryouts import pick_example
from widgets import QUIET

if TYPE_CHECKING:
    import gradio as gr
    from gradio.components import Component

HERE = Path(__file__).resolve().parent

# A photograph from a phone has 2 to 12 MB. More would be slow to send as text and is not needed.
MAX_PICTURE_BYTES = 20 * 2**20
MAX_NAME = 80  # characters of a file name that are shown

SCRIPTS = ("answers.js", "pad.js")  # what the pad runs in the browser, in this order

SHEET = 280  # the pad's own unit: its sheet is so many high
PEN, WIDE_PEN = 20, 14  # how wide the pen is at first, in that unit

# Run in the browser when a tab is opened, with two pads' values: the second gets the newer one, and
# says "input" even if that is its own, as another model may be in use by now.
_TAKE_NEWER = (
    "(source, own) => { const newer = source && (!own || source.at > own.at) ? source : own; "
    "return newer && { ...newer, again: true }; }"
)
_ASK_AGAIN = "(own) => own && { ...own, again: true }"

# Icons of 24x24, drawn for this page: lines only, in the colour of the text around them.
_ICONS = {
    "pen": '<path d="M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19l-4 1z"/><path d="M14.5 6.5l3 3"/>',
    "eraser": '<path d="M9 20l-5-5a2 2 0 0 1 0-2.8L12.2 4a2 2 0 0 1 2.8 0l5 5a2 2 0 0 1 0 2.8'
    'L11.8 20z"/><path d="M8.5 8l7.5 7.5M8 20h12"/>',
    "undo": '<path d="M8 5L4 9l4 4"/><path d="M4 9h10a5.5 5.5 0 0 1 0 11H9"/>',
    "clear": '<path d="M5 7h14M10 4h4M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5"/>',
    "upload": '<path d="M12 16V4M7.5 8.5L12 4l4.5 4.5M4 15v5h16v-5"/>',
    "paste": '<path d="M9 5H6v15h12V5h-3"/><path d="M9 3.5h6v3.5H9zM9 12h6M9 15.5h6"/>',
    "photo": '<path d="M4 8h3.5L9 5.5h6L16.5 8H20v11H4z"/><circle cx="12" cy="13" r="3.2"/>',
    "sample": '<path d="M5 5h14v14H5z"/><path d="M9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01"/>',
}


@dataclass(frozen=True)
class PadPicture:
    """What is on the pad.

    Attributes
    ----------
    content : bytes
        An encoded picture; not yet decoded, and so not yet known to be one.
    name : str
        What to call it in a message.
    label : int or None
        The digit that it is known to show, for a test picture.
    drawn : bool
        Whether it was drawn on the pad.
    """

    content: bytes
    name: str
    label: int | None = None
    drawn: bool = False


# ------------------------------------------------------------------------------------------------
# The pad in the page
# ------------------------------------------------------------------------------------------------


def build_pad(
    *,
    elem_id: str = "pad",
    wide: bool = False,
    pen: int | None = None,
    hint: str = "Draw a digit here",
    label: str = "Drawing pad: draw one digit",
    samples: bool = True,
    keep: bool = True,
) -> gr.HTML:
    """Make a drawing pad that also takes pictures. A page may have several.

    Parameters
    ----------
    elem_id : str, default="pad"
        Its name in the page; each pad needs one of its own.
    wide : bool, default=False
        Whether it is twice as wide as high, for several digits side by side.
    pen : int, optional
        How wide the pen is at first: 4 to 40, where the sheet is 280 high. By default 20, and 14
        on a wide sheet.
    hint : str, optional
        What the empty sheet says.
    label : str, optional
        What readers of the screen are told that it is.
    samples : bool, default=True
        Whether it has a button that asks for a test picture.
    keep : bool, default=True
        Whether a drawing is there again when the page is loaded anew in the same tab of the
        browser. Not for a pad that then gets what is on another.

    Returns
    -------
    gr.HTML
        Its value is what `read_picture` takes. It has two events: `input` when its value has
        changed, `sample` when a test picture is asked for. A handler may set its value, to None or
        to what `make_sample` gives; that is announced as `input` too.
    """
    import gradio as gr

    pen = pen or (WIDE_PEN if wide else PEN)
    return gr.HTML(
        value=None,
        html_template=_pad_html(elem_id, pen=pen, hint=hint, label=label, samples=samples),
        js_on_load="\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["pad", "pad-wide"] if wide else "pad",
        max_bytes=MAX_PICTURE_BYTES,
        sheet_width=SHEET * (2 if wide else 1),
        drawn_name=f"drawn:{elem_id}" if keep else "",
    )


def _pad_html(elem_id: str, *, pen: int, hint: str, label: str, samples: bool) -> str:
    """Lay out the pad: tools above, the sheet, where pictures come from below."""
    return f"""
<div class="pad-tools" role="toolbar" aria-label="Drawing tools">
  <div class="pad-group">
    {_button("pen", "Pen", "Pen")}
    {_button("eraser", "Eraser", "Eraser")}
  </div>
  <label class="pad-size"><span class="pad-dot pad-dot-small"></span>
    <input class="pad-width" type="range" min="4" max="40" step="2" value="{pen}"
      aria-label="Pen width" title="Pen width">
    <span class="pad-dot"></span></label>
  <div class="pad-group">
    {_button("undo", "Undo", "Undo (Ctrl+Z)")}
    {_button("clear", "Clear", "Clear the pad")}
  </div>
</div>
<div class="pad-stage pad-empty">
  <canvas class="pad-canvas" width="{SHEET}" height="{SHEET}" tabindex="0" role="application"
    aria-roledescription="drawing pad" aria-label="{escape(label)}"
    aria-describedby="{elem_id}-keys"></canvas>
  <p class="pad-hint" aria-hidden="true">{escape(hint)}</p>
  <p class="pad-keys" id="{elem_id}-keys">The <kbd>arrow</kbd> keys move the pen,
    <kbd>space</kbd> puts it down and lifts it, <kbd>E</kbd> takes the eraser,
    <kbd>P</kbd> the pen, <kbd>Del</kbd> clears, <kbd>Ctrl</kbd>+<kbd>Z</kbd> takes back.</p>
  <img class="pad-picture" alt="" hidden>
  <p class="pad-no-preview" hidden></p>
  <div class="pad-cursor" hidden></div>
  <div class="pad-drop" aria-hidden="true">Drop the picture here</div>
  <div class="pad-camera" role="group" aria-label="Camera" hidden>
    <video autoplay playsinline muted></video>
    <div class="pad-shutter">
      <button type="button" class="pad-button pad-primary pad-shoot">Take the picture</button>
      <button type="button" class="pad-button pad-cancel">Cancel</button>
    </div>
  </div>
</div>
<div class="pad-sources" role="group" aria-label="Use a picture instead">
  {_button("upload", "Upload", "Upload a picture")}
  {_button("paste", "Paste", "Paste a picture (Ctrl+V)")}
  {_button("photo", "Camera", "Take a picture with the camera")}
  {_button("sample", "Random", "Random test image") if samples else ""}
</div>
<input class="pad-file" type="file" accept="image/*" hidden>
<p class="pad-note" role="status"></p>
<p class="pad-said unseen" role="status"></p>
"""


def _button(name: str, text: str, title: str, *, primary: bool = False) -> str:
    """One button of the pad: icon and word; the word may be hidden where there is little room."""
    return (
        f'<button type="button" class="pad-button pad-{name}{" pad-primary" if primary else ""}"'
        f' title="{escape(title)}" aria-label="{escape(title)}">'
        f"{_icon(name)}<span>{escape(text)}</span></button>"
    )


def _icon(name: str) -> str:
    """Draw an icon; readers of the screen are told nothing of it."""
    return f'<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false">{_ICONS[name]}</svg>'


# ------------------------------------------------------------------------------------------------
# What is asked about it, and answered
# ------------------------------------------------------------------------------------------------


def keep_current(
    triggers: Sequence[Callable[..., Any]],
    show: Callable[..., Any],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    *,
    blank: str,
    model: Callable[[], str] | None = None,
) -> None:
    """Show the answer to what stands on a tab, whenever anything on it changes.

    One question is asked at a time, and then one about how things are by then. Listeners of their
    own for each trigger could overtake each other, and leave an older answer on the page.

    The pad marks an answer that is out of date until the new one is there, see `answers.js`.

    Parameters
    ----------
    triggers : sequence of events
        Such as `pad.input` and `slider.change`.
    show : callable
        From the values of `inputs` to those of `outputs`.
    inputs, outputs : sequences of gr components
        The first input is a pad. Outputs with an `elem_id` whose values are HTML are marked.
    blank : str
        HTML that these show while there is nothing on the pad; needed where the server is slow.
    model : callable, optional
        Gives the version of the model in use. If that is not the one that the page names, the page
        hears of it; see `app.py`.
    """
    import gradio as gr

    def answer(*values: object) -> object:
        shown = show(*values)
        parts = shown if isinstance(shown, tuple) else (shown,)
        version = model() if model else ""
        stamped = tuple(stamp(part, values[0], version) for part in parts)
        return stamped if isinstance(shown, tuple) else stamped[0]

    pad = inputs[0]
    panels = [each.elem_id for each in outputs if isinstance(each, gr.HTML) and each.elem_id]
    pad.props |= {"answers": panels, "blank": blank}  # type: ignore[attr-defined]
    gr.on(triggers, answer, inputs, outputs, trigger_mode="always_last", **QUIET)


def stamp(shown: object, value: object, version: str = "") -> object:
    """Write on an answer to which question of the pad it belongs, and which model gave it.

    Parameters
    ----------
    shown : object
        HTML; anything else is left as it is.
    value : object
        What the pad sent.
    version : str, optional
        Of the model.
    """
    asked = value.get("asked") if isinstance(value, Mapping) else None
    if not isinstance(shown, str) or not isinstance(asked, int):
        return shown
    return f'<div data-asked="{asked}" data-model="{escape(version)}">{shown}</div>'


def lead_to(
    trigger: Callable[..., Any], source: gr.HTML, pad: gr.HTML, tabs: gr.Tabs, tab_id: str
) -> None:
    """Open a tab with what is on another pad on its own."""
    import gradio as gr

    trigger(None, [source], [pad], js=_ASK_AGAIN, **QUIET)
    trigger(lambda: gr.Tabs(selected=tab_id), None, [tabs], **QUIET)


def ask_again(trigger: Callable[..., Any], pad: gr.HTML) -> None:
    """Ask anew about what is on a pad, after a change of something that counts for its answer."""
    trigger(None, [pad], [pad], js=_ASK_AGAIN, **QUIET)


def open_with_newer(tab: gr.Tab, source: gr.HTML, pad: gr.HTML) -> None:
    """Put what is on another pad onto a tab's own when the tab is opened, if it is newer."""
    tab.select(None, [source, pad], [pad], js=_TAKE_NEWER, **QUIET)


# ------------------------------------------------------------------------------------------------
# What it sends
# ------------------------------------------------------------------------------------------------


def read_picture(value: object) -> PadPicture | None:
    """Check what the browser sent for the pad. Anything may have been sent: nothing is trusted.

    Parameters
    ----------
    value : object
        None, or a dict with `kind` ("nothing" for an empty pad), `data`, the picture as a base64
        data URL, `name`, `size` in bytes, and `label`, the known digit of a test picture.

    Returns
    -------
    PadPicture or None
        None if there is nothing on the pad.

    Raises
    ------
    ImageTooLargeError
        If the picture has more than `MAX_PICTURE_BYTES`.
    ImageError
        If the value is not of that form.
    """
    if not value:
        return None
    if not isinstance(value, Mapping):
        raise ImageError("the pad sent something that is not a picture; reload the page")
    if value.get("kind") == "nothing":
        return None
    name = str(value.get("name") or "the picture")[:MAX_NAME]
    size = value.get("size")
    if isinstance(size, int) and size > MAX_PICTURE_BYTES and not value.get("data"):
        raise ImageTooLargeError(
            f"{name} has {size / 2**20:,.0f} MB and at most {MAX_PICTURE_BYTES // 2**20} MB are "
            "read; save a smaller copy"
        )
    label = value.get("label")
    is_digit = isinstance(label, int) and not isinstance(label, bool) and 0 <= label <= 9
    return PadPicture(
        decode_data_url(value.get("data"), name),
        name,
        label if is_digit else None,
        value.get("kind") == "drawing",
    )


def name_picture(picture: PadPicture | None) -> str:
    """Give the name of the file for a message, also where it is not known yet."""
    return picture.name if picture else "The picture"


def decode_data_url(url: object, name: str = "the picture") -> bytes:
    """Take the bytes out of a base64 data URL, whatever type of file it names.

    Parameters
    ----------
    url : object
        A string such as "data:image/png;base64,iVBOR...".
    name : str, default="the picture"
        What to call it in a message.

    Raises
    ------
    ImageTooLargeError
        If it holds more than `MAX_PICTURE_BYTES`; told before anything is decoded.
    ImageError
        If it is not a data URL, not base64, or empty.
    """
    if not isinstance(url, str) or not url.startswith("data:"):
        raise ImageError(f"{name} did not arrive as a picture; try again")
    if len(url) > 4 * MAX_PICTURE_BYTES // 3 + LONGEST_HEAD:
        raise ImageTooLargeError(
            f"{name} has more than {MAX_PICTURE_BYTES // 2**20} MB; save a smaller copy"
        )
    if url == "data:" or url.endswith(","):  # the first is what Chromium sends
        raise ImageError(f"{name} is an empty file; save or copy it again")
    try:
        content = decode_base64(url, name)
    except EncodingError as error:
        raise ImageError(f"{name} arrived damaged; try again") from error
    if len(content) > MAX_PICTURE_BYTES:
        raise ImageTooLargeError(
            f"{name} has more than {MAX_PICTURE_BYTES // 2**20} MB; save a smaller copy"
        )
    return content


# ------------------------------------------------------------------------------------------------
# Pictures to try
# ------------------------------------------------------------------------------------------------


def offer_samples(pad: gr.HTML, make: Callable[[], dict[str, Any]]) -> None:
    """Put a test picture onto a pad whenever one is asked for; the pad then says `input`.

    One that comes after the visitor has gone on drawing is dropped by the pad.

    Parameters
    ----------
    pad : gr.HTML
    make : callable
        Gives a picture as `make_sample` does.
    """
    pad.sample(lambda: {**make(), "sampled": True}, None, [pad], trigger_mode="once", **QUIET)


def make_sample(pixels: np.ndarray, label: int | None, name: str) -> dict[str, Any]:
    """Make the pad's value for a picture from us.

    Parameters
    ----------
    pixels : ndarray of shape (height, width), uint8
    label : int or None
        The digit that it shows, if it shows one.
    name : str
        Where it comes from.
    """
    url = picture_url(pixels)
    return {"kind": "sample", "name": name, "size": len(url), "data": url, "label": label}


def pick_sample(folder: Path | None) -> dict[str, Any]:
    """Make the pad's value for a test picture with a known label.

    Parameters
    ----------
    folder : Path or None
        Where data sets are; None means the usual place.
    """
    from dataset import data_dir

    return make_sample(*pick_example(np.random.default_rng(), folder or data_dir()))


def build_gallery(samples: Sequence[Mapping[str, Any]]) -> gr.HTML:
    """Make a row of small pictures to click on.

    Parameters
    ----------
    samples : sequence of dicts
        As `make_sample` gives them.

    Returns
    -------
    gr.HTML
        Its event `pick` comes when one is clicked; its value is then that one.
    """
    import gradio as gr

    buttons = "".join(
        f'<button type="button" data-place="{place}" title="{escape(_sample_title(sample))}" '
        f'aria-label="{escape(_sample_title(sample))}"><img src="{sample["data"]}" alt=""></button>'
        for place, sample in enumerate(samples)
    )
    return gr.HTML(
        value=None,
        html_template='<p class="tryouts-title" aria-hidden="true">Or try one of these</p>'
        f'<div class="tryouts" role="group" aria-label="Examples">{buttons}</div>',
        js_on_load="""element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  props.value = { ...props.samples[button.dataset.place], at: Date.now() };
  trigger("pick");
});""",
        apply_default_css=False,
        samples=list(samples),
    )


def _sample_title(sample: Mapping[str, Any]) -> str:
    """Say what a small picture shows."""
    label = sample["label"]
    return str(sample["name"]) if label is None else f"Example of {label}"
