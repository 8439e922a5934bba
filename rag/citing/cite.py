"""Does a passage support this sentence, and where exactly? Pure: no model, no store, no clock."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from rag.citing.claims import Claim
from rag.citing.evidence import Reading, Support, overlap, read, supported, together
from rag.citing.quantities import Quantity, quantities
from rag.citing.wording import words
from rag.types import Citation, CitationStatus, Hit

# A claim counts as supported from here. Measured with `bench.fabrications`: below it lies whatever has a number or a
# name too much or is denied, above it what stands in the evidence to two fifths and contradicts nothing there.
ENOUGH = 0.42

_LOOKED_AT = 4  # passages that hold most of a claim's words; the others are not worth the time
_QUESTION_WEIGHT = 0.3  # among equal supports, the sentence that also speaks of what was asked
_RANK_WEIGHT = 0.02  # and then the passage that retrieval put first
_NAMED = 2.0  # words that a name or a number of a question counts for
_TWO_PASSAGES = 0.9  # what needs two passages is a little less sure than what one says


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a passage: `passages[passage].text[start:end]`."""

    passage: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What supports a claim best: at least one slice, sentences or rows, the most telling first.

    `coverage` is the share of the claim's telling words and numbers that stand in them, 0 to 1; `missing` are the
    claim's numbers and names that do not stand in the passage, `denied` the word by which it says the opposite of it,
    or "". `score` weighs all of it, 0 to 1.
    """

    slices: tuple[Slice, ...]
    coverage: float
    missing: tuple[str, ...]
    denied: str
    score: float

    @property
    def supports(self) -> bool:
        """Whether it is enough to call the claim supported."""
        return self.score >= ENOUGH


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found for a claim: its status and, unless nothing comes near, its evidence."""

    claim: Claim
    status: CitationStatus
    evidence: Evidence | None


def check(claim: Claim, passages: Sequence[Hit], question: str = "") -> Verdict:
    """Look for the claim's evidence: in the passages that the model named, then in the others.

    VERIFIED where a named passage supports it, or any does when none was named; REPAIRED where only another does;
    UNVERIFIED where none does, with the nearest sentence of a named passage as evidence if there is one.
    """
    named = [n - 1 for n in claim.marked if 1 <= n <= len(passages)]
    if not claim.asserts:
        return Verdict(claim, CitationStatus.UNVERIFIED, None)
    mine = best_evidence(claim.text, passages, question, only=named) if named else None
    if mine is not None and mine.supports:
        return Verdict(claim, CitationStatus.VERIFIED, mine)
    best = best_evidence(claim.text, passages, question)
    if best is not None and best.supports:
        return Verdict(claim, CitationStatus.REPAIRED if named else CitationStatus.VERIFIED, best)
    return Verdict(claim, CitationStatus.UNVERIFIED, mine)


def cited(part: Slice, passages: Sequence[Hit], status: CitationStatus, n: int) -> Citation:
    """A piece of a passage as the citation with the number `n`."""
    hit = passages[part.passage]
    return Citation(
        n=n,
        source=hit.source,
        page=hit.page,
        headings=hit.headings,
        start=hit.start + part.start,
        end=hit.start + part.end,
        quote=hit.text[part.start : part.end],
        status=status,
        also=hit.also,
        box=hit.box,
    )


def support(claim: str, passages: Sequence[Hit], question: str = "") -> float:
    """How far the passages support a claim, 0 to 1; from ENOUGH on it counts as supported."""
    best = best_evidence(claim, passages, question)
    return best.score if best else 0.0


def best_evidence(
    claim: str, passages: Sequence[Hit], question: str = "", only: Sequence[int] | None = None
) -> Evidence | None:
    """The sentences of a passage that best support a claim, or of two where no single one does; None where no word
    agrees. `only` are the passages to look in, as indices.
    """
    readings = {index: read(passages[index]) for index in (only if only is not None else range(len(passages)))}
    if len(readings) > _LOOKED_AT:
        held = {index: overlap(claim, reading) for index, reading in readings.items()}
        near = sorted(held, key=lambda index: -held[index])[:_LOOKED_AT]
        readings = {index: readings[index] for index in sorted(near)}
    found = {index: one for index, reading in readings.items() if (one := supported(claim, reading, question))}
    if not found:
        return None

    def rank(index: int) -> tuple[bool, float]:
        one = found[index]
        return one.score >= ENOUGH, one.score + _QUESTION_WEIGHT * one.relevance - _RANK_WEIGHT * index

    best = max(found, key=rank)
    if found[best].score >= ENOUGH or found[best].denied:
        return _evidence(found[best], readings[best], [best] * len(readings[best].spans), 1.0)
    return _of_two(claim, found, readings, question) or _evidence(
        found[best], readings[best], [best] * len(readings[best].spans), 1.0
    )


