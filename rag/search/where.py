"""The language of `--where`: text to a tree of conditions and back. It knows no fields and looks nothing up.

    condition  = all {"or" all}
    all        = one {"and" one}
    one        = "not" one | "(" condition ")" | comparison
    comparison = field ("=" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "like") value
               | field "not" ("contains" | "like") value | field ["not"] "in" "(" value {"," value} ")"

A field or a value is a word without blanks, quotes, brackets, commas and `=<>!`, or anything in single or double
quotes, where a backslash stands before a quote or a backslash that is meant. `7 days ago` is one value. Case does not
matter.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rag.errors import UsageProblem

_DEEPEST = 50
_SHOWN = 60  # characters of a filter that an error shows
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign>[!<>=]=|[=<>(),])|(?P<bare>[^\s"'(),=<>!]+)"""
    r"""|(?P<end>\Z)|(?P<wrong>.))""",
    re.DOTALL,
)
_UNIT = re.compile(r"(day|week|month|year)s?", re.IGNORECASE)


class Operator(StrEnum):
    """How a field is compared with values."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = "contains"
    LIKE = "like"
    IN = "in"


_NEGATABLE = (Operator.IN, Operator.CONTAINS, Operator.LIKE)
_RESERVED = {"and", "or", "not", *_NEGATABLE}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a value, with several for `in`. `at` is where the field's name stood in the text."""

    field: str
    operator: Operator
    values: tuple[str, ...]
    at: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        values = ", ".join(map(_quoted, self.values))
        return f"{_word(self.field)} {self.operator} {f'({values})' if self.operator is Operator.IN else values}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    condition: "Condition"

    def __str__(self) -> str:
        return f"not ({self.condition})"


@dataclass(frozen=True, slots=True)
class And:
    """All of some conditions."""

    conditions: "tuple[Condition, ...]"

    def __str__(self) -> str:
        return " and ".join(f"({condition})" for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of some conditions."""

    conditions: "tuple[Condition, ...]"

    def __str__(self) -> str:
        return " or ".join(f"({condition})" for condition in self.conditions)


Condition = Comparison | Not | And | Or


def parse(text: str) -> Condition:
    """The tree of a filter; `parse(str(tree))` is the same tree. Raises UsageProblem that marks the place."""
    return _Parser(text).whole()


def all_of(texts: Sequence[str]) -> str:
    """One filter that says what all of these say; "" for none. Raises UsageProblem."""
    conditions = [parse(text) for text in texts]
    return texts[0] if len(texts) == 1 else " and ".join(f"({condition})" for condition in conditions)


def problem(text: str, at: int, what: str) -> UsageProblem:
    """An error that shows a filter with a mark under the place `at`."""
    begin = max(0, at - _SHOWN // 2)
    shown = "".join(char if char.isprintable() else " " for char in text[begin : begin + _SHOWN])
    return UsageProblem(f"The filter cannot be used: {what}\n  {shown}\n  {' ' * (at - begin)}^")


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _word(name: str) -> str:
    found = _TOKEN.fullmatch(name)
    is_plain = found is not None and found["bare"] == name and name.lower() not in _RESERVED
    return name if is_plain else _quoted(name)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def word(self) -> str:
        """A word of the language in small letters, or a sign; "" for what is quoted."""
        return "" if self.kind == "quoted" else self.text.lower()


class _Parser:
    """Recursive descent over the tokens, one method a rule."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)
        self._next = 0
        self._depth = 0

    def _split(self, text: str) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while not tokens or tokens[-1].kind != "end":
            found = _TOKEN.match(text, at)
            kind = found.lastgroup if found else None
            assert found and kind, "`wrong` and `end` leave nothing unmatched"  # noqa: PT018
            begin, at = found.span(kind)
            if kind == "wrong":
                what = "this quote is not closed." if text[begin] in "'\"" else f"{text[begin]!r} means nothing here."
                raise problem(text, begin, what)
            tokens.append(_Token(kind, text[begin:at], begin))
        return tokens

    def whole(self) -> Condition:
        condition = self._any()
        if self._peek.kind != "end":
            raise self._problem("`and`, `or` or the end must stand here. A value with blanks in it needs quotes.")
        return condition

    def _any(self) -> Condition:
        return self._chain("or")

    def _chain(self, word: str) -> Condition:
        rule = self._one if word == "and" else lambda: self._chain("and")
        conditions = [rule()]
        while self._took(word):
            conditions.append(rule())
        if len(conditions) == 1:
            return conditions[0]
        return And(tuple(conditions)) if word == "and" else Or(tuple(conditions))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._problem(f"it is nested more than {_DEEPEST} deep.")
        condition: Condition
        if self._took("not"):
            condition = Not(self._one())
        elif self._took("("):
            condition = self._any()
            self._demand(")")
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        at = self._peek.at
        name = self._text_of("the name of a field")
        negated = self._took("not")
        word = "=" if self._peek.word == "==" else "like" if self._peek.word == "glob" else self._peek.word
        if word not in tuple(Operator) or (negated and word not in _NEGATABLE):
            allowed = ", ".join(_NEGATABLE if negated else Operator)
            raise self._problem(f"one of {allowed} must stand here.")
        self._next += 1
        operator = Operator(word)
        if operator is Operator.IN:
            self._demand("(")
            values = [self._value()]
            while self._took(","):
                values.append(self._value())
            self._demand(")")
        else:
            values = [self._value()]
        comparison = Comparison(name, operator, tuple(values), at)
        return Not(comparison) if negated else comparison

    def _value(self) -> str:
        value = self._text_of("a value")
        unit, ago = self._peek.word, self._tokens[self._next + 1 : self._next + 2]
        if value.isdecimal() and _UNIT.fullmatch(unit) and ago and ago[0].word == "ago":
            self._next += 2
            return f"{value} {unit} ago"
        return value

    def _text_of(self, what: str) -> str:
        token = self._peek
        if token.kind not in ("quoted", "bare"):
            raise self._problem(f"{what} must stand here.")
        if token.word in _RESERVED:
            raise self._problem(f"{what} must stand here; {token.text!r} itself needs quotes.")
        self._next += 1
        return re.sub(r"\\([\"'\\])", r"\1", token.text[1:-1]) if token.kind == "quoted" else token.text

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _took(self, word: str) -> bool:
        """Whether the next token is this word; if so it is passed over."""
        if self._peek.word != word:
            return False
        self._next += 1
        return True

    def _demand(self, sign: str) -> None:
        if not self._took(sign):
            raise self._problem(f"`{sign}` must stand here.")

    def _problem(self, what: str) -> UsageProblem:
        return problem(self._text, self._peek.at, what)
