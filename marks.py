"""Pages of which a program fills in a part: the one between two marks.

>>> before, after = split_at("speed: <b>unknown</b>", "<b>", "</b>")
>>> before + "2 ms" + after
'speed: <b>2 ms</b>'
"""

from __future__ import annotations

from errors import DataFormatError


def split_at(text: str, begin: str, end: str, *, name: str = "the page") -> tuple[str, str]:
    """Split a text around what stands between two marks.

    Parameters
    ----------
    text : str
    begin, end : str
        The marks.
    name : str, default="the page"
        What the text is called in the message of an error.

    Returns
    -------
    before, after : str
        The first ends with the mark `begin`, the second begins with the mark `end`.

    Raises
    ------
    DataFormatError
        If the text does not hold each mark once, in this order.
    """
    before, first, rest = text.partition(begin)
    _, second, after = rest.partition(end)
    if not (first and second) or text.count(begin) + text.count(end) != 2:
        raise DataFormatError(
            f"{name} has to hold the marks {begin} and {end}, once each and in this order"
        )
    return before + begin, end + after
