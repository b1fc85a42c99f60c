"""The tab "Recognise": draw a digit or show a picture of one, and see it read.

    pad -> read_pad -> the answer, and (only while somebody looks) the steps on the way to it

Handlers do no work of their own: they ask the predictor, and hand what comes back to `panels.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from decoding import decoders_for
from errors import BlankImageError, DigitError
from pad import (
    build_gallery,
    build_pad,
    keep_current,
    make_sample,
    name_picture,
    offer_samples,
    pick_sample,
    read_picture,
)
from panels import render_answer, render_hint, render_message, render_steps
from tryouts import draw_gallery
from widgets import QUIET

if TYPE_CHECKING:
    import gradio as gr

    from service import Service


_LEAD = """element.addEventListener("click", (event) => {
  if (event.target.closest(".answer-lead")) trigger("lead");
});"""


def read_pad(service: Service, value: object, with_steps: bool) -> tuple[str, str]:
    """Answer what is on the pad.

    Parameters
    ----------
    service : Service
    value : object
        What the pad sent; see `pad.read_picture`.
    with_steps : bool
        Whether somebody looks at the stages of preparing the picture.

    Returns
    -------
    answer, steps : str
        HTML. What cannot be read is a message in the answer, not an exception.
    """
    return answer_pad(service, value), show_steps(service, value) if with_steps else ""


def answer_pad(service: Service, value: object) -> str:
    """Read what is on the pad, and show the answer or say why there is none."""
    picture = None
    try:
        picture = read_picture(value)
        if picture is None:
            return blank_answer()
        prediction = service.predict(picture.content)
    except BlankImageError:
        if picture is None or picture.drawn:
            return blank_answer()
        return render_message(
            "There is no ink in this picture",
            f"{picture.name} was read, but nothing stands out in it. Use one with more contrast.",
            tone="error",
        )
    except DigitError as error:
        text = service.tell(error, subject=name_picture(picture))
        return render_message("This picture cannot be read", text, tone="error")
    return render_answer(prediction, label=picture.label, name=picture.name, lead=True)


def blank_answer() -> str:
    """Say what to do while there is nothing to read."""
    return render_message("Draw a digit", "Or upload, paste or photograph one.")


def show_steps(service: Service, value: object) -> str:
    """Show how the picture on the pad became what the model sees."""
    picture = None
    try:
        picture = read_picture(value)
        if picture is None:
            return render_hint("Draw a digit, and its way to the model appears here.")
        prepared = decoders_for(picture.content).prepare(picture.content, keep_steps=True)
        return render_steps(prepared.steps)
    except DigitError as error:
        return render_hint(
            f"There is nothing to show. {service.tell(error, subject=name_picture(picture))}."
        )


def build_recognise_tab(
    service: Service, below_answer: Callable[[gr.HTML], None] | None = None
) -> tuple[gr.HTML, gr.HTML]:
    """Lay out the pad and the answer, and wire them.

    Parameters
    ----------
    service : Service
    below_answer : callable, optional
        Lays out what belongs below the answer, given the pad.

    Returns
    -------
    pad : gr.HTML
        For other tabs to look at.
    answer : gr.HTML
        Its event `lead` asks for the tab that reads several digits.
    """
    import gradio as gr

    samples = [make_sample(*example) for example in draw_gallery()]
    with gr.Row(elem_classes="recognise first"):
        with gr.Column(min_width=0, elem_classes="recognise-pad"):
            pad = build_pad()
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            answer = gr.HTML(
                blank_answer(), js_on_load=_LEAD, apply_default_css=False, elem_id="answer"
            )
            if below_answer:
                below_answer(pad)
        with gr.Column(min_width=0, elem_classes="recognise-tryouts"):
            gallery = build_gallery(samples)
    with gr.Accordion("What happened to my picture", open=False, elem_id="steps") as how:
        steps = gr.HTML("", apply_default_css=False)
    steps_are_open = gr.Checkbox(visible="hidden")

    offer_samples(pad, partial(pick_sample, service.data_folder))
    # Without a way to the server and back, on which it could meet a newer drawing.
    gallery.pick(None, [gallery], [pad], js="(sample) => sample", **QUIET)
    how.expand(None, None, [steps_are_open], js="() => true", **QUIET)
    how.collapse(None, None, [steps_are_open], js="() => false", **QUIET)
    keep_current(
        [pad.input, steps_are_open.change],
        partial(read_pad, service),
        [pad, steps_are_open],
        [answer, steps],
        blank=blank_answer(),
        model=lambda: service.model_version,
    )
    return pad, answer
