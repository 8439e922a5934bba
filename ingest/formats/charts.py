"""Charts of Office files as the table that they draw. Pure."""

from typing import TYPE_CHECKING

from ingest.formats.numbers import shown

if TYPE_CHECKING:
    from lxml.etree import _Element

_MOST_POINTS = 5_000


def chart_table(root: "_Element") -> tuple[str, list[list[str]]]:
    """A chart's title and its rows: a header with the names of the series, then a row for each category."""
    title = root.find(".//{*}chart/{*}title")
    words = "" if title is None else " ".join(node.text or "" for node in title.iter("{*}t"))
    names: list[str] = []
    categories: dict[int, str] = {}
    columns: list[dict[int, str]] = []
    for number, series in enumerate(root.iter("{*}ser"), start=1):
        name = series.find("{*}tx")
        names.append("" if name is None else " ".join(node.text or "" for node in name.iter("{*}v")))
        for place in ("{*}cat", "{*}xVal"):
            categories = categories or _points(series.find(place))
        columns.append(next((found for p in ("{*}val", "{*}yVal") if (found := _points(series.find(p)))), {}))
        if number * len(categories) > 20 * _MOST_POINTS:
            break
    places = sorted({place for column in columns for place in column} | set(categories))
    if not places:
        return words, []
    rows = [[categories.get(place, ""), *(column.get(place, "") for column in columns)] for place in places]
    return words, [["", *names], *rows] if any(names) else rows


def _points(values: "_Element | None") -> dict[int, str]:
    """The values by their number; of categories in several levels the innermost."""
    found: dict[int, str] = {}
    if values is None:
        return found
    level = next(values.iter("{*}lvl"), values)
    form = values.findtext(".//{*}formatCode") or ""
    for point in level.iter("{*}pt"):
        number = point.get("idx", "")
        if number.isdecimal() and len(found) < _MOST_POINTS:
            found[int(number)] = _value(point.findtext("{*}v") or "", form)
    return found


def _value(text: str, form: str) -> str:
    try:
        return shown(float(text), form)
    except ValueError:
        return text