def _of_two(claim: str, found: dict[int, Support], readings: dict[int, Reading], question: str) -> Evidence | None:
    """Evidence from the passage that holds most of the claim together with another one, if that is enough."""
    first = max(found, key=lambda index: found[index].coverage)
    best: Evidence | None = None
    for second in found:
        if second == first or readings[second].language != readings[first].language:
            continue
        both = together(readings[first], readings[second])
        one = supported(claim, both, question, near=True)
        if one is None or one.score * _TWO_PASSAGES < max(ENOUGH, best.score if best else 0.0):
            continue
        owners = [first] * len(readings[first].spans) + [second] * len(readings[second].spans)
        best = _evidence(one, both, owners, _TWO_PASSAGES)
    return best


def _evidence(one: Support, reading: Reading, owners: Sequence[int], weight: float) -> Evidence:
    """The chosen sentences as slices, neighbours joined, the one chosen first in front."""
    slices: list[Slice] = []
    for at in sorted(one.chosen):
        start, end = reading.spans[at]
        if slices and at - 1 in one.chosen and slices[-1].passage == owners[at]:
            slices[-1] = Slice(owners[at], slices[-1].start, end)
        else:
            slices.append(Slice(owners[at], start, end))
    start = reading.spans[one.chosen[0]][0]
    slices.sort(key=lambda part: not (part.passage == owners[one.chosen[0]] and part.start <= start < part.end))
    return Evidence(tuple(slices), one.coverage, one.missing, one.denied, one.score * weight)


def relevance(question: str, passage: Hit, *, alone: bool = False) -> float:
    """How much of what a question asks for stands in a passage, its headings or its name: 0 to 1; in its words `alone`.

    The share of the question's telling words, its names and numbers counting double; 1 where it has none.
    """
    reading = read(passage)
    there = [q for part in reading.quantities for q in part]
    if alone:
        return _share(question, reading.language, reading.all_stems, there)
    around = reading.all_stems | reading.around
    return _share(question, reading.language, around, [*there, *reading.around_quantities])


def sentences_of(passages: Sequence[Hit]) -> list[Slice]:
    """Every sentence and row of passages."""
    return [Slice(at, *span) for at, passage in enumerate(passages) for span in read(passage).spans]


def says_of(question: str, slices: Sequence[Slice], passages: Sequence[Hit], named_in: Sequence[Slice] = ()) -> float:
    """How much of what a question asks for stands in slices of passages, under their headings: 0 to 1.

    Its names may stand in `named_in` as well: "she" is who the sentence before spoke of.
    """
    language = read(passages[slices[0].passage]).language
    weights, _ = _asked(question, language)
    named = {stem for stem, weight in weights.items() if weight == _NAMED}
    stems = _stems(slices, passages).union(named & _stems(named_in, passages))
    readings = [(read(passages[part.passage]), part) for part in slices]
    there = [q for one, part in readings for at in one.within(part.start, part.end) for q in one.quantities[at]]
    return _share(question, language, stems, [*there, *(q for one, _ in readings for q in one.around_quantities)])


def _stems(slices: Sequence[Slice], passages: Sequence[Hit]) -> frozenset[str]:
    found: set[str] = set()
    for part in slices:
        reading = read(passages[part.passage])
        found |= reading.around.union(*(reading.stems[at] for at in reading.within(part.start, part.end)))
    return frozenset(found)


def asks_for(question: str, language: str) -> float:
    """How many telling words a question has, its names and numbers counting double."""
    weights, amounts = _asked(question, language)
    return sum(weights.values()) + _NAMED * len(amounts)


def _asked(question: str, language: str) -> tuple[dict[str, float], tuple[Quantity, ...]]:
    asked = words(question, language)
    named = {asked.stems[at] for at in asked.named}
    return {stem: _NAMED if stem in named else 1.0 for stem in asked.weights}, quantities(asked.folded)


def _share(question: str, language: str, stems: Set[str], there: Sequence[Quantity]) -> float:
    total = asks_for(question, language)
    weights, amounts = _asked(question, language)
    found = sum(weight for stem, weight in weights.items() if stem in stems)
    found += _NAMED * sum(any(amount.agrees(other) for other in there) for amount in amounts)
    return found / total if total else 1.0
