"""The tab "Stress test": spoil a digit with sliders, and watch the answer hold or give way.

    pad, sliders -> spoil_pad -> the damaged digit, its answer, and a curve of the confidence

Two readers can be compared: the whole reader, which cleans a picture and centres it first, and the
network alone, which gets the damaged pixels as they are. It starts with the picture on the
Recognise tab, if that is newer than its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encoding import picture_url
from errors import BlankImageError, DigitError
from pad import (
    ask_again,
    build_pad,
    keep_current,
    name_picture,
    offer_samples,
    open_with_newer,
    pick_sample,
    read_picture,
)
from panels import percent, render_answer, render_empty, render_message
from preprocess import Prepared
from stress import Damages, as_picture, middle, spoil
from widgets import QUIET

if TYPE_CHECKING:
    import gradio as gr
    import pandas as pd

    from predict import MNISTPredictor
    from reading import Prediction
    from service import Service

Reader = Literal["whole reader", "network alone"]
READERS: tuple[Reader, Reader] = ("whole reader", "network alone")
COLOURS = {"whole reader": "#4a7dff", "network alone": "#e0872b"}  # seen on light and on dark

# The sliders in order: what each is called, from where to where it goes, and in which steps.
SLIDERS: dict[str, tuple[str, float, float, float]] = {
    "noise": ("Noise", 0, 0.5, 0.02),
    "blur": ("Blur, pixels", 0, 3, 0.1),
    "rotation": ("Rotation, degrees", -90, 90, 5),
    "right": ("Shift to the right, pixels", -10, 10, 1),
    "down": ("Shift down, pixels", -10, 10, 1),
    "contrast": ("Contrast", 0, 1, 0.05),
}
PRESETS: dict[str, Damages] = {
    "No damage": Damages(),
    "Old fax": Damages(noise=0.16, blur=0.6, contrast=0.7),
    "Shaky hand": Damages(blur=1.6, right=2, down=-1),
    "Faint pencil": Damages(noise=0.04, contrast=0.2),
    "Crooked scan": Damages(noise=0.06, rotation=30, right=4, down=3),
}
POINTS = 11  # of a curve
SEED = 0  # of the noise: the same grain at every strength, so that only its strength changes


# ------------------------------------------------------------------------------------------------
# Handlers
# ------------------------------------------------------------------------------------------------


def spoil_pad(
    service: Service, value: object, reader: Reader, kind: str, *amounts: float
) -> tuple[str, pd.DataFrame | None]:
    """Read a damaged copy of the digit on the pad, and follow it through one kind of damage.

    Parameters
    ----------
    service : Service
    value : object
        What the pad sent; see `pad.read_picture`.
    reader : {"whole reader", "network alone"}
        Whose answer is shown.
    kind : str
        Whose curve is drawn: one of `SLIDERS`.
    *amounts : float
        Where the sliders stand, in their order.

    Returns
    -------
    answer : str
        HTML. What cannot be read is a message, not an exception.
    curve : DataFrame or None
        For a line plot; None where there is nothing to draw.
    """
    picture = None
    predictor = service.predictor
    damages = Damages(**dict(zip(SLIDERS, amounts, strict=True)))
    try:
        picture = read_picture(value)
        if picture is None:
            return blank_panel(), None
        clean = service.predict(picture.content, predictor)
    except BlankImageError:
        if picture is None or picture.drawn:
            return blank_panel(), None
        return render_empty("There is no ink in this picture", "Use one with more contrast."), None
    except DigitError as error:
        return render_empty(
            "This picture cannot be read", service.tell(error, subject=name_picture(picture))
        ), None
    field = spoil(clean.image, damages, np.random.default_rng(SEED))
    (answer,) = read_damaged(predictor, clean, [damages], reader)
    return render_damage(clean, field, answer), trace_curve(predictor, clean, damages, kind)


def read_damaged(
    predictor: MNISTPredictor, clean: Prediction, damages: Sequence[Damages], reader: Reader
) -> list[Prediction | DigitError]:
    """Read a digit with damages; without any it is what was read at first.

    To prepare it a second time would change it a little, and its confidence with it.
    """
    fields = [spoil(clean.image, each, np.random.default_rng(SEED)) for each in damages]
    answers = read_fields(predictor, fields, reader)
    pairs = zip(damages, answers, strict=True)
    return [clean if each == Damages() else answer for each, answer in pairs]


def read_fields(
    predictor: MNISTPredictor, fields: Sequence[np.ndarray], reader: Reader
) -> list[Prediction | DigitError]:
    """Read damaged digits.

    Parameters
    ----------
    predictor : MNISTPredictor
    fields : sequence of ndarrays of shape (56, 56), float32
        As `stress.spoil` gives them.
    reader : {"whole reader", "network alone"}

    Returns
    -------
    list of Prediction or DigitError
        An error where nothing was left to read; the network alone reads everything.
    """
    if reader == "whole reader":
        return predictor.predict_batch([as_picture(field) for field in fields], errors="return")
    return [*predictor.predict_prepared([Prepared.as_it_is(middle(field)) for field in fields])]


def trace_curve(
    predictor: MNISTPredictor, clean: Prediction, damages: Damages, kind: str
) -> pd.DataFrame:
    """Follow both readers from one end of a slider to the other; the other sliders stay.

    Parameters
    ----------
    predictor : MNISTPredictor
    clean : Prediction
        Of the digit without damage.
    damages : Damages
        Where the sliders stand.
    kind : str
        The slider to move: one of `SLIDERS`.

    Returns
    -------
    DataFrame
        Columns `strength`, `confidence` (in the digit that is read without damage, 0.0 to 1.0; 0
        where nothing is left to read) and `reader`.
    """
    import pandas as pd

    _, low, high, _ = SLIDERS[kind]
    strengths = np.linspace(low, high, POINTS)
    series = [replace(damages, **{kind: float(each)}) for each in strengths]
    rows = [
        (float(strength), _confidence_in(clean.digit, answer), reader)
        for reader in READERS
        for strength, answer in zip(
            strengths, read_damaged(predictor, clean, series, reader), strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["strength", "confidence", "reader"])


def _confidence_in(digit: int, answer: Prediction | DigitError) -> float:
    """Take the probability of a digit; where nothing could be read there is none."""
    return 0.0 if isinstance(answer, DigitError) else float(answer.probabilities[digit])


# ------------------------------------------------------------------------------------------------
# Panels
# ------------------------------------------------------------------------------------------------


def blank_panel() -> str:
    """Say what to do while there is nothing to spoil."""
    return render_empty(
        "Draw a digit, then make it hard to read",
        "Move the sliders: noise, blur, rotation, shift and contrast. The answer follows, and a "
        "curve shows how much of each damage the model can take.",
    )


def render_damage(clean: Prediction, field: np.ndarray, answer: Prediction | DigitError) -> str:
    """Show a damaged digit beside what is read in it."""
    damaged = picture_url(1 - field)
    caption = "The digit without damage"
    if answer is not clean:
        share = percent(clean.confidence).lower()
        caption = f"The damaged digit. Before: {clean.name}, {share}"
    if isinstance(answer, DigitError):
        panel = render_message("Nothing is left to read", f"{answer}.", tone="error")
    else:
        panel = render_answer(answer)
    return (
        f'<div class="stress-panel"><figure class="stress-damaged"><img src="{damaged}" '
        f'width="112" height="112" alt="The digit as it is read"><figcaption>{caption}'
        f"</figcaption></figure>{panel}</div>"
    )


# ------------------------------------------------------------------------------------------------
# Layout
# ------------------------------------------------------------------------------------------------


def build_stress_tab(service: Service, tab: gr.Tab, source: gr.HTML) -> None:
    """Lay out the tab.

    Parameters
    ----------
    service : Service
    tab : gr.Tab
        The tab that this is laid out in; nothing is read before it is opened.
    source : gr.HTML
        The pad whose picture is taken over, if it is newer than this tab's own.
    """
    import gradio as gr

    with gr.Row(elem_classes="recognise looking stress"):
        with gr.Column(min_width=0, elem_classes="side-pad"):
            pad = build_pad(elem_id="stress-pad", keep=False)
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            answer = gr.HTML(blank_panel(), apply_default_css=False, elem_id="stress-answer")
    with gr.Row(elem_classes="recognise looking stress"):
        with gr.Column(min_width=0, elem_classes="side-pad sliders"):
            presets = gr.Radio(
                list(PRESETS),
                value="No damage",
                label="Damage",
                elem_id="stress-presets",
                elem_classes="choice",
            )
            sliders = [_build_slider(name) for name in SLIDERS]
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            reader = gr.Radio(
                list(READERS),
                value=READERS[0],
                label="Who reads",
                info="The whole reader cleans a picture and centres it first.",
                elem_classes="choice",
            )
            kind = gr.Radio(
                [(title.partition(",")[0], name) for name, (title, *_) in SLIDERS.items()],
                value="noise",
                label="Curve",
                info="How sure both readers are of your digit as this slider moves.",
                elem_id="stress-kind",
                elem_classes="choice",
            )
            curve = _build_curve("noise")

    open_with_newer(tab, source, pad)
    offer_samples(pad, partial(pick_sample, service.data_folder))
    latest: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
    presets.input(set_sliders, [presets], sliders, **latest)
    for slider in sliders:
        slider.input(None, None, [presets], js="() => null", **QUIET)  # now it is none of them
    kind.input(lambda name: gr.LinePlot(**_axis(name)), [kind], [curve], **latest)
    for change in (reader.input, kind.input, *(slider.change for slider in sliders)):
        ask_again(change, pad)
    keep_current(
        [pad.input],
        partial(spoil_pad, service),
        [pad, reader, kind, *sliders],
        [answer, curve],
        blank=blank_panel(),
        model=lambda: service.model_version,
    )


def set_sliders(preset: str | None) -> list[float] | dict[str, Any]:
    """Give each slider's value in a preset; none, if by now a slider has been moved instead."""
    import gradio as gr

    return gr.skip() if preset is None else [getattr(PRESETS[preset], each) for each in SLIDERS]


