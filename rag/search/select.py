"""Which documents a filter and path globs select, and of which only the chunks under some headings or on some pages."""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag.search.matching import Kind, Test, value_test
from rag.search.paths import path_test
from rag.search.where import And, Comparison, Condition, Not, Operator, Or, parse, problem
from rag.store.schema import DocumentRow

_META = "meta."
_SUFFIX_LENGTH = 10  # what is longer behind the last dot is a part of a name
_FIELDS: dict[str, tuple[Kind, Callable[[DocumentRow], Sequence[object]]]] = {
    "source": (Kind.WORDS, lambda row: (row.source,)),
    "root": (Kind.WORDS, lambda row: (row.root,)),
    "format": (Kind.NAMES, lambda row: (_suffix(row.source), row.parser)),
    "title": (Kind.WORDS, lambda row: (row.title,)),
    "language": (Kind.WORDS, lambda row: (row.language,)),
    "parser": (Kind.WORDS, lambda row: (row.parser,)),
    "status": (Kind.WORDS, lambda row: (row.status,)),
    "size": (Kind.SIZE, lambda row: (row.size,)),
    "modified": (Kind.TIME, lambda row: _time(row.mtime_ns / 1e9)),
    "indexed": (Kind.TIME, lambda row: _time(row.indexed_at)),
}
_CHUNK_FIELDS = {"headings": Kind.NAMES, "page": Kind.NUMBER}

Residual = Condition | bool  # what is left to be asked of a document's chunks, or nothing
Rule = Callable[[DocumentRow], Residual]


@dataclass(frozen=True, slots=True)
class Selection:
    """Documents by id, each with what its chunks must fulfil besides: a condition on `headings` and `page`, or None."""

    documents: Mapping[str, Condition | None]

    def conditions(self) -> list[Condition | None]:
        """The values of `documents`, each once. Few conditions stand for many documents: they are told by identity."""
        return list({id(each): each for each in self.documents.values()}.values())


def select(
    rows: Iterable[DocumentRow], where: str = "", paths: Sequence[str] = (), today: datetime.date | None = None
) -> Selection | None:
    """What a filter and path globs select of some documents; None where neither is given, which means all.

    A comparison holds where it does for any of a field's values: a chunk has several headings, a document's format is
    its suffix and its reader's name. Where a document lacks a metadata name, none but `!=` and `not` hold. Raises
    UsageProblem, also for a field that no document has.
    """
    if not where and not paths:
        return None
    rows = list(rows)
    rule: Rule = lambda _: True  # noqa: E731
    if where:
        rule = _Rules(where, rows, today or datetime.date.today()).rule(parse(where))  # noqa: DTZ011
    covered = path_test(paths)
    found: dict[str, Condition | None] = {}
    for row in rows:
        if not paths or covered(row.source):
            left = rule(row)
            if left is not False:
                found[row.id] = None if left is True else left
    return Selection(found)


def chunk_test(condition: Condition) -> Callable[[Sequence[str], int | None], bool]:
    """A test of chunks, by their headings and page, for a condition that `select` left."""
    match condition:
        case Not(inner):
            opposite = chunk_test(inner)
            return lambda headings, page: not opposite(headings, page)
        case And(conditions):
            every = [chunk_test(each) for each in conditions]
            return lambda headings, page: all(test(headings, page) for test in every)
        case Or(conditions):
            some = [chunk_test(each) for each in conditions]
            return lambda headings, page: any(test(headings, page) for test in some)
        case Comparison():
            holds = _any_value(condition, _CHUNK_FIELDS[condition.field.lower()], datetime.date.min)
            if condition.field.lower() == "page":
                return lambda _, page: holds(() if page is None else (page,))
            return lambda headings, _: holds(headings)


def _any_value(comparison: Comparison, kind: Kind, today: datetime.date) -> Callable[[Sequence[object]], bool]:
    """Whether a comparison holds for any value of a field. Raises ValueError for what cannot be compared so."""
    unequal = comparison.operator is Operator.UNEQUAL
    asked = Operator.EQUAL if unequal else comparison.operator
    tests: list[Test] = [value_test(kind, asked, value, today) for value in comparison.values]
    return lambda found: unequal != any(test(value) for value in found for test in tests)


class _Rules:
    """Conditions as functions of a document's row, for one set of rows: they say which metadata there are."""

    def __init__(self, where: str, rows: Sequence[DocumentRow], today: datetime.date) -> None:
        self._where, self._today = where, today
        self._names: dict[str, set[str]] = {}
        for row in rows:
            for name in row.metadata:
                self._names.setdefault(name.lower(), set()).add(name)

    def rule(self, condition: Condition) -> Rule:
        """What a condition leaves to be asked of a row's chunks."""
        match condition:
            case Not(inner):
                return _negated(self.rule(inner))
            case And(conditions):
                return _chained([self.rule(each) for each in conditions], And, False)
            case Or(conditions):
                return _chained([self.rule(each) for each in conditions], Or, True)
            case Comparison():
                return self._comparison(condition)

    def _comparison(self, comparison: Comparison) -> Rule:
        name = comparison.field.lower()
        try:
            if name in _CHUNK_FIELDS:
                chunk_test(comparison)
                return lambda _: comparison
            if name in _FIELDS:
                kind, values = _FIELDS[name]
                holds = _any_value(comparison, kind, self._today)
                return lambda row: holds(values(row))
            spellings = self._names.get(name) or self._names.get(name.removeprefix(_META))
            if not spellings:
                raise problem(self._where, comparison.at, self._unknown(comparison.field))
            holds = _any_value(comparison, Kind.ANY, self._today)
            return lambda row: holds([row.metadata[each] for each in spellings if each in row.metadata])
        except ValueError as exc:
            raise problem(self._where, comparison.at, f"{comparison.field}: {exc}") from exc

    def _unknown(self, name: str) -> str:
        known = ", ".join((*_FIELDS, *_CHUNK_FIELDS))
        shown = sorted(self._names)[:40]
        more = ", …" if len(self._names) > len(shown) else ""
        here = f"; the metadata here: {', '.join(shown)}{more}" if shown else "; the documents here have no metadata"
        return f"there is no field {name!r}. The fields are {known}{here}."


def _negated(rule: Rule) -> Rule:
    made: dict[int, Condition] = {}

    def opposite(row: DocumentRow) -> Residual:
        left = rule(row)
        return not left if isinstance(left, bool) else made.setdefault(id(left), Not(left))

    return opposite


def _chained(rules: Sequence[Rule], form: type[And] | type[Or], decides: bool) -> Rule:
    """The rules joined by `form`, of which one that comes out as `decides` settles the whole."""
    made: dict[tuple[int, ...], Condition] = {}

    def joined(row: DocumentRow) -> Residual:
        open_: list[Condition] = []
        for rule in rules:
            left = rule(row)
            if left is decides:
                return decides
            if not isinstance(left, bool):
                open_.append(left)
        if not open_:
            return not decides
        return open_[0] if len(open_) == 1 else made.setdefault(tuple(map(id, open_)), form(tuple(open_)))

    return joined


def _suffix(source: str) -> str:
    name = source.rpartition("/")[2]
    suffix = name.rpartition(".")[2] if "." in name else ""
    return suffix if len(suffix) <= _SUFFIX_LENGTH else ""


def _time(seconds: float) -> tuple[datetime.datetime, ...]:
    try:
        return (datetime.datetime.fromtimestamp(seconds),)  # noqa: DTZ006 a filter's dates are local ones
    except (OverflowError, OSError, ValueError):
        return ()  # a time of change may be any number
