"""Sentences about documents, and where the documents say so: pure."""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

from rag.citing.cite import Verdict, check, relevance
from rag.citing.claims import Claim, claims, refuses
from rag.citing.evidence import overlap, read
from rag.quoting import quoted_line
from rag.summarizing.windows import Window, bare
from rag.tokens import prompt_count
from rag.types import CitationStatus, Hit

_LOOKED_AT = 8  # passages that hold most of a sentence's words; the others are not worth the time
_LEAST_RELEVANCE = 0.25  # as with answers
_LONGEST = 300  # characters of a note as it is read again
_QUOTING = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
_LEAD = re.compile(r"\A\W*(?:sure|certainly|here (?:is|are)|here's|this is|summary)\b[^.:\n]{0,80}:\W*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that is supported by one of these windows."""

    text: str
    windows: tuple[Window, ...]

    @property
    def line(self) -> str:
        """How a model reads it."""
        return f"> {quoted_line(self.text, _LONGEST)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """Sentences with their verdicts, whose slices are of these passages."""

    verdicts: tuple[Verdict, ...]
    passages: tuple[Hit, ...]

    @property
    def supported(self) -> "Checked":
        """Without what no passage supports."""
        verdicts = (verdict for verdict in self.verdicts if verdict.status is not CitationStatus.UNVERIFIED)
        return Checked(tuple(verdicts), self.passages)

    def __add__(self, other: "Checked") -> "Checked":
        places = range(len(self.passages), len(self.passages) + len(other.passages))
        moved = (_moved(verdict, places) for verdict in other.verdicts)
        return Checked((*self.verdicts, *moved), (*self.passages, *other.passages))


def checked(said: str, windows: Sequence[Window], most: int, about: str = "") -> Checked:
    """The first `most` statements of what was said, each with its evidence in these windows.

    What has nothing to do with `about` is left out.
    """
    passages = tuple(passage for window in windows for passage in window.passages)
    found = _statements(said, frozenset().union(*(window.names for window in windows)))[:most]
    # Passage by passage, for each is taken apart only once that way, however many there are.
    held = [[overlap(claim.text, reading) for claim in found] for reading in map(read, passages)]
    verdicts = []
    for at, claim in enumerate(found):
        near = sorted(range(len(passages)), key=lambda index: -held[index][at])[:_LOOKED_AT]
        near.sort()
        verdict = _moved(check(claim, [passages[index] for index in near], about), near)
        if not about or _speaks_of(about, verdict, passages):
            verdicts.append(verdict)
    return Checked(tuple(verdicts), passages)


def _statements(said: str, names: Set[str]) -> list[Claim]:
    """The sentences that claim something, each once, without markers; one that repeats a name or a heading does not."""
    found: dict[str, Claim] = {}
    for claim in claims(_LEAD.sub("", _QUOTING.sub("", said))):
        if claim.asserts and not refuses(claim.text) and bare(claim.text) not in names:
            found.setdefault(bare(claim.text), replace(claim, marked=()))
    return list(found.values())


def fitting(notes: Sequence[Note], room: int) -> Iterator[list[Note]]:
    """The notes in groups of at most `room` tokens, and of two at least."""
    group: list[Note] = []
    used = 0
    for note in notes:
        size = prompt_count(note.line) + 1
        if len(group) > 1 and used + size > room:
            yield group
            group, used = [], 0
        group.append(note)
        used += size
    if group:
        yield group


def _speaks_of(about: str, verdict: Verdict, passages: Sequence[Hit]) -> bool:
    """Whether a sentence, or what supports it, has to do with a subject."""
    slices = verdict.evidence.slices if verdict.evidence else ()
    evidence = [replace(passages[at.passage], text=passages[at.passage].text[at.start : at.end]) for at in slices]
    said = replace(passages[0], text=verdict.claim.text, source="", title="", headings=(), also=())
    return max(relevance(about, one) for one in (said, *evidence)) >= _LEAST_RELEVANCE


def _moved(verdict: Verdict, places: Sequence[int]) -> Verdict:
    """The verdict where each of its passages has another place."""
    if verdict.evidence is None:
        return verdict
    slices = tuple(replace(part, passage=places[part.passage]) for part in verdict.evidence.slices)
    return replace(verdict, evidence=replace(verdict.evidence, slices=slices))
