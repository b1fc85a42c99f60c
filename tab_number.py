"""The tab "Number": write or show several digits, and see each of them found and read.

    pad -> read_number -> the number, the picture with a box around each digit, a table

Handlers do no work of their own: they ask the predictor, and lay out what comes back as HTML.
"""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from decoding import decoders_for
from encoding import picture_url
from errors import BlankImageError, DigitError
from pad import (
    ask_again,
    build_pad,
    keep_current,
    make_sample,
    name_picture,
    offer_samples,
    read_picture,
)
from panels import percent, render_hint

if TYPE_CHECKING:
    import gradio as gr

    from reading import FoundDigit, Reading
    from service import Service

Turn = Literal["auto", 0, 90, 180, 270]

TURNS: list[tuple[str, Turn]] = [
    ("if needed", "auto"),
    ("no", 0),
    ("to the left", 90),
    ("upside down", 180),
    ("to the right", 270),
]
ABOUT = "Digits may stand in several lines and on lined paper. Words are left out."
SHOWN_SIDE = 960  # pixels of the picture that is sent back with boxes on it
LETTER = 0.036  # of the picture's longer side; height of the numbers beside the boxes
SAMPLE_DIGITS = (3, 9)  # how many a test picture has
SAMPLE_HEIGHT, SAMPLE_STRENGTH = 90, 0.4  # pixels of a digit; how bad the photograph is


# ------------------------------------------------------------------------------------------------
# Handlers
# ------------------------------------------------------------------------------------------------


def read_number(service: Service, value: object, turn: Turn) -> str:
    """Read the number on the pad.

    Parameters
    ----------
    service : Service
    value : object
        What the pad sent; see `pad.read_picture`.
    turn : {"auto", 0, 90, 180, 270}
        Degrees by which the picture is turned counter-clockwise first; see `MNISTPredictor.read`.

    Returns
    -------
    str
        HTML. What cannot be read is a message, not an exception.
    """
    picture = None
    try:
        picture = read_picture(value)
        if picture is None:
            return blank_panel()
        # What is written on the pad stands upright, and a 6 is not to become a 9 on the way,
        # whatever was chosen for a photograph before.
        reading = service.read(picture.content, turn=0 if picture.drawn else turn)
        shown = decoders_for(picture.content).open(picture.content, SHOWN_SIDE)
    except BlankImageError:
        if picture is None or picture.drawn:
            return blank_panel()
        text = f"{picture.name} was read, but nothing in it looks like writing."
        return _message("No digits found", text, tone="error")
    except DigitError as error:
        text = service.tell(error, subject=name_picture(picture))
        return _message("This picture cannot be read", text, tone="error")
    return render_reading(reading, shown.pixels, (shown.width, shown.height))


def blank_panel() -> str:
    """Say what to do while there is nothing to read."""
    return _message("Write a number", "Or upload, paste or photograph one; several lines are fine.")


def make_number_sample() -> dict[str, Any]:
    """Write a number in some hand, and photograph it: a value for the pad."""
    from degrade import photograph
    from strokes import draw_number

    rng = np.random.default_rng()
    digits = "".join(map(str, rng.integers(0, 10, rng.integers(*SAMPLE_DIGITS))))
    ink, _ = draw_number(digits, rng, height=SAMPLE_HEIGHT)
    pixels = photograph(ink, rng, strength=SAMPLE_STRENGTH, keep_layout=True)
    return make_sample(pixels, None, f"{digits}, written by this program")


# ------------------------------------------------------------------------------------------------
# Panels
# ------------------------------------------------------------------------------------------------


def render_reading(reading: Reading, pixels: np.ndarray, size: tuple[int, int]) -> str:
    """Show a number: large, as boxes on its picture, and digit by digit.

    Parameters
    ----------
    reading : Reading
    pixels : ndarray of shape (height, width) or (height, width, 3), float32, 0.0..1.0
        The picture that was read, perhaps smaller.
    size : tuple of two ints
        Width and height of the picture as it came, in which the boxes are counted.
    """
    title, sure = _summary(reading)
    lines = "<br>".join(reading.lines) or "?"
    tone = {"ok": "ok", "unsure": "unsure"}.get(reading.verdict, "refused")
    return f"""
<section class="answer answer-{tone} number-answer" aria-label="Answer">
  <div class="answer-words" data-told>
    <p class="answer-digit number-text">{lines}</p>
    <h2 class="answer-title">{title}</h2>
    <p class="answer-sure">{sure}</p>
    <p class="answer-text">{escape(_sentence(reading.reason))}</p>
  </div>
  {_boxes(reading, pixels, size)}
  {_table(reading)}
</section>"""


def _summary(reading: Reading) -> tuple[str, str]:
    """Say how much was found, and how sure it is."""
    count, lines, least = len(reading.digits), len(reading.lines), reading.least_confidence
    if least is None:
        return "No number, it seems", ""
    title = "1 digit" if count == 1 else f"{count} digits"
    if lines > 1:
        title += f" in {lines} lines"
    sure = f"The least sure: <b>{percent(least).lower()}</b>"
    if reading.turn:
        turned = next(name for name, turn in TURNS if turn == reading.turn)
        sure += f"; the picture was turned {turned}"
    return title, sure