def _build_slider(name: str) -> gr.Slider:
    """Make the slider of one kind of damage."""
    import gradio as gr

    title, low, high, step = SLIDERS[name]
    usual = getattr(Damages(), name)
    slider = gr.Slider(low, high, value=usual, step=step, label=title, buttons=[])
    # Gradio refuses what is typed beside it until it is whole: "-" on the way to "-45".
    slider.preprocess = partial(_take_amount, low, high, usual)  # type: ignore[method-assign]
    return slider


def _take_amount(low: float, high: float, usual: float, amount: object) -> float:
    """Bring what was typed within the limits of a slider; what is no number is no damage."""
    if not isinstance(amount, (int, float)) or not math.isfinite(amount):
        return usual
    return min(max(amount, low), high)


def _axis(name: str) -> dict[str, Any]:
    """Say what the curve of one kind of damage has along its axis."""
    title, low, high, _ = SLIDERS[name]
    return {"x_title": title, "x_lim": [low, high]}


def _build_curve(name: str) -> gr.LinePlot:
    """Make the empty plot."""
    import gradio as gr

    return gr.LinePlot(
        x="strength",
        y="confidence",
        color="reader",
        color_map=COLOURS,
        y_lim=[0, 1],
        y_title="confidence in your digit",
        height=260,
        elem_id="stress-curve",
        **_axis(name),
    )
