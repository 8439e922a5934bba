"""Citation markers in a text as it comes: told from code and from other brackets, however the text is cut. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

# [1], [1, 2], [1-3], [[1]], [^1], [Source 2], 【1】, 【1†source】, ［1］
_NUMBERS = r"\^?\d{1,2}(?:\s*(?:[,;，、&–-]|and|und|et)\s*\^?\d{1,2})*"
_MARKER = re.compile(
    r"(?:\[{1,2}|【|［)\s*(?:(?:passage|source|document|doc|ref|quelle)s?\s*[:#]?\s*)?"
    rf"({_NUMBERS})(?:†[^\]】］]{{0,40}})?\s*(?:\]{{1,2}}|】|］)",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d{1,2})\s*[–-]\s*\^?(\d{1,2})")
_CLOSING = re.compile(r"[\]】］]")
_LONGEST_MARKER = 80
_LONGEST_CODE = 1000  # between two `: without a bound, one stray ` would hold back a whole answer

_OPENING = re.compile(r"[\[【［`~]")
# What ends inline code, or shows that it is none: as many ` as began it, an empty line, a block of code.
_CODE_END = re.compile(r"(?<!`)`+|\n[ \t]*\n|\n[ \t]*(?:```|~~~)")


class Kind(StrEnum):
    """What a piece of an answer is."""

    TEXT = "text"
    MARKER = "marker"
    CODE = "code"  # between backticks, in a line
    BLOCK = "block"  # between lines of ``` or ~~~


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer, and the passages that it names (from 1) if it is a marker."""

    kind: Kind
    text: str
    numbers: tuple[int, ...] = ()


class MarkerReader:
    """Tells what an answer is made of while it comes.

    What may become a marker or code is held back until it is known: at most 80 characters behind an opening bracket,
    1,000 behind a `. The pieces are the same however the text is cut, but for TEXT and BLOCK, which come in parts.
    """

    def __init__(self) -> None:
        self._held = ""
        self._line = ""  # the first sign of the present line, if it came before what is held
        self._fence = ""  # what ends the block of code that is open

    def read(self, text: str) -> list[Piece]:
        """The pieces that are known now."""
        self._held += text
        return list(self._known(final=False))

    def end(self) -> list[Piece]:
        """What was held back, after which the reader is at the beginning of another text."""
        pieces = list(self._known(final=True))
        self._line = self._fence = ""
        return pieces

    def _known(self, *, final: bool) -> Iterator[Piece]:
        while self._held:
            piece = self._in_block(final) if self._fence else self._in_prose(final)
            if piece is None:
                return
            self._held = self._held[len(piece.text) :]
            self._line = (self._line + piece.text).rpartition("\n")[2].strip(" \t")[:1]
            yield piece

    def _in_block(self, final: bool) -> Piece | None:
        """The next lines of a block of code, the one that closes it by itself."""
        line, ends, _ = self._held.partition("\n")
        if self._line:
            return Piece(Kind.BLOCK, line + ends)
        bare = line.lstrip(" \t")
        if not (ends or final) and (len(bare) < 3 or bare.startswith(self._fence)):
            return None
        if bare.startswith(self._fence):
            self._fence = ""
            return Piece(Kind.BLOCK, line)
        return Piece(Kind.BLOCK, line + ends)

    def _in_prose(self, final: bool) -> Piece | None:
        held = self._held
        opening = _OPENING.search(held)
        if opening is None or opening.start():
            return Piece(Kind.TEXT, held[: opening.start()] if opening else held)
        if held[0] not in "`~":
            return self._bracket(final)
        run = re.match(rf"{held[0]}+", held)
        assert run is not None
        if run.end() == len(held) and not final:
            return None
        if not self._line and run.end() >= 3:
            self._fence = held[0] * 3
            return Piece(Kind.BLOCK, run[0])
        return Piece(Kind.TEXT, run[0]) if held[0] == "~" else self._code(run[0], final)

    def _code(self, run: str, final: bool) -> Piece | None:
        bound = len(run) + _LONGEST_CODE
        for end in _CODE_END.finditer(self._held, len(run), bound):
            if not end[0].startswith("`"):
                return Piece(Kind.TEXT, run)
            if end.end() == len(self._held) and not final:
                return None
            if end[0] == run and end.end() < bound:
                return Piece(Kind.CODE, self._held[: end.end()])
        return Piece(Kind.TEXT, run) if final or len(self._held) > bound else None

    def _bracket(self, final: bool) -> Piece | None:
        closing = _CLOSING.search(self._held, 0, _LONGEST_MARKER)
        if closing is None:
            waits = len(self._held) < _LONGEST_MARKER and not final
            return None if waits else Piece(Kind.TEXT, self._held[0])
        if self._held.startswith("[[") and closing.end() == len(self._held) and not final:
            return None
        doubled = self._held.startswith("[[") and self._held.startswith("]]", closing.start())
        end = closing.end() + doubled
        if found := _MARKER.fullmatch(self._held, 0, end):
            return Piece(Kind.MARKER, found[0], _numbers(found[1]))
        return Piece(Kind.TEXT, self._held[0])


def pieces(text: str) -> list[Piece]:
    """What a whole answer is made of."""
    reader = MarkerReader()
    return [*reader.read(text), *reader.end()]


def shown(parts: Iterable[Piece], passages: int) -> str:
    """Pieces as a reader sees them: markers as `[1][2]`, without numbers that no passage has."""
    return "".join(
        "".join(f"[{number}]" for number in part.numbers if 1 <= number <= passages)
        if part.kind is Kind.MARKER
        else part.text
        for part in parts
    )


def _numbers(listed: str) -> tuple[int, ...]:
    """The numbers of a marker; 2-4 are three."""
    spread = _RANGE.sub(lambda ends: ",".join(map(str, range(int(ends[1]), int(ends[2]) + 1))), listed)
    return tuple(int(number) for number in re.findall(r"\d+", spread))