def _boxes(reading: Reading, pixels: np.ndarray, size: tuple[int, int]) -> str:
    """Draw a box around each digit, with what it was read as; sure or not shows in the line."""
    upright = np.rot90(pixels, reading.turn // 90)
    width, height = size if reading.turn in (0, 180) else size[::-1]
    letter = LETTER * max(width, height)
    marks = [
        _box(mark, str(mark.prediction.digit), size, reading.turn, letter)
        for mark in reading.digits
    ]
    marks += [_box(mark, "", size, reading.turn, letter) for mark in reading.left_out]
    return f"""
  <figure class="number-picture">
    <svg viewBox="0 0 {width} {height}" role="img" font-size="{letter:.1f}"
      aria-label="The picture with a box around each of {len(reading.digits)} digits">
      <image href="{picture_url(upright, photo=True)}" width="{width}" height="{height}"
        preserveAspectRatio="none"/>
      {"".join(marks)}
    </svg>
    <figcaption>{_legend(reading)}</figcaption>
  </figure>"""


def _box(mark: FoundDigit, name: str, size: tuple[int, int], turn: int, letter: float) -> str:
    """Draw one box; a question mark beside its name if the digit is unsure."""
    left, top, right, bottom = turn_box(mark.box, size, turn)
    unsure = bool(name) and mark.prediction.verdict != "ok"
    kind = "unsure" if unsure else "ok" if name else "left-out"
    label = ""
    if name:
        # Above the box, or inside it where there is no room above.
        baseline = top - 0.25 * letter if top > 1.25 * letter else top + letter
        label = f'<text x="{left}" y="{baseline:.1f}">{name}{"?" if unsure else ""}</text>'
    return (
        f'<g class="number-box number-{kind}"><rect x="{left}" y="{top}" '
        f'width="{right - left}" height="{bottom - top}"/>{label}</g>'
    )


def turn_box(
    box: tuple[int, int, int, int], size: tuple[int, int], turn: int
) -> tuple[int, int, int, int]:
    """Tell where a box is once its picture was turned counter-clockwise.

    Parameters
    ----------
    box : tuple of four ints
        Left, top, right and bottom in the picture as it came.
    size : tuple of two ints
        Width and height of that picture.
    turn : {0, 90, 180, 270}
        Degrees.
    """
    left, top, right, bottom = box
    width, height = size
    if turn == 90:
        return top, width - right, bottom, width - left
    if turn == 180:
        return width - right, height - bottom, width - left, height - top
    if turn == 270:
        return height - bottom, left, height - top, right
    return box


def _legend(reading: Reading) -> str:
    """Explain the lines that are in the picture, beyond the solid ones."""
    notes = []
    if any(digit.prediction.verdict != "ok" for digit in reading.digits):
        notes.append("dashed, with a question mark: look at it")
    if reading.left_out:
        count = len(reading.left_out)
        notes.append(f"dotted: left out, rather {'no digit' if count == 1 else 'no digits'}")
    return escape(_sentence("; ".join(notes)))


def _table(reading: Reading) -> str:
    """List the digits in reading order, and why one is unsure."""
    if not reading.digits:
        return ""
    heads = ("Place", "Digit", "Confidence", "Verdict")
    rows = []
    for place, digit in enumerate(reading.digits, start=1):
        read = digit.prediction
        verdict = "sure" if read.verdict == "ok" else read.verdict  # as in a batch
        reason = f"<small>{escape(_sentence(read.reason))}</small>" if read.reason else ""
        cells = (place, f"<b>{read.digit}</b>", percent(read.confidence), verdict + reason)
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    return f"""
  <div class="number-table" tabindex="0" role="region" aria-label="Digit by digit"><table>
    <thead><tr>{"".join(f'<th scope="col">{head}</th>' for head in heads)}</tr></thead>
    <tbody>{"".join(f"<tr>{row}</tr>" for row in rows)}</tbody>
  </table></div>"""


def _sentence(text: str) -> str:
    """Begin with a capital letter."""
    return text[:1].upper() + text[1:]


def _message(title: str, text: str, *, tone: str = "blank") -> str:
    """Show words where the number would be."""
    return f"""
<section class="answer answer-{tone} number-answer" aria-label="Answer">
  <div class="answer-words" data-told>
    <p class="answer-digit number-text" aria-hidden="true">{"!" if tone == "error" else "123"}</p>
    <h2 class="answer-title">{escape(title)}</h2>
    <p class="answer-text">{escape(text)}</p>
  </div>
</section>"""


# ------------------------------------------------------------------------------------------------
# Layout
# ------------------------------------------------------------------------------------------------


def build_number_tab(service: Service) -> gr.HTML:
    """Lay out the wide pad and the answer, and wire them; return the pad."""
    import gradio as gr

    with gr.Row(elem_classes=["recognise", "number"]):
        with gr.Column(min_width=0, elem_classes="recognise-pad"):
            pad = build_pad(
                elem_id="number-pad",
                wide=True,
                hint="Write a number here",
                label="Drawing pad: write several digits",
            )
            turn = gr.Radio(
                TURNS,
                value="auto",
                label="Turn the picture before it is read?",
                info="For pages that were photographed lying on their side; drawings stay upright.",
                elem_id="number-turn",
                elem_classes="choice",
            )
            gr.HTML(render_hint(ABOUT), apply_default_css=False)
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            answer = gr.HTML(blank_panel(), apply_default_css=False, elem_id="number-answer")

    offer_samples(pad, make_number_sample)
    ask_again(turn.input, pad)
    keep_current(
        [pad.input],
        partial(read_number, service),
        [pad, turn],
        [answer],
        blank=blank_panel(),
        model=lambda: service.model_version,
    )
    return pad
