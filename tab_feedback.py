"""The tab "Feedback", and the row below an answer in which a visitor says whether it was right.

    "It was a 4" -> keep -> FeedbackStore -> browse -> a gallery with counts, delete and export
    "Change"     -> take_back

Nothing is stored without a click, and whoever clicked may take it back while the page is open.
Corrections are pictures that other people drew, so where the server can be reached from other
machines, looking at them takes the administrator token as well. What happens in the browser is in
`feedback_row.js` and `feedback_gallery.js`, and how both look is in `feedback.css`.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from html import escape
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from encoding import picture_url
from errors import AccessError, DigitError, SettingsError
from feedback import NO_DIGIT, PAGE_SIZE, Correction, check_digit
from pad import name_picture, read_picture
from panels import percent, render_empty, render_hint
from picture import open_picture
from reading import name_digit
from utils import PROJECT, count_noun
from widgets import QUIET, build_unlock, deliver_file

if TYPE_CHECKING:
    import gradio as gr

    from access import Access
    from service import Service

HERE = Path(__file__).resolve().parent
THUMBNAIL = 160  # pixels; a card shows them at half that, on screens with fine pixels too
CHOICES = ["all", *range(10), None]  # of which digit corrections are shown
MOST_RECEIPTS = 100_000  # about 20 MB

# What the row shows where a handler came to no answer, as one that the server refused or that broke
# off. It runs in the browser, with what the row had asked.
NOT_KEPT = """() => ({ kept: false, text: "Storing failed: say it again in a moment." })"""
NOT_TAKEN_BACK = """(asked) => (
  { kept: true, id: asked.id, text: "Taking it back failed: try again in a moment." }
)"""

Opinion: TypeAlias = tuple[int, int]  # the number of a picture, the place of what was said about it

NO_CORRECTIONS = (
    "There are no corrections yet",
    "Read a digit on the first tab, and say below the answer whether it was right.",
)
NOT_LEARNED = (
    "Examples and test pictures are not kept: what they show is known, and a network must not "
    "learn from what it is measured with."
)


# ------------------------------------------------------------------------------------------------
# Below an answer
# ------------------------------------------------------------------------------------------------


class Receipts:
    """What visitors may take back: each opinion they put into the store, by a word they alone know.

    The page in the browser holds these words. (A `gr.State` would hold the opinions here, but keeps
    a connection to each page open, and browsers allow only six to one server.)

    Parameters
    ----------
    most : int, default=MOST_RECEIPTS
        The oldest beyond these are forgotten; all are when the server ends. What was said stays.
    """

    def __init__(self, most: int = MOST_RECEIPTS) -> None:
        self._most = most
        self._opinions: dict[str, Opinion] = {}
        self._lock = Lock()

    def give(self, opinion: Opinion) -> str:
        """Make the receipt for an opinion."""
        receipt = secrets.token_urlsafe()
        with self._lock:
            self._opinions[receipt] = opinion
            if len(self._opinions) > self._most:
                del self._opinions[next(iter(self._opinions))]
        return receipt

    def find(self, receipts: object, picture: object) -> dict[str, Opinion]:
        """Look up which of these receipts, as a browser sent them, are about a picture."""
        asked = set(map(str, receipts)) if isinstance(receipts, list) else set()
        with self._lock:
            known = {each: self._opinions[each] for each in asked if each in self._opinions}
        return {each: opinion for each, opinion in known.items() if opinion[0] == picture}

    def forget(self, receipt: str) -> None:
        """Drop the receipt of an opinion that is not in the store any more."""
        with self._lock:
            self._opinions.pop(receipt, None)


def keep(service: Service, receipts: Receipts, value: object, pad: object) -> dict[str, Any]:
    """Store what a visitor says about the picture on the pad.

    Parameters
    ----------
    service : Service
    receipts : Receipts
    value : object
        What the row sent: a dict with `said`, a digit or None for no digit. Not trusted.
    pad : object
        What is on the pad; see `pad.read_picture`.

    Returns
    -------
    dict
        `kept`, whether it is in the store; `text`, what to tell the visitor; `id`, the number of
        the picture that is kept; and `receipt`, if the store did not know this yet.
    """
    picture = None
    try:
        said = value.get("said", "nothing") if isinstance(value, Mapping) else value
        check_digit(said)
        picture = read_picture(pad)
        if picture is None:
            return _refuse("There is nothing on the pad.")
        if picture.label is not None:
            return _refuse(NOT_LEARNED)
        predictor = service.predictor
        correction = service.add_correction(
            picture.content,
            service.predict(picture.content, predictor),
            said,  # type: ignore[arg-type]  # checked above
            predictor.checkpoint,
            source="page",
        )
    except DigitError as error:
        reason = service.tell(error, subject=name_picture(picture))
        return _refuse(f"Not stored: {reason}.")
    thanks, receipt = "Thank you, that was known already", None
    if correction.is_new:
        thanks, receipt = "Thank you", receipts.give((correction.id, correction.place))
    text = f"{thanks}: kept as {name_digit(correction.correct)}."
    return {"kept": True, "text": text, "id": correction.id, "receipt": receipt}


def take_back(service: Service, receipts: Receipts, value: object) -> dict[str, Any]:
    """Erase what a visitor has said about a picture; what others said about it stays.

    Parameters
    ----------
    service : Service
    receipts : Receipts
    value : object
        What the row sent: a dict with `id`, the number of the picture, and `receipts`, all that it
        was given. Not trusted.

    Returns
    -------
    dict
        As `keep`.
    """
    asked = value if isinstance(value, Mapping) else {}
    picture = asked.get("id")
    own = receipts.find(asked.get("receipts"), picture)
    if not own:  # it was known before they said it, or the server has been started anew
        return _refuse("It was stored before, and stays; you can still say something else.")
    try:
        for receipt, opinion in own.items():
            service.feedback.withdraw(*opinion)
            receipts.forget(receipt)
    except DigitError as error:
        text = f"Not taken back: {service.tell(error)}."
        return {"kept": True, "text": text, "id": picture}
    return _refuse("Taken back: it is not kept any more.")


def _refuse(text: str) -> dict[str, Any]:
    """Say that nothing is kept, and why."""
    return {"kept": False, "text": text}


def build_feedback_row(service: Service, pad: gr.HTML) -> None:
    """Lay out the row in which a visitor says whether the answer is right, and wire it.

    Parameters
    ----------
    service : Service
    pad : gr.HTML
        The pad that the answer is about; see `pad.build_pad`. The answer itself is found in
        the page by its name, `answer`.
    """
    import gradio as gr

    row = gr.HTML(
        value=None,
        html_template=_row_html(describe_place(service)),
        css_template=_read("feedback.css"),
        js_on_load=_read("feedback_row.js"),
        apply_default_css=False,
        elem_id="feedback-row",
        test_picture=NOT_LEARNED,
    )
    receipts = Receipts()
    once: dict[str, Any] = {**QUIET, "trigger_mode": "once"}
    said = row.said(partial(keep, service, receipts), [row, pad], [row], **once)
    said.failure(None, None, [row], js=NOT_KEPT, **QUIET)
    changed = row.changed(partial(take_back, service, receipts), [row], [row], **once)
    changed.failure(None, [row], [row], js=NOT_TAKEN_BACK, **QUIET)


def _row_html(place: str) -> str:
    """Lay out the row."""
    digits = "".join(
        f'<button type="button" data-said="{digit}" aria-label="It was {name_digit(digit)}">'
        f"{digit}</button>"
        for digit in range(10)
    )
    return f"""
