"""The panels that show answers on the page: values in, HTML out.

    Prediction -> render_answer -> HTML        text -> render_hint -> HTML

A panel is a function, so it can be tested without a browser. How everything looks is in `page.css`.

    >>> render_hint("Draw a digit")
    '<p class="hint">Draw a digit</p>'
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from encoding import picture_url

if TYPE_CHECKING:
    from reading import Prediction

GUESS_FROM = 0.2  # confidence from which on it is said what no digit might be: chance has 0.1
CONFIDENCE_WORDS = ((0.99, "very sure"), (0.9, "sure"), (0.6, "fairly sure"), (0.0, "not sure"))

LEAD = "Read it as a number"

_BLANK = np.zeros((28, 28), np.float32)


def percent(share: float) -> str:
    """Write a confidence as people read it, without claiming certainty."""
    return "Over 99.9 %" if share > 0.999 else f"{100 * share:.1f} %"


def short_percent(share: float) -> str:
    """Write a confidence where there is little room; never 100 %, which nobody can promise."""
    return "> 99.9 %" if share >= 0.9995 else f"{100 * share:.1f} %"


def confidence_words(confidence: float) -> str:
    """Say in words how sure the model is."""
    return next(words for least, words in CONFIDENCE_WORDS if confidence >= least)


def render_answer(
    prediction: Prediction, *, label: int | None = None, name: str = "", lead: bool = False
) -> str:
    """Show what was read: the digit, how sure, all ten confidences, and what the model saw.

    Parameters
    ----------
    prediction : Prediction
    label : int, optional
        The digit that the picture is known to show.
    name : str, default=""
        What the picture is called, where there is a label.
    lead : bool, default=False
        Whether a picture that seems to show several digits gets a button, of the class
        `answer-lead`, that leads to the tab which reads them.

    Returns
    -------
    str
        HTML of the same shape for every answer, so that bars move and nothing jumps.
    """
    digit = prediction.digit
    sure = f"<b>{percent(prediction.confidence)}</b>"
    if not prediction.is_several:
        sure += f", {confidence_words(prediction.confidence)}"
    reason = prediction.reason[:1].upper() + prediction.reason[1:]
    if prediction.verdict == "ok":
        title, figure = f"This is {prediction.name}", str(digit)
    elif prediction.verdict == "unsure":
        title, figure = f"Perhaps {prediction.name}", str(digit)
    else:
        title, figure = "Not a digit, it seems", "?"
        guess = f"If it is one, <b>{prediction.name}</b>: {percent(prediction.confidence).lower()}"
        is_guess = prediction.confidence >= GUESS_FROM and not prediction.is_several
        sure = guess if is_guess else ""
    truth = ""
    if label is not None:
        outcome = ("right", "read correctly") if label == digit else ("wrong", "misread")
        if prediction.verdict == "not a digit":
            outcome = ("wrong", "refused")
        truth = (
            f'<span class="answer-{outcome[0]}">Labelled {label}: {outcome[1]}</span> '
            f"{escape(name)}"
        )
    tone = {"ok": "ok", "unsure": "unsure"}.get(prediction.verdict, "refused")
    return _panel(
        *(tone, figure, title, sure, reason, truth, prediction.probabilities, prediction.image),
        lead=lead and prediction.is_several,
    )


def render_message(title: str, text: str, *, tone: str = "blank") -> str:
    """Show words where the answer would be, in a panel of the same shape.

    Parameters
    ----------
    title, text : str
        Plain text.
    tone : {"blank", "error"}, default="blank"
    """
    figure = "!" if tone == "error" else "?"
    return _panel(tone, figure, title, "", text, "", None, _BLANK)


def _panel(
    tone: str,
    figure: str,
    title: str,
    sure: str,
    text: str,
    truth: str,
    probabilities: np.ndarray | None,
    seen: np.ndarray,
    *,
    lead: bool = False,
) -> str:
    """Lay out an answer. `sure` and `truth` are HTML, the rest is plain text."""
    return f"""
<section class="answer answer-{tone}" aria-label="Answer">
  <div class="answer-top">
    <div class="answer-digit" aria-hidden="true">{escape(figure)}</div>
    <div class="answer-words" data-told>
      <h2 class="answer-title">{escape(title)}</h2>
      <p class="answer-sure">{sure}</p>
      <p class="answer-text">{escape(text)}</p>
      <p class="answer-truth">{truth}</p>
      <button type="button" class="answer-lead"{"" if lead else " hidden"}>{LEAD}</button>
    </div>
    <figure class="answer-seen">
      <img src="{picture_url(seen)}" width="112" height="112"
        alt="The picture of 28 by 28 pixels that the model sees">
      <figcaption>What the model sees</figcaption>
    </figure>
  </div>
  {_bars(probabilities)}
</section>"""


def _bars(probabilities: np.ndarray | None) -> str:
    """Draw ten bars in fixed order; each says its value in words."""
    best = None if probabilities is None else int(np.argmax(probabilities))
    rows = []
    for digit in range(10):
        share = 0.0 if probabilities is None else float(probabilities[digit])
        text = "–" if probabilities is None else escape(short_percent(share))
        rows.append(
            f'<li class="bar{" bar-best" if digit == best else ""}">'
            f'<span class="bar-digit">{digit}</span>'
            f'<span class="bar-track"><span class="bar-fill" style="width:{100 * share:.1f}%">'
            f'</span></span><span class="bar-value">{text}</span></li>'
        )
    return f'<ol class="bars" aria-label="Confidence for each digit">{"".join(rows)}</ol>'


def render_steps(steps: Iterable[tuple[str, np.ndarray]]) -> str:
    """Show the stages of preparing a picture, in order.

    Parameters
    ----------
    steps : iterable of (str, ndarray)
        As `preprocess.prepare(..., keep_steps=True).steps` has them.
    """
    items = "".join(
        f'<li><figure><img src="{picture_url(pixels)}" alt="{escape(title)}"'
        f"{' class=pixels' if max(pixels.shape[:2]) < 100 else ''}>"
        f"<figcaption>{number}. {escape(title[:1].upper() + title[1:])}</figcaption></figure></li>"
        for number, (title, pixels) in enumerate(steps, start=1)
    )
    return f'<ol class="steps">{items}</ol>'


def render_empty(title: str, text: str) -> str:
    """Say, in the middle of a panel that has nothing to show yet, what there will be to see."""
    return (
        f'<div class="empty" data-told><p class="empty-title">{escape(title)}</p>'
        f"<p>{escape(text)}</p></div>"
    )


def render_notice(text: str) -> str:
    """Show plain text that should not be missed, in a box of its own."""
    return f'<p class="notice" role="note">{escape(text)}</p>'


def render_refusal(title: str, error: Exception | str) -> str:
    """Say beside a button that what it was to do was not done, and why.

    An exception would be shown by Gradio as boxes that cover what the advice is about.
    """
    return f'<p class="refusal" role="alert"><b>{escape(title)}:</b> {escape(str(error))}.</p>'


def render_hint(text: str) -> str:
    """Show a quiet line of plain text."""
    return f'<p class="hint">{escape(text)}</p>'
