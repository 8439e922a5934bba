"""An answer in a form that was asked for, with citations for each field: a value, and how it shows."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from rag.display import as_text, printable
from rag.display_html import html_frame, html_note, html_text
from rag.display_markdown import markdown_line, markdown_text
from rag.types import Citation, CitationStatus, Hit, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a form and what was found for it: VERIFIED with the slices that say it, or UNVERIFIED.

    `path` is written as in Python, `items[0].price`. Unverified, `citations` are empty, or hold where the same value
    stands for something else.
    """

    path: str
    value: str | int | float | bool
    status: CitationStatus
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class FormedAnswer(Generic[T]):
    """A form as the documents fill it, which field is supported by what, and what it cost.

    `value` is of the type that was asked for, `json` the same as JSON has it; both are None where `abstained`, and
    `reason` then says why. Null and empty texts claim nothing and are not among the `fields`; `emptied` are the paths
    of those that `strict` set to null. `timings` are in seconds, `usage` in the server's tokens.
    """

    question: str
    value: T | None
    json: Any
    abstained: bool
    fields: tuple[Field, ...]
    hits: tuple[Hit, ...]
    model: str
    reason: str = ""
    emptied: tuple[str, ...] = ()
    usage: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @property
    def citations(self) -> dict[str, tuple[Citation, ...]]:
        """The citations by field path: `answer.citations["items[0].price"]`."""
        return {one.path: one.citations for one in self.fields}

    @property
    def unverified(self) -> tuple[str, ...]:
        """The paths of the fields that no passage supports."""
        return tuple(one.path for one in self.fields if one.status is CitationStatus.UNVERIFIED)

    @property
    def sources(self) -> tuple[Citation, ...]:
        """Every citation once, by its number."""
        found = {citation.n: citation for one in self.fields for citation in one.citations}
        return tuple(found[n] for n in sorted(found))

    @property
    def notice(self) -> str:
        """What the value does not tell: what was left out of it; else ""."""
        return f"Left empty, as no passage supports it: {', '.join(self.emptied)}." if self.emptied else ""

    @property
    def text(self) -> str:
        """The form as lines, `path: value`, with the numbers of the citations."""
        marks = {one.path: _mark(one) for one in self.fields}
        rows = (
            f"{path or 'value'}: {json.dumps(value, ensure_ascii=False)}{marks.get(path, '')}"
            for path, value in _rows(self.json)
        )
        return "The documents do not answer this." if self.abstained else "\n".join(rows)

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag ask --schema FILE --json`, which scripts may rely on."""
        return {
            "question": self.question,
            "value": self.json,
            "abstained": self.abstained,
            "reason": self.reason,
            "emptied": self.emptied,
            "fields": [
                {
                    "path": one.path,
                    "value": one.value,
                    "status": one.status.value,
                    "citations": [citation.n for citation in one.citations],
                }
                for one in self.fields
            ],
            "citations": [citation.to_dict() for citation in self.sources],
            "hits": [hit.to_dict() for hit in self.hits],
            "model": self.model,
            "usage": self.usage,
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
            "steps": [asdict(step) for step in self.steps],
        }

    def to_markdown(self) -> str:
        """The form, a line a field, and a numbered list of its sources; the documents' words show as words."""
        parts = [markdown_text(self.text)]
        parts += [f"*{markdown_line(told)}*" for told in (self.notice, self.reason) if told]
        parts += ["\n".join(citation.to_markdown() for citation in self.sources)]
        return "\n\n".join(parts).rstrip() + "\n"

    def __str__(self) -> str:
        lines = [self.text, *(f"({told})" for told in (self.notice, self.reason) if told)]
        if self.sources:
            lines += ["", *(f"[{c.n}] {c.location} ({c.standing}): “{c.quote}”" for c in self.sources)]
        return printable("\n".join(lines))

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """What a notebook shows: the form, and its sources, which unfold to the quote in its surroundings."""
        parts = [html_text(self.text), *(html_note(told) for told in (self.notice, self.reason) if told)]
        return html_frame([*parts, *(citation.unfolding(self.hits) for citation in self.sources)])


def _mark(one: Field) -> str:
    numbers = "".join(f"[{citation.n}]" for citation in one.citations)
    return f" {numbers}" if one.status is CitationStatus.VERIFIED else " [unverified]"


def _rows(filled: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each single value of a form with its path, empty lists and objects as they are."""
    if isinstance(filled, dict) and filled:
        for name, one in filled.items():
            yield from _rows(one, f"{path}.{name}".removeprefix("."))
    elif isinstance(filled, list) and filled:
        for at, one in enumerate(filled):
            yield from _rows(one, f"{path}[{at}]")
    else:
        yield path, filled