<section class="teach" aria-label="Was that right?">
  <h3 class="teach-title">Was that right?</h3>
  <button type="button" class="teach-yes">Correct</button>
  <button type="button" data-said="none">Not a digit</button>
  <div class="teach-digits" role="group" aria-label="If not, what was it?">
    <span aria-hidden="true">Or it was a</span>{digits}
  </div>
  <p class="teach-note" role="status"><span class="teach-text"></span>
    <button type="button" class="teach-again" hidden>Change</button>
    <span class="teach-hint">A click stores the picture, the answer and what you say
      {escape(place)}. Without a click nothing is kept.</span></p>
</section>"""


def describe_place(service: Service) -> str:
    """Say where corrections are kept, without telling strangers about the disk of the server."""
    if service.access.beyond_loopback:
        return "on the server of this page, where its administrator sees it"
    path = service.feedback.path
    shown = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
    return f"on this computer, in {shown}"


# ------------------------------------------------------------------------------------------------
# The gallery
# ------------------------------------------------------------------------------------------------


def browse(service: Service, value: object, token: object) -> dict[str, Any]:
    """Show a page of the corrections; first delete one, if that was asked for.

    Parameters
    ----------
    service : Service
    value : object
        What the gallery sent: a dict with `digit` ("all", 0 to 9, or None for no digit), `page`
        (from 1 on) and perhaps `delete`, the number of a picture. Not trusted.
    token : object
        The administrator token, if there is one.

    Returns
    -------
    dict
        `html`, the `digit` and `page` that it shows, and `told`, the same in a few words for who
        cannot see it.
    """
    asked = value if isinstance(value, Mapping) else {}
    try:
        require_look(service.access, token)
        digit = asked.get("digit", "all")
        if digit != "all":
            check_digit(digit)
        done = ""
        if asked.get("delete") is not None:
            service.feedback.delete(_whole(asked["delete"]))
            done = "Deleted. "
        shown = _show_page(service, digit, _whole(asked.get("page", 1)))
        return {**shown, "told": f"{done}{shown['told']}"}
    except DigitError as error:
        told = service.tell(error, token=token)
        return {"html": render_hint(told), "digit": "all", "page": 1, "told": told}


def require_look(access: Access, token: object) -> None:
    """Let somebody see what others drew, or say why not.

    Raises
    ------
    AccessError
        If a token is needed, and missing or wrong.
    """
    try:
        access.require(token)
    except AccessError as error:
        raise type(error)(f"Corrections are shown to administrators only; {error}") from error


def _whole(value: object) -> int:
    """Take a whole number from what a browser sent."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise SettingsError(f"{value!r} is not a whole number from 1 on; reload the page")
    return value


