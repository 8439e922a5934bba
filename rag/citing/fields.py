"""Does a passage say what a field of a form says, and where exactly? Pure: no model, no store, no clock."""

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from rag.citing.cite import ENOUGH, Slice
from rag.citing.dates import Moment, dates, stated, tells_time
from rag.citing.evidence import Reading, read, supported
from rag.citing.leaves import Leaf
from rag.citing.polarity import contradicts
from rag.citing.quantities import Quantity, quantities
from rag.citing.wording import Words, words
from rag.types import CitationStatus, Hit

_SHORT = 4  # telling words: of a value with no more of them nearly all must stand there
_NEARLY = 0.75
_BESIDE, _AROUND = 0.6, 0.4  # what a word counts in the sentences beside a value, and in title and headings
_BEFORE, _BEHIND = 2, 1  # sentences beside
_ELSEWHERE = 0.4  # for a number where the field's name is not spoken of, but elsewhere
_LEAST_BOND = 0.12  # with less a passage holds the value, of something else
_RANK_WEIGHT = 0.02  # among equal places the passage that retrieval put first
_NO_UNIT = frozenset({"min", "second", "seconds", "sec"})  # in a name they are a minimum, and what follows the first


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found for a field: VERIFIED with the slices that say it, else UNVERIFIED.

    Unverified, it has the slice with the same value that speaks of something else, if there is one.
    """

    leaf: Leaf
    status: CitationStatus
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Sentences of a passage that hold a value, and how far they speak of its field, 0 to 1."""

    passage: int
    chosen: tuple[int, ...]
    bond: float


def prove(leaf: Leaf, passages: Sequence[Hit], question: str = "", *, hops: bool = False) -> Proof:
    """Look for the sentence or row that states the value, and that as the value of this field.

    A number must stand there in its unit, where the field's name or description has one; a date in any notation; a
    text in its words. The field's words, or the question's, must stand beside it; in a list of objects the words of its
    own and not those of another one. What the question names must be near as well, unless it takes several `hops`.
    """
    if isinstance(leaf.value, bool):
        return _truth(leaf, passages, question, hops=hops)
    spoken = any(_own_words(leaf, reading) & reading.all_stems for reading in map(read, passages))
    found = [
        _Place(index, chosen, bond)
        for index, passage in enumerate(passages)
        for chosen, bond in _places(leaf, passage, question, spoken=spoken, hops=hops)
    ]
    if not found:
        return Proof(leaf, CitationStatus.UNVERIFIED)
    best = max(found, key=lambda place: place.bond - _RANK_WEIGHT * place.passage * (place.bond >= _LEAST_BOND))
    status = CitationStatus.VERIFIED if best.bond >= _LEAST_BOND else CitationStatus.UNVERIFIED
    return Proof(leaf, status, _slices(best, passages))


def _places(
    leaf: Leaf, passage: Hit, question: str, *, spoken: bool, hops: bool
) -> Iterator[tuple[tuple[int, ...], float]]:
    """Where a passage holds a value, with the bond between place and field.

    `spoken` says that the passages use the words of the field's name. Then a number or a date that does not stand
    beside them is suspect, unless it stands in a row of a table, whose header has them.
    """
    reading = read(passage)
    value = str(leaf.value).strip()
    amounts, moment = _amounts(leaf), stated(value)
    texts = [passage.text[start:end] for start, end in reading.spans]
    if amounts or moment:
        for at, text in enumerate(texts):
            there = reading.quantities[at]
            holds = _tells(text, moment, passage) if moment else _agree(amounts, there)
            if holds:
                here = not spoken or " | " in text or _own_words(leaf, reading) & _near(reading, (at,))
                yield (at,), _bond(leaf, reading, (at,), question, hops=hops) * (1.0 if here else _ELSEWHERE)
        return
    plain = value.replace("_", " ")
    literal = _literal(plain)
    holding = [(at,) for at, text in enumerate(texts) if literal.search(text)]
    other = None if holding else _in_other_words(plain, passage, reading, question)
    for chosen in [other] if other else holding:
        yield chosen, _bond(leaf, reading, chosen, question, hops=hops)


def _agree(amounts: Sequence[Quantity], there: Sequence[Quantity]) -> bool:
    return any(amount.agrees(one) for amount in amounts for one in there)


def _own_words(leaf: Leaf, reading: Reading) -> set[str]:
    """The telling words of a field's name, without units."""
    units = _units(leaf.name)
    said = words(" ".join(word for word in leaf.name.split() if word.casefold() not in units), reading.language)
    return {stem for stem, weight in said.weights.items() if weight >= 1}


def _near(reading: Reading, chosen: Sequence[int]) -> set[str]:
    """The words of some sentences and of those beside them."""
    beside = {at + step for at in chosen for step in range(-_BEFORE, _BEHIND + 1)}
    return _tokens(reading.sentences[at] for at in sorted(beside & set(range(len(reading.spans)))))


def _truth(leaf: Leaf, passages: Sequence[Hit], question: str, *, hops: bool) -> Proof:
    """Whether a passage says of a field that it is so, or, of a false one, that it is not, and none says more clearly
    the opposite.
    """
    for_it: list[_Place] = []
    against: list[_Place] = []
    for index, passage in enumerate(passages):
        reading = read(passage)
        language = reading.language
        said = words(leaf.name, language)
        if max(said.weights.values(), default=0.0) < 1:  # "answer", "result": it is the question that it answers
            said = words(question, language)
        total = sum(said.weights.values())
        for at, sentence in enumerate(reading.sentences):
            held = sum(weight for stem, weight in said.weights.items() if stem in reading.stems[at])
            if held >= total / 2 > 0:
                side = against if bool(contradicts(said, [sentence], language)) is leaf.value else for_it
                side.append(_Place(index, (at,), held / total * _bond(leaf, reading, (at,), question, hops=hops)))
    best, worst = (max(side, key=lambda place: place.bond, default=None) for side in (for_it, against))
    if best and best.bond >= _LEAST_BOND and (worst is None or worst.bond <= best.bond):
        return Proof(leaf, CitationStatus.VERIFIED, _slices(best, passages))
    shown = worst if worst and worst.bond >= _LEAST_BOND else best
    return Proof(leaf, CitationStatus.UNVERIFIED, _slices(shown, passages) if shown else ())


