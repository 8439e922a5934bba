"""A document into chunks: slices of its text, cut where its structure allows. Pure.

Pieces become units (a whole piece, or its sentences where it is too long for one chunk), units become runs (one
section on one page), and runs become chunks: small neighbouring sections together, long ones in even parts.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from rag import tokens
from rag.sentences import sentences
from rag.types import Chunk, Document, Kind, Piece, enclosing

SMALLEST_LIMIT = 16
_BREADCRUMB_LIMIT = 200
_TABLE_HEADER_LIMIT = 300
# A run of letters and digits, or lines of one each; five megabytes of them would be 15,000 chunks.
_DATA = re.compile(
    r"(?<![A-Za-z\d+/=_-])(?:[A-Za-z\d+/=_-]{1000,}+|(?:[A-Za-z\d+/=_-]{60,}+[ \t]*\n[ \t>]*){15,}+[\w+/=-]*)"
)
_DATA_SHOWN = 80
_DATA_LETTERS = 14  # fewer different ones are a line of dashes, or a gene


@dataclass(frozen=True, slots=True)
class _Unit:
    """A slice that is never cut again: a piece or a part of one, within the limit by its own count."""

    start: int
    end: int
    size: int
    piece: Piece


def chunk(document: Document, *, max_tokens: int, count: Callable[[str], int] = tokens.count) -> list[Chunk]:
    """Cut a document into chunks of at most `max_tokens` by `count`, in ascending order and without overlap.

    Every chunk's text is `document.text[start:end]` and has no white space at its ends; together the chunks hold all
    that the pieces hold but white space. No chunk crosses a page. A heading starts a chunk and stays with what follows
    it; sections smaller than a third of the limit share a chunk with their neighbours under the same heading where
    they fit. `count` is asked for the text alone, not for its context. A single character that exceeds the limit
    becomes a chunk of its own. Of data written as text (a picture or a key as base64 or hexadecimal digits, a thousand
    characters and more) only the beginning is in a chunk: there are no words in it to be found by. Raises ValueError
    for a limit below 16.
    """
    return [chunk for chunk, _ in sized_chunks(document, max_tokens=max_tokens, count=count)]


def sized_chunks(
    document: Document, *, max_tokens: int, count: Callable[[str], int] = tokens.count
) -> list[tuple[Chunk, int]]:
    """The same chunks, each with the sum of its parts' counts, which is about what the whole text counts."""
    if max_tokens < SMALLEST_LIMIT:
        raise ValueError(f"max_tokens is {max_tokens}; chunks need at least {SMALLEST_LIMIT}")
    packer = _Packer(document.text, max_tokens, count)
    runs = _runs(document.text, packer.units(document.pieces))
    slices = [cut for run in packer.merged(runs) for cut in packer.cut(run)]
    return [
        (_chunk(document, ordinal, units), packer.size(units))
        for ordinal, units in enumerate(_adopt_headings(packer, slices))
    ]


def _is_data(sample: str) -> bool:
    """Whether a run without blanks is data rather than a word: of many letters, a good part of them no small ones."""
    others = sum(not character.islower() for character in sample)
    return len(set(sample)) >= _DATA_LETTERS and others > 0.15 * len(sample)


def _runs(text: str, units: Iterator[_Unit]) -> Iterator[list[_Unit]]:
    """Group units by section and page: a run starts at a heading that follows text, on each page, and behind data."""
    run: list[_Unit] = []
    for unit in units:
        starts_section = unit.piece.kind is Kind.HEADING and run and run[-1].piece.kind is not Kind.HEADING
        if run and (starts_section or unit.piece.page != run[-1].piece.page or _is_apart(text, run[-1], unit)):
            yield run
            run = []
        run.append(unit)
    if run:
        yield run


def _is_apart(text: str, before: _Unit, after: _Unit) -> bool:
    """Whether something was left out between two units, so that no slice can hold both."""
    return after.start - before.end > _DATA_SHOWN and not text[before.end : after.start].isspace()


def _related(before: Piece, after: Piece) -> bool:
    """Whether the section of `after` is a neighbour of that of `before` under one heading, or lies within it."""
    path, following = before.headings, after.headings
    return following[: len(path)] == path or (len(following) >= len(path) and following[: len(path) - 1] == path[:-1])


