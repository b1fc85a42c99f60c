"""The tab "Why": what the model looked at, which ink counted, and what each layer made of it.

    pad -> explain_pad -> three pictures of the answer, filters, maps of every layer

It starts with the picture on the Recognise tab, if that is newer than its own. Nothing is worked
out before somebody opens the tab.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from encoding import picture_url
from errors import BlankImageError, DigitError
from explain import Explanation, Filters, LayerView, explain, first_filters
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
from panels import percent, render_empty, render_hint, render_notice
from reading import Prediction, name_digit
from tiles import colour_heat, colour_signs, enlarge, lay_out, lay_over

if TYPE_CHECKING:
    import gradio as gr

    from service import Service

THE_ANSWER = "the answer"
METHODS = "In technical words: which ink counted are integrated gradients"
MAP_METHOD = "; where it looked is HiResCAM, a faithful form of Grad-CAM"
DIGITS = [str(digit) for digit in range(10)]
SHOWN = 224  # pixels, of the large pictures
TILE = 28  # pixels, of a filter or a map on its sheet
COLUMNS, MOST_TILES = 8, 32  # on a sheet


# ------------------------------------------------------------------------------------------------
# Handlers
# ------------------------------------------------------------------------------------------------


def explain_pad(service: Service, value: object, about: str) -> str:
    """Say why the picture on the pad is read as it is, or why it might be another digit.

    Parameters
    ----------
    service : Service
    value : object
        What the pad sent; see `pad.read_picture`.
    about : str
        `THE_ANSWER`, or the digit to explain.

    Returns
    -------
    str
        HTML. What cannot be read is a message, not an exception.
    """
    picture = None
    predictor = service.predictor
    try:
        picture = read_picture(value)
        if picture is None:
            return blank_panel()
        prediction = service.predict(picture.content, predictor)
    except BlankImageError:
        if picture is None or picture.drawn:
            return blank_panel()
        return render_empty("There is no ink in this picture", "Use one with more contrast.")
    except DigitError as error:
        return render_empty(
            "This picture cannot be read", service.tell(error, subject=name_picture(picture))
        )
    model = predictor.checkpoint.model
    target = prediction.digit if about == THE_ANSWER else int(about)
    return render_why(
        prediction,
        explain(model, prediction.image, target),
        first_filters(model),
        predictor.checkpoint.architecture,
        picture.label,
    )


def blank_panel() -> str:
    """Say what there is to see, while there is nothing to explain."""
    return render_empty(
        "Draw a digit to see why it is read as it is",
        "You will see where the model looked, which ink spoke for its answer and which against, "
        "and what every layer made of the picture.",
    )


# ------------------------------------------------------------------------------------------------
# Panels
# ------------------------------------------------------------------------------------------------


def render_why(
    prediction: Prediction,
    explanation: Explanation,
    filters: Filters,
    architecture: str,
    label: int | None = None,
) -> str:
    """Show an explanation from top to bottom: the answer, the first layer, all layers.

    Parameters
    ----------
    prediction : Prediction
        What was read.
    explanation : Explanation
        Why, or why it might be another digit.
    filters : Filters
        Of the network's first layer.
    architecture : str
        Name of the network.
    label : int, optional
        The digit that the picture is known to show.

    Returns
    -------
    str
        HTML.
    """
    parts = [_headline(prediction, explanation.target, label)]
    if not explanation.layers:
        parts.append(
            render_notice(
                f"The model in use, {architecture}, has no convolutions: it looks at all 784 "
                "pixels at once. So there is no place where it looked, and layers have no maps. "
                "But how much each pixel counted can be told of any model."
            )
        )
    parts += [
        _figures(_answer_figures(prediction, explanation)),
        render_hint(f"{METHODS}{MAP_METHOD if explanation.layers else ''}."),
        _section("What the first layer looks for", _words_on(filters), _show_filters(filters)),
    ]
    if explanation.layers:
        parts.append(
            _section(
                "What each layer made of it",
                "A map is the answer of one filter, bright where it found its pattern. Early maps "
                "find edges, later ones parts of digits. Beside them: where this layer found it.",
                "".join(_show_layer(layer) for layer in explanation.layers),
            )
        )
    return f'<section class="why-panel" aria-label="Explanation">{"".join(parts)}</section>'


def _headline(prediction: Prediction, target: int, label: int | None) -> str:
    """Say what is explained, and what a test picture is known to show."""
    share = percent(float(prediction.probabilities[target]))
    if target == prediction.digit and prediction.verdict == "not a digit":
        title = "Not a digit, it seems"
        text = f"If it is one, {prediction.name}: {share.lower()}. Explained is this guess."
    elif target == prediction.digit:
        title, text = f"Read as {prediction.name}", f"Confidence: {share.lower()}."
    else:
        title = f"Why might it be {name_digit(target)}?"
        text = f"The model gives it {share.lower()}. It reads {prediction.name}."
    if label is not None:
        text += f" It is labelled {label}."
    return (
        f'<div data-told><h2 class="answer-title">{escape(title)}</h2>'
        f'<p class="hint">{escape(text)}</p></div>'
    )


def _answer_figures(
    prediction: Prediction, explanation: Explanation
) -> Iterable[tuple[np.ndarray, str, str]]:
    """Draw what the model sees, where it looked, and which ink counted: pixels, title, help."""
    digit, target = prediction.image, explanation.target
    large = enlarge(digit, SHOWN)
    yield large, "What the model sees", "Your picture, brought to 28 by 28 pixels."
    if explanation.heat is not None:
        heat = enlarge(explanation.heat, SHOWN, smooth=True)
        yield (
            lay_over(large, colour_heat(heat), 0.8 * np.sqrt(np.clip(heat, 0, 1))),
            "Where it looked",
            f"Bright where the last layer of maps found a {target}.",
        )
    # Few pixels count very much: by their square roots the others are seen too.
    influence = np.sign(explanation.influence) * np.sqrt(np.abs(explanation.influence))
    colours = enlarge(colour_signs(influence), SHOWN)
    yield (
        lay_over(large, colours, (colours.max(axis=2) > 0).astype(np.float32)),
        "Which ink counted",
        f"Orange ink speaks for {target}, blue ink against it.",
    )


def _figures(figures: Iterable[tuple[np.ndarray, str, str]]) -> str:
    """Show large pictures side by side."""
    items = "".join(
        f'<figure><img src="{picture_url(pixels)}" alt="{escape(f"{title}. {text}")}">'
        f"<figcaption><b>{escape(title)}</b> {escape(text)}</figcaption></figure>"
        for pixels, title, text in figures
    )
    return f'<div class="why-figures">{items}</div>'


def _section(title: str, text: str, content: str) -> str:
    """Put content (HTML) under a heading and a line of help (plain text)."""
    return f'<h3>{escape(title)}</h3><p class="hint">{escape(text)}</p>{content}'


def _words_on(filters: Filters) -> str:
    """Explain the picture of the filters."""
    count, height, width = filters.weights.shape
    if filters.kind == "convolution":
        return (
            f"{count} filters of {height} by {width} pixels slide over the picture. Each answers "
            "where it finds ink on its orange squares and paper on its blue ones."
        )
    shown = f" The {MOST_TILES} strongest are shown." if count > MOST_TILES else ""
    return (
        f"{count} patterns as large as the picture. Each asks for ink where it is orange and for "
        f"paper where it is blue.{shown}"
    )


def _show_filters(filters: Filters) -> str:
    """Show the filters on one sheet; the strongest, if there are many."""
    strength = np.abs(filters.weights).mean(axis=(1, 2))
    chosen = np.sort(np.argsort(-strength, kind="stable")[:MOST_TILES])
    pictures = [enlarge(colour_signs(filters.weights[place]), TILE) for place in chosen]
    return _sheet(pictures, "The filters of the first layer, orange for ink and blue for paper")


def _show_layer(layer: LayerView) -> str:
    """Show the maps of a layer that answered most, and where it found what it looked for."""
    count, height, width = layer.maps.shape
    strongest = np.argsort(-layer.maps.mean(axis=(1, 2)), kind="stable")[:MOST_TILES]
    most = float(layer.maps.max())
    # Square roots, because few places answer strongly and the others are to be seen too.
    scaled = np.sqrt(np.clip(layer.maps, 0, None) / (most if most > 0 else 1))
    pictures = [enlarge(colour_heat(scaled[place]), TILE) for place in strongest]
    shown = f", the {MOST_TILES} brightest" if count > MOST_TILES else ", brightest first"
    title = f"{layer.name}: {count} maps of {height} by {width}{shown}"
    heat = picture_url(colour_heat(enlarge(layer.heat, 4 * TILE, smooth=True)))
    return (
        f'<figure class="why-layer"><figcaption>{escape(title)}</figcaption>'
        f'<img class="why-heat" src="{heat}" alt="Where {escape(layer.name)} found it">'
        f"{_sheet(pictures, f'Maps: {layer.name}')}</figure>"
    )


def _sheet(pictures: Sequence[np.ndarray], alt: str) -> str:
    """Show many small pictures as one."""
    url = picture_url(lay_out(pictures, COLUMNS, gap=2))
    return f'<img class="why-sheet" src="{url}" alt="{escape(alt)}">'


# ------------------------------------------------------------------------------------------------
# Layout
# ------------------------------------------------------------------------------------------------


def build_why_tab(service: Service, tab: gr.Tab, source: gr.HTML) -> None:
    """Lay out the tab.

    Parameters
    ----------
    service : Service
    tab : gr.Tab
        The tab that this is laid out in; explanations begin when it is opened.
    source : gr.HTML
        The pad whose picture is taken over, if it is newer than this tab's own.
    """
    import gradio as gr

    with gr.Row(elem_classes="recognise looking why"):
        with gr.Column(min_width=0, elem_classes="side-pad"):
            pad = build_pad(elem_id="why-pad", keep=False)
            about = gr.Radio(
                [THE_ANSWER, *DIGITS],
                value=THE_ANSWER,
                label="What to explain",
                info="Choose another digit to see what speaks for it.",
                elem_id="why-about",
                elem_classes="choice",
            )
        with gr.Column(min_width=0, elem_classes="recognise-answer"):
            answer = gr.HTML(blank_panel(), apply_default_css=False, elem_id="why")

    open_with_newer(tab, source, pad)
    offer_samples(pad, partial(pick_sample, service.data_folder))
    ask_again(about.input, pad)
    keep_current(
        [pad.input],
        partial(explain_pad, service),
        [pad, about],
        [answer],
        blank=blank_panel(),
        model=lambda: service.model_version,
    )