def _slices(place: _Place, passages: Sequence[Hit]) -> tuple[Slice, ...]:
    spans = read(passages[place.passage]).spans
    return tuple(Slice(place.passage, *spans[at]) for at in place.chosen)


def _amounts(leaf: Leaf) -> list[Quantity]:
    """A number as it may stand in a text, in each unit that its field's name tells, or else its description."""
    try:
        value = Decimal(str(leaf.value).strip())
    except InvalidOperation:
        return []
    if not value.is_finite() or (isinstance(leaf.value, str) and re.match(r"[+0]\d", leaf.value)):
        return []  # "0042" is a code
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    told = _units(leaf.name) or _units(leaf.about) or ("",)
    return [amount for unit in told for amount in quantities((text, unit) if unit else (text,))[:1]]


@lru_cache(maxsize=512)
def _units(text: str) -> tuple[str, ...]:
    """The words of a field that a number's unit can be; what stands behind "per" is none."""
    said = words(text, "en").folded
    return tuple(
        word
        for before, word in zip(("", *said), said, strict=False)
        if before not in ("per", "a", "each")
        and (len(word) > 1 or word in "€$£%")
        and word not in _NO_UNIT
        and any(one.unit for one in quantities(("1", word)))
    )


def _tells(sentence: str, moment: Moment, passage: Hit) -> bool:
    """Whether a sentence tells a date; the year may stand elsewhere in the passage, its title or its headings."""
    date = moment.date
    there = dates(sentence)
    same_day = date in there
    if not same_day and replace(date, year=None) in there:
        everything = " ".join((passage.source, passage.title, *passage.headings, passage.text))
        same_day = bool(re.search(rf"(?<!\d){date.year}(?!\d)", everything))
    if not same_day or moment.time is None or moment.time == (0, 0):
        return same_day
    return tells_time(sentence, *moment.time)


@lru_cache(maxsize=512)
def _literal(value: str) -> re.Pattern[str]:
    """A value in its own words, however they are spaced."""
    body = r"\s+".join(map(re.escape, value.split()))
    return re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE)


def _in_other_words(value: str, passage: Hit, reading: Reading, question: str) -> tuple[int, ...] | None:
    """The sentences that support a text which stands nowhere as it is: one alone, where it is short."""
    one = supported(value, reading, question)
    if one is None or one.score < ENOUGH:
        return None
    said = words(value, reading.language)
    short = len(said.weights) + len(quantities(said.folded)) <= _SHORT
    if short and (one.score < _NEARLY or len(one.chosen) > 1):
        return None
    there = {(date.month, date.day) for at in one.chosen for date in dates(passage.text[slice(*reading.spans[at])])}
    return one.chosen if {(date.month, date.day) for date in dates(value)} <= there else None


def _bond(leaf: Leaf, reading: Reading, chosen: tuple[int, ...], question: str, *, hops: bool) -> float:
    """How much of what the field and the question speak of stands at a place or beside it, 0 to 1.

    0 where the place speaks of another one of a list's objects, or of nothing that the question names.
    """
    language = reading.language
    here = _tokens(reading.sentences[at] for at in chosen)
    near = _near(reading, chosen)
    known = near | reading.around | {word for word in reading.around_words if word[-1].isdigit()}
    if leaf.subject and not _is_of(leaf, here, near, known, language):
        return 0.0
    asked = words(question, language)
    names = {asked.stems[at] for at in asked.named}
    if not hops and names and 2 * len(names & known) < len(names):
        return 0.0
    own = _tokens([words(str(leaf.value), language)])
    wanted = {
        stem: weight
        for stem, weight in {**asked.weights, **words(leaf.about, language).weights}.items()
        if stem not in own
    }
    wanted |= {word: 1.0 for word in asked.folded if word[-1].isdigit() and word not in own}
    if not wanted:
        return 1.0
    held = sum(
        weight * (1.0 if stem in here else _BESIDE if stem in near else _AROUND if stem in known else 0.0)
        for stem, weight in wanted.items()
    )
    share = held / sum(wanted.values())
    return max(share, _LEAST_BOND) if hops else share  # the words of a later hop's place are known to nobody


def _is_of(leaf: Leaf, here: AbstractSet[str], near: AbstractSet[str], known: AbstractSet[str], language: str) -> bool:
    """Whether a place speaks of the leaf's own object: it is named there or before, and no other one is instead."""
    own = _tokens([words(leaf.subject, language)])
    if own and 2 * len(own & known) < len(own):
        return False
    for text in leaf.others:
        other = _tokens([words(text, language)])
        theirs, mine = other - own, own - other
        if theirs and theirs <= here and not mine & here:
            return False
    return True


def _tokens(parts: Iterator[Words] | Sequence[Words]) -> set[str]:
    """The stems and the numbers of some sentences."""
    return {
        stem or word
        for part in parts
        for word, stem in zip(part.folded, part.stems, strict=True)
        if stem or word[-1].isdigit()
    }