def _show_page(service: Service, digit: int | Literal["all"] | None, page: int) -> dict[str, Any]:
    """Render a page of the corrections, or the last one if there are fewer."""
    store = service.feedback
    counts = store.count_by_digit()
    if not any(counts.values()):
        empty = render_empty(*NO_CORRECTIONS)
        return {"html": empty, "digit": "all", "page": 1, "told": NO_CORRECTIONS[0]}
    count = sum(counts.values()) if digit == "all" else counts[digit]
    pages = max(1, -(-count // PAGE_SIZE))
    page = min(page, pages)
    cards = "".join(_card(each) for each in store.list_page(page, correct=digit))
    empty = "" if cards else render_hint("Nobody has corrected such a picture.")
    html = (
        f"{_chips(counts, digit)}<ul class='cards'>{cards}</ul>{empty}{_pager(page, pages)}"
        '<button type="button" class="pack">Download all as a zip</button>'
    )
    told = f"{count_noun(count, 'correction')}, page {page} of {pages}"
    return {"html": html, "digit": digit, "page": page, "told": told}


def _chips(counts: Mapping[int | None, int], chosen: int | str | None) -> str:
    """Show how many there are of each digit; a click shows only those."""
    names: dict[int | str | None, str] = {"all": "All", None: "no digit"}
    numbers: dict[int | str | None, int] = {"all": sum(counts.values()), None: counts[None]}
    numbers |= {digit: counts[digit] for digit in range(10)}
    buttons = "".join(
        f'<button type="button" data-digit="{"none" if each is None else each}"'
        f' aria-pressed="{str(each == chosen).lower()}"{"" if numbers[each] else " disabled"}>'
        f"{names.get(each, each)} <small>{numbers[each]:,}</small></button>"
        for each in CHOICES
    )
    return f'<div class="chips" role="group" aria-label="Corrections of each digit">{buttons}</div>'


def _card(each: Correction) -> str:
    """Show one correction."""
    pixels = open_picture(each.png, working_side=THUMBNAIL).pixels
    when = datetime.fromisoformat(each.stored_at).astimezone(timezone.utc)
    shown = "no digit" if each.correct is None else each.correct
    read_digit = None if each.verdict == NO_DIGIT else each.digit
    right = each.correct == read_digit
    read = "not known as what it was read"
    if each.digit is not None:
        sure = "" if each.confidence is None else f", {percent(each.confidence).lower()}"
        read = f"read as {name_digit(read_digit)}{sure}"
    model = escape(f"{each.model} {each.model_version}".strip() or "model unknown")
    return f"""
<li class="card {"card-right" if right else "card-wrong"}">
  <img src="{picture_url(pixels)}" alt="The picture" width="80" height="80">
  <img class="card-seen" src="{picture_url(each.seen)}" alt="What the model saw" width="80"
    height="80">
  <p class="card-digit{" card-no-digit" if each.correct is None else ""}">{shown}</p>
  <p class="card-read">{escape(read)}</p>
  <p class="card-about"><time datetime="{escape(each.stored_at)}">{when:%d %b %Y, %H:%M} UTC</time>
    <span>{model}</span></p>
  <div class="card-delete" data-id="{each.id}">
    <button type="button" class="delete-ask">Delete</button>
    <span hidden>For good? <button type="button" class="delete-yes">Delete</button>
      <button type="button" class="delete-no">Keep</button></span>
  </div>
</li>"""


def _pager(page: int, pages: int) -> str:
    """Lead to the next and the previous page, if there are any."""
    if pages == 1:
        return ""
    before, after = (" disabled" if page == end else "" for end in (1, pages))
    return (
        '<nav class="pager" aria-label="Pages">'
        f'<button type="button" data-page="{page - 1}"{before}>Newer</button>'
        f"<span>Page {page} of {pages}</span>"
        f'<button type="button" data-page="{page + 1}"{after}>Older</button></nav>'
    )


def export(service: Service, token: object) -> Iterator[str]:
    """Make a zip of all corrections and hand it to the browser; the file does not stay here."""
    import gradio as gr

    try:
        require_look(service.access, token)
        if not service.feedback.count():
            raise SettingsError("There are no corrections to export yet")
        with tempfile.TemporaryDirectory(prefix="digits-") as folder:
            name = f"corrections-{datetime.now(timezone.utc):%Y-%m-%d}.zip"
            path = service.feedback.export_zip(Path(folder) / name)
            yield str(path)  # the page takes a copy, which it deletes in time
    except DigitError as error:
        raise gr.Error(service.tell(error, token=token), print_exception=False) from error


def build_feedback_tab(service: Service) -> None:
    """Lay out the gallery of corrections, and wire it."""
    import gradio as gr

    gr.HTML(
        render_hint(
            "What visitors said about answers. It is kept "
            f"{describe_place(service)}, and can be used for training."
        ),
        apply_default_css=False,
    )
    token = build_unlock(service.access)
    look = gr.Button("Show corrections", visible=service.access.changes_are == "locked")
    gallery = gr.HTML(
        value=None,
        html_template='<div class="gallery" role="region" aria-label="Corrections"></div>'
        '<p class="gallery-told unseen" role="status"></p>',
        css_template=_read("feedback.css"),
        js_on_load=_read("feedback_gallery.js"),
        apply_default_css=False,
        elem_id="corrections",
    )
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    show = partial(browse, service)
    gallery.ask(show, [gallery, token], [gallery], queue=False, **quiet)
    gr.on([look.click, token.submit], show, [gallery, token], [gallery], queue=False, **quiet)
    deliver_file(gallery.pack, partial(export, service), [token], elem_id="corrections-zip")


def _read(name: str) -> str:
    """Read a file for the browser that lies beside this one."""
    return (HERE / name).read_text(encoding="utf-8")
