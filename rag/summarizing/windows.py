"""A document in parts that a model can read at once: windows that follow its headings. Pure.

All sizes are tokens by `prompt_count`; what they are to a model, its TokenScale knows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from rag.packing import packed, question_cost
from rag.quoting import quoted, quoted_line
from rag.store.schema import DocumentRow
from rag.tokens import prompt_count
from rag.types import Hit, enclosing

_PASSAGE = 1500  # characters: what evidence is looked for in, and what unfolds around a quote
_ENOUGH = 0.75  # of its share: a window that holds as much ends before the next heading


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring passages of one document, each on one page and under one path of headings."""

    passages: tuple[Hit, ...]

    @property
    def text(self) -> str:
        """What a model reads: the passages, their headings above them where these change and do not stand in them."""
        lines: list[str] = []
        above: tuple[str, ...] = ()
        for passage in self.passages:
            if passage.headings != above and passage.headings and passage.headings[-1] not in passage.text:
                lines.append(f"({quoted_line(' > '.join(passage.headings))})")
            above = passage.headings
            lines.append(quoted(passage.text))
        return "\n".join(lines)

    @property
    def names(self) -> frozenset[str]:
        """Its titles and headings, as `bare` makes them: what repeats them says nothing."""
        return frozenset(bare(name) for one in self.passages for name in (one.title, *one.headings))

    def halves(self) -> "tuple[Window, Window]":
        """A window of several passages as two."""
        middle = len(self.passages) // 2
        return Window(self.passages[:middle]), Window(self.passages[middle:])


def bare(text: str) -> str:
    """A text without what may stand around it as a heading: numbers, signs, case."""
    return text.strip(" #*_.:-0123456789").casefold()


def passages(row: DocumentRow, text: str, chunks: Sequence[Mapping[str, Any]]) -> list[Hit]:
    """All of a document as passages, `text[start:end]`: chunks that follow one another under the same headings."""
    found: list[Hit] = []
    for chunk in chunks:
        start, end, headings = int(chunk["start"]), int(chunk["end"]), tuple(chunk["headings"])
        box = tuple(chunk["box"]) if chunk["box"] else None
        last = found[-1] if found else None
        if last and (last.page, last.headings) == (chunk["page"], headings) and end - last.start <= _PASSAGE:
            end = max(end, last.end)
            found[-1] = replace(last, end=end, text=text[last.start : end], box=enclosing([last.box, box]))
            continue
        found.append(
            Hit(
                source=row.source,
                document_id=row.id,
                title=row.title,
                page=chunk["page"],
                headings=headings,
                start=start,
                end=end,
                text=text[start:end],
                score=1.0,
                box=box,
                metadata=row.metadata,
            )
        )
    return found


def windows(found: Sequence[Hit], room: int) -> list[Window]:
    """A document's passages in windows of at most `room` tokens, about equally full.

    A window ends where it is full, or before a heading once it is three quarters full. A passage that is longer than a
    window is cut behind a sentence.
    """
    sized = [(piece, cost(piece)) for passage in found for piece in _fitting(passage, room)]
    total = sum(size for _, size in sized)
    share = total / max(1, ceil(total / room))
    ended: list[Window] = []
    begun: list[Hit] = []
    used = 0
    for piece, size in sized:
        at_heading = begun and total > room and used >= _ENOUGH * share and piece.headings != begun[-1].headings
        if begun and (at_heading or used + size > room):
            ended.append(Window(tuple(begun)))
            begun, used = [], 0
        begun.append(piece)
        used += size
    return [*ended, Window(tuple(begun))] if begun else ended


def cost(passage: Hit) -> int:
    """What a passage takes in a window, at most."""
    return prompt_count(Window((passage,)).text) + 1


def _fitting(passage: Hit, room: int) -> Iterator[Hit]:
    while passage.text.strip() and cost(passage) > room:
        # `packed` counts its own prompt and the passage's name, so what it keeps fits here with ease.
        head = packed("", [passage], room + question_cost(""))[0]
        yield head
        cut = head.end - passage.start
        passage = replace(passage, start=head.end, text=passage.text[cut:])
    if passage.text.strip():
        yield passage
