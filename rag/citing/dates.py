"""Dates and times of day in a text, however they are written: 2026-01-05, 5 January 2026, 05.01.2026. Pure.

English, German and French month names; of 5/1/2026 both readings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from rag.citing.quantities import MONTHS

_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_ISO = re.compile(r"(?<!\d)(\d{4})([-./])(\d{1,2})\2(\d{1,2})(?!\d)|(?<!\d)(\d{4})年(\d{1,2})月(\d{1,2})日")
_SHORT = re.compile(r"(?<!\d)(\d{1,2})([./-])\s?(\d{1,2})\2\s?(\d{4}|\d\d)(?!\d)")
_DAY_FIRST = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|er|\.)?\s+(?:of\s+)?({_MONTH})\b\.?,?(?:\s+(\d{{4}}))?", re.IGNORECASE
)
_MONTH_FIRST = re.compile(rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?", re.IGNORECASE)
_STATED = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")


@dataclass(frozen=True, slots=True)
class Date:
    """A day; `year` is None where the text does not say it beside the day."""

    year: int | None
    month: int
    day: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A date as JSON has it, with the hour and the minute if it has these."""

    date: Date
    time: tuple[int, int] | None = None


def stated(text: str) -> Moment | None:
    """What a text in ISO 8601 says, None where it is no date of that form."""
    found = _STATED.fullmatch(text.strip())
    if not found:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    return Moment(Date(year, month, day), (int(found[4]), int(found[5])) if found[4] else None)


@lru_cache(maxsize=4096)
def dates(text: str) -> frozenset[Date]:
    """The dates in a text, each reading of those that have several."""
    return frozenset(date for date in _read(text) if 1 <= date.month <= 12 and 1 <= date.day <= 31)


def tells_time(text: str, hour: int, minute: int) -> bool:
    """Whether a text says this time of day, with 24 hours or twelve."""
    half, twelfth = ("a" if hour < 12 else "p", hour % 12 or 12)
    minutes = rf"[:.h]{minute:02}"
    full = minutes if minute else rf"(?:{minutes}|\s*(?:h|Uhr|o['’]clock)\b)"
    either = rf"0?{hour}{full}(?!\d)|0?{twelfth}{minutes if minute else f'(?:{minutes})?'}\s*{half}\.?m\b"
    return bool(re.search(rf"(?<![\d.:])(?:{either})", text, re.IGNORECASE))


def _read(text: str) -> Iterator[Date]:
    for found in _ISO.finditer(text):
        year, month, day = (found[1], found[3], found[4]) if found[1] else (found[5], found[6], found[7])
        yield Date(int(year), int(month), int(day))
    for found in _SHORT.finditer(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        year += 2000 if len(found[4]) == 2 else 0
        yield Date(year, second, first)
        if found[2] == "/":
            yield Date(year, first, second)
    for found in _DAY_FIRST.finditer(text):
        yield Date(int(found[3]) if found[3] else None, int(MONTHS[found[2].lower()]), int(found[1]))
    for found in _MONTH_FIRST.finditer(text):
        yield Date(int(found[3]) if found[3] else None, int(MONTHS[found[1].lower()]), int(found[2]))