class _Packer:
    """Counts and packs the slices of one text under one limit."""

    def __init__(self, text: str, limit: int, count: Callable[[str], int]) -> None:
        self.text = text
        self.limit = limit
        self.count = count
        # What stands between two units is nearly always one of three strings of white space.
        self._gap = lru_cache(maxsize=64)(count)

    def units(self, pieces: tuple[Piece, ...]) -> Iterator[_Unit]:
        for piece in pieces:
            for start, end in self._worded(piece):
                start, end = self._trim(start, end)
                if start < end:
                    size = self.count(self.text[start:end])
                    whole = _Unit(start, end, size, piece)
                    yield from [whole] if size <= self.limit else self._parts(whole, self.limit)

    def _worded(self, piece: Piece) -> Iterator[tuple[int, int]]:
        """The parts of a piece without the data in it, each up to the beginning of what is left out behind it."""
        at = piece.start
        for found in _DATA.finditer(self.text, piece.start, piece.end):
            if _is_data(found[0][:1000]):
                yield at, found.start() + _DATA_SHOWN
                at = found.end()
        yield at, piece.end

    def merged(self, runs: Iterator[list[_Unit]]) -> Iterator[list[_Unit]]:
        """Join a small section with the next one where both fit into one chunk and belong together."""
        pending: list[_Unit] = []
        pending_size = 0
        for run in runs:
            size = self.size(run)
            if (
                pending
                and pending_size * 3 < self.limit
                and pending[-1].piece.page == run[0].piece.page
                and not _is_apart(self.text, pending[-1], run[0])
                and pending_size + size + self._between(pending[-1], run[0]) <= self.limit
                and _related(pending[-1].piece, run[0].piece)
            ):
                pending_size += size + self._between(pending[-1], run[0])
                pending += run
                continue
            if pending:
                yield pending
            pending, pending_size = run, size
        if pending:
            yield pending

    def cut(self, run: list[_Unit]) -> Iterator[list[_Unit]]:
        """Cut a run into parts within the limit, of about the same size, none of which ends with a heading."""
        total = self.size(run)
        # Filling each part to the limit would leave a last one of a few words.
        target = total / max(1, -(-total // self.limit))
        part: list[_Unit] = []
        size = 0
        waiting = run[::-1]
        while waiting:
            unit = waiting.pop()
            grown = size + unit.size + (self._between(part[-1], unit) if part else 0)
            only_headings = all(other.piece.kind is Kind.HEADING for other in part)
            if not part or (grown <= self.limit and (size < target or only_headings)):
                part.append(unit)
                size = grown
                continue
            room = self.limit - size - self._between(part[-1], unit)
            if only_headings and unit.size > room >= self.limit // 3 and unit.end - unit.start > 1:
                # The text under the heading fills a chunk by itself: its first part goes with the heading.
                waiting += reversed(list(self._parts(unit, room)))
                continue
            yield from self._checked(part)
            part, size = [unit], unit.size
        if part:
            yield from self._checked(part)

    def _checked(self, part: list[_Unit]) -> Iterator[list[_Unit]]:
        """The part, or several where the whole counts more than the sum of its units."""
        # Joining two units may add a token to their sum. Well below the limit that cannot matter, and counting is what
        # cutting costs.
        if self.size(part) + len(part) <= self.limit:
            yield part
            return
        while part:
            taken = len(part)
            while taken > 1 and self.count(self.text[part[0].start : part[taken - 1].end]) > self.limit:
                taken -= max(1, taken // 8)
            yield part[:taken]
            part = part[taken:]

    def _parts(self, unit: _Unit, limit: int) -> Iterator[_Unit]:
        """A unit's sentences, and the parts of those sentences that exceed the limit."""
        for start, end in sentences(self.text[unit.start : unit.end]):
            start, end = unit.start + start, unit.start + end
            size = self.count(self.text[start:end])
            if size <= limit:
                yield _Unit(start, end, size, unit.piece)
            else:
                yield from self._pressed(start, end, limit, size, unit.piece)

    def _pressed(self, start: int, end: int, limit: int, size: int, piece: Piece) -> Iterator[_Unit]:
        """Cut a sentence between words, and a word between characters, guessing lengths from its density.

        Counting word by word would cost a megabyte 200,000 counts.
        """
        density = size / (end - start)
        while start < end:
            stop = min(end, start + max(1, int(limit / density)))
            while True:
                stop = end if stop >= end else self._boundary(start, stop)
                size = self.count(self.text[start:stop].strip())
                if size <= limit or stop - start == 1:
                    break
                stop = start + max(1, min(stop - start - 1, int((stop - start) * limit / size * 0.95)))
            density = max(size, 1) / (stop - start)
            left, right = self._trim(start, stop)
            if left < right:
                yield _Unit(left, right, size, piece)
            start = stop

    def _boundary(self, start: int, stop: int) -> int:
        """The last place up to `stop` to cut: behind a word in the last half, else between two characters."""
        half = start + (stop - start) // 2
        if self.text[stop - 1 : stop].isspace() or self.text[stop : stop + 1].isspace():
            return stop
        for at in range(stop - 1, half, -1):
            if self.text[at].isspace():
                return at
        at = stop
        while at > half and _is_inside_character(self.text, at, start):
            at -= 1
        return at if at > half else stop

    def size(self, units: list[_Unit]) -> int:
        gaps = sum(self._between(left, right) for left, right in itertools.pairwise(units))
        return sum(unit.size for unit in units) + gaps

    def _between(self, left: _Unit, right: _Unit) -> int:
        gap = self.text[left.end : right.start]
        return self._gap(gap) if gap else 0

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        part = self.text[start:end]
        return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _is_inside_character(text: str, at: int, start: int) -> bool:
    """Whether a cut at `at` would part what a reader sees as one character, where none is parted at `start`."""
    left, right = text[at - 1], text[at]
    if unicodedata.combining(right) or unicodedata.category(right) in {"Mn", "Me", "Mc"}:
        return True
    # Zero-width joiner, variation selectors and skin tones bind to the left; the joiner binds to the right as well.
    if (
        left == "\u200d"
        or right == "\u200d"
        or "\U0001f3fb" <= right <= "\U0001f3ff"
        or "\U000e0020" <= right <= "\U000e007f"
    ):
        return True
    # Flags are pairs of letters: cutting before an odd one parts a pair.
    if _is_flag_letter(left) and _is_flag_letter(right):
        first = at
        while first > start and _is_flag_letter(text[first - 1]):
            first -= 1
        return (at - first) % 2 == 1
    # Korean syllables that are written in parts.
    return "\u1100" <= left <= "\u11ff" and "\u1160" <= right <= "\u11ff"


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _adopt_headings(packer: _Packer, parts: list[list[_Unit]]) -> Iterator[list[_Unit]]:
    """Join a chunk of headings only to the chunk before it where that fits on the same page.

    A heading at the foot of a page has no text to stay with, and a chunk of three words wins searches it should not.
    """
    pending: list[_Unit] = []
    for part in parts:
        lonely = all(unit.piece.kind is Kind.HEADING for unit in part)
        same_page = bool(pending) and pending[-1].piece.page == part[0].piece.page
        apart = bool(pending) and _is_apart(packer.text, pending[-1], part[0])
        if (
            lonely
            and same_page
            and not apart
            and packer.count(packer.text[pending[0].start : part[-1].end]) <= packer.limit
        ):
            pending = pending + part
            continue
        if pending:
            yield pending
        pending = part
    if pending:
        yield pending


def _chunk(document: Document, ordinal: int, units: list[_Unit]) -> Chunk:
    start, end = units[0].start, units[-1].end
    first = units[0].piece
    told = next((unit.piece for unit in units if unit.piece.kind is not Kind.HEADING), units[-1].piece)
    return Chunk(
        ordinal=ordinal,
        text=document.text[start:end],
        start=start,
        end=end,
        page=first.page,
        headings=told.headings,
        context=_context(document.title, told.headings, first.table_header),
        box=enclosing([unit.piece.box for unit in units if unit.piece.page == first.page]),
    )


def _context(title: str, headings: tuple[str, ...], table_header: str) -> str:
    """Breadcrumb, and the header of the table that the chunk starts in, each on its line and each bounded."""
    steps = [step for step in (_one_line(title), *map(_one_line, headings)) if step]
    if len(steps) > 1 and steps[0].casefold() == steps[1].casefold():
        del steps[0]
    # The innermost heading says most, the title comes next: what lies between goes first.
    while len(" > ".join(steps)) > _BREADCRUMB_LIMIT and len(steps) > 2:
        del steps[1]
    if len(" > ".join(steps)) > _BREADCRUMB_LIMIT:
        steps = [_shortened(step, (_BREADCRUMB_LIMIT - 3) // len(steps)) for step in steps]
    lines = [" > ".join(steps), _shortened(_one_line(table_header), _TABLE_HEADER_LIMIT)]
    return "\n".join(line for line in lines if line)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
