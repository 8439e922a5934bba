"""Comparing what documents say of themselves with what a filter asks for: words, numbers, sizes and dates."""

import datetime
import math
import operator
import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import Any

from rag.search.where import Operator

Test = Callable[[Any], bool]
Span = tuple[datetime.datetime, datetime.datetime]  # local times without a zone; the end is not in it

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?b?)", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d:\d\d.*))?)?)?", re.DOTALL)
_AGO = re.compile(r"(\d{1,6}) (DAY|WEEK|MONTH|YEAR)S? AGO")
_DAYS = {"DAY": 1, "WEEK": 7}
_ORDER: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.MORE: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


class Kind(StrEnum):
    """What a field holds, and so how its values are compared."""

    WORDS = "words"
    NAMES = "words without an order"
    NUMBER = "a number"
    SIZE = "a size such as 200kB or 1.5MB"
    TIME = "a date such as 2026-01-31, 2026-01, today or 7 days ago"
    ANY = "a number, a date or words"  # metadata: whichever both sides are


def value_test(kind: Kind, asked: Operator, value: str, today: datetime.date) -> Test:
    """A test of one value of a field. Raises ValueError that says what the filter must have instead.

    What is tested is a str for words and metadata, a number for numbers and sizes, a datetime for times.
    """
    if asked is Operator.UNEQUAL:
        equal = value_test(kind, Operator.EQUAL, value, today)
        return lambda found: not equal(found)
    if asked is Operator.IN:
        asked = Operator.EQUAL
    if asked in (Operator.CONTAINS, Operator.LIKE):
        if kind not in (Kind.WORDS, Kind.NAMES, Kind.ANY):
            raise ValueError("this field is compared by =, !=, <, <=, >, >= or in.")
        return _words_test(asked, value)
    if kind is Kind.NAMES and asked is not Operator.EQUAL:
        raise ValueError("this field is compared by =, !=, contains, like or in.")
    if kind in (Kind.WORDS, Kind.NAMES):
        return _words_test(asked, value)
    if kind is Kind.ANY:
        return _metadata_test(asked, value, today)
    if kind is Kind.TIME:
        span = time_span(value, today)
        if span is None:
            raise ValueError(f"{value!r} is not {kind}.")
        return lambda found: _in_time(asked, found, span)
    number = _size(value) if kind is Kind.SIZE else _number(value)
    if number is None:
        raise ValueError(f"{value!r} is not {kind}.")
    compare = _ORDER[asked]
    return lambda found: compare(found, number)


def _words_test(asked: Operator, value: str) -> Test:
    wanted = value.lower()
    if asked is Operator.CONTAINS:
        return lambda found: wanted in found.lower()
    if asked is Operator.LIKE:
        pattern = re.compile(translate(wanted))
        return lambda found: pattern.match(found.lower()) is not None
    compare = _ORDER[asked]
    return lambda found: compare(found.lower(), wanted)


def _metadata_test(asked: Operator, value: str, today: datetime.date) -> Test:
    """Metadata are texts: compared as numbers where both are, else as dates where both are, else as words."""
    compare, number, span = _ORDER[asked], _number(value), time_span(value, today)
    by_words = _words_test(asked, value)

    @lru_cache(maxsize=4096)
    def test(found: str) -> bool:
        other = _number(found) if number is not None else None
        if other is not None:
            return compare(other, number)
        time = time_span(found, today) if span is not None else None
        if span is not None and time is not None:
            return _in_time(asked, time[0], span)
        return by_words(found)

    return test


def _in_time(asked: Operator, found: datetime.datetime, span: Span) -> bool:
    """A day, a month and a year are spans: `=` is within, `>` after the end of it."""
    begin, end = span
    match asked:
        case Operator.LESS:
            return found < begin
        case Operator.AT_LEAST:
            return found >= begin
        case Operator.AT_MOST:
            return found < end
        case Operator.MORE:
            return found >= end
        case _:
            return begin <= found < end


def time_span(text: str, today: datetime.date) -> Span | None:
    """The day, month, year or second that a text names, in this machine's time; None where it names none."""
    text = text.strip().upper()
    try:
        if found := _AGO.fullmatch(text):
            return _day(_back(today, int(found[1]), found[2]))
        if text in ("TODAY", "YESTERDAY"):
            return _day(_back(today, int(text == "YESTERDAY"), "DAY"))
        if found := _DATE.fullmatch(text):
            return _calendar_span(found)
    except (ValueError, OverflowError, OSError):
        return None  # no such day, or one that this machine's clock cannot tell
    return None


def _calendar_span(found: re.Match[str]) -> Span:
    year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
    if found[4]:
        moment = datetime.datetime.fromisoformat(found[0])
        if moment.tzinfo is not None:
            moment = moment.astimezone().replace(tzinfo=None)
        return moment, moment + datetime.timedelta(seconds=1 if found[4][5:6] == ":" else 60)
    begin = datetime.date(year, month, day)
    if found[3]:
        return _day(begin)
    days = monthrange(year, month)[1] if found[2] else 366 if monthrange(year, 2)[1] == 29 else 365
    return _day(begin)[0], _day(begin)[0] + datetime.timedelta(days=days)


def _day(day: datetime.date) -> Span:
    begin = datetime.datetime.combine(day, datetime.time())
    return begin, begin + datetime.timedelta(days=1)


def _back(day: datetime.date, count: int, unit: str) -> datetime.date:
    if unit in _DAYS:
        return day - datetime.timedelta(days=count * _DAYS[unit])
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "YEAR" else 1)
    year, month = divmod(months, 12)
    return datetime.date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _size(text: str) -> float | None:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    unit = found[2].lower()
    return float(found[1]) * _UNITS[unit if not unit or unit.endswith("b") else f"{unit}b"]
