"""How far a passage supports a claim, and which of its sentences do: pure, without a model."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from rag.citing.polarity import contradicts
from rag.citing.quantities import Quantity, numbered, quantities
from rag.citing.wording import Words, language, plain, words
from rag.orders import is_order
from rag.quoting import defused
from rag.sentences import sentences
from rag.types import Hit

# No stop at its end, no table row, no "key: value".
_HEADING = re.compile(r"(?:#+[ \t]*)?\w[^\n:|]{0,78}[^\s.!?:;,|…。！？]")
_MOST_SENTENCES = 3  # a fact, its subject and a condition seldom stand further apart
_LEAST_GAIN = 0.08  # what a further sentence must add to the coverage
_NEIGHBOUR = 0.03  # of two that add as much, the one beside the first
_ASKED = 0.1  # of two that hold as much of the claim, the one that also speaks of what was asked
_QUANTITY_WEIGHT = 1.3
_NUMBER_PENALTY, _NAME_PENALTY, _DENIAL_PENALTY = 0.36, 0.4, 0.4
_NEARLY_ALL, _TELLING = 0.7, 2.0  # of a claim's other words, and at least, where its first one is unknown
_GIVEN_PENALTY = 0.8  # for a name or a number that the question brought in
_YEAR = re.compile(r"1\d{3}|20\d\d")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A passage's sentences as words, but for orders; `around` is what a reader knows: source, title, headings."""

    language: str
    spans: tuple[tuple[int, int], ...]
    sentences: tuple[Words, ...]
    stems: tuple[frozenset[str], ...]
    quantities: tuple[tuple[Quantity, ...], ...]
    headings: tuple[bool, ...]  # which of the sentences are some
    rows: tuple[bool, ...]  # which are a table's
    all_stems: frozenset[str]
    all_words: frozenset[str]
    around_words: frozenset[str]
    initials: tuple[str, ...]
    around: frozenset[str]
    around_quantities: tuple[Quantity, ...]
    roots: dict[str, tuple[str, ...]]  # the passage's names by what is left without their endings
    heads: dict[str, tuple[str, ...]]  # its longer stems by how they begin

    def within(self, start: int, end: int) -> list[int]:
        """The sentences of which some lies between two places of the text."""
        return [at for at, (first, last) in enumerate(self.spans) if first < end and start < last]


@lru_cache(maxsize=512)
def _read(text: str, surroundings: str) -> Reading:
    spoken = language(text)
    spans = tuple((start, end) for start, end in sentences(text) if not is_order(defused(text[start:end])))
    parts = tuple(words(text[start:end], spoken) for start, end in spans)
    stems = tuple(frozenset(part.weights) for part in parts)
    near = words(surroundings, spoken)
    lines = surroundings.split("\n")
    all_stems = frozenset().union(*stems)
    names = {plain(part.folded[at]) for part in (*parts, near) for at in part.named}
    return Reading(
        language=spoken,
        spans=spans,
        sentences=parts,
        stems=stems,
        quantities=tuple(
            numbered(quantities(part.folded)) if text[start:end].lstrip("# ") in lines else quantities(part.folded)
            for part, (start, end) in zip(parts, spans, strict=True)
        ),
        headings=tuple(bool(_HEADING.fullmatch(text, start, end)) for start, end in spans),
        rows=tuple(" | " in text[start:end] for start, end in spans),
        all_stems=all_stems,
        all_words=frozenset(plain(word) for part in (*parts, near) for word in part.folded),
        around_words=frozenset(plain(word) for word in near.folded),
        initials=tuple(run for part in parts for run in _initials(part)),
        around=frozenset(near.weights),
        around_quantities=tuple(q for line in lines for q in numbered(quantities(words(line, spoken).folded))),
        roots=_grouped((_root(name), name) for name in names),
        heads=_grouped((stem[:5], stem) for stem in all_stems if len(stem) >= 5),
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key, value in pairs:
        found[key] = (*found.get(key, ()), value)
    return found


def _initials(said: Words) -> list[str]:
    """The first letters of each run of telling words, a name's as capitals."""
    letters = [
        (word[0].upper() if at in said.named else word[0]) if stem else " "
        for at, (word, stem) in enumerate(zip(said.folded, said.stems, strict=True))
    ]
    return [run for run in "".join(letters).split() if len(run) > 2]


def together(first: Reading, second: Reading) -> Reading:
    """Two passages as one: the sentences of the second are counted on from those of the first."""
    return Reading(
        language=first.language,
        spans=first.spans + second.spans,
        sentences=first.sentences + second.sentences,
        stems=first.stems + second.stems,
        quantities=first.quantities + second.quantities,
        headings=first.headings + second.headings,
        rows=first.rows + second.rows,
        all_stems=first.all_stems | second.all_stems,
        all_words=first.all_words | second.all_words,
        around_words=first.around_words | second.around_words,
        initials=first.initials + second.initials,
        around=first.around | second.around,
        around_quantities=first.around_quantities + second.around_quantities,
        roots={key: (*first.roots.get(key, ()), *second.roots.get(key, ())) for key in {*first.roots, *second.roots}},
        heads={key: (*first.heads.get(key, ()), *second.heads.get(key, ())) for key in {*first.heads, *second.heads}},
    )


def read(passage: Hit) -> Reading:
    """A passage taken apart, once for all claims."""
    sources = (passage.source, *(place.source for place in passage.also))
    surroundings = (*(re.sub(r"[/._#-]", " ", source) for source in sources), passage.title, *passage.headings)
    return _read(passage.text, "\n".join(surroundings))


def overlap(claim: str, passage: Reading) -> float:
    """How much of a claim's words and numbers a passage holds as they are: a quick look, to see where to look well."""
    said = words(claim, passage.language)
    known = passage.all_stems | passage.around
    held = sum(weight for stem, weight in said.weights.items() if stem in known)
    for amount in quantities(said.folded):
        held += any(amount.agrees(other) for part in passage.quantities for other in part)
    return held


@dataclass(frozen=True, slots=True)
class Support:
    """What a passage has for a claim: the sentences, as indices, best first, and how far they support it, 0 to 1.

    `coverage` is the share of the claim's telling words and numbers that stand in them. `missing` are its numbers that
    do not, and its names that stand nowhere in the passage; `denied` is the word by which it says the opposite, or "".
    `relevance` is the share of the question's telling words that stand in these sentences.
    """

    chosen: tuple[int, ...]
    coverage: float
    missing: tuple[str, ...]
    denied: str
    score: float
    relevance: float


def supported(claim: str, passage: Reading, asked: str = "", *, near: bool = False) -> Support | None:
    """Find the sentences of a passage that support a claim best; None where no word of it stands there.

    `asked` is the question: a count that it names ("the two methods") needs no evidence, and its own names and numbers
    weigh less where they are missing, unless the evidence has another number of that kind. `near` demands the names in
    these very sentences and not just in the passage.
    """
    said = words(claim, passage.language)
    question = words(asked, passage.language)
    amounts = [q for q in quantities(said.folded) if not q.implied]
    total = sum(said.weights.values()) + _QUANTITY_WEIGHT * len(amounts)
    if not total:
        return None
    names = {said.stems[at] for at in said.named}
    variants = {stem: _variants(stem, stem in names, passage) for stem in said.weights}
    free = sum(w for stem, w in said.weights.items() if variants[stem] & passage.around)
    open_stems = {stem: w for stem, w in said.weights.items() if not variants[stem] & passage.around}
    wanted = question.weights.keys() - said.weights.keys()
    chosen, gained = _choose(open_stems, variants, amounts, wanted, passage)
    if not chosen:
        return None
    zone = [passage.sentences[at] for at in chosen]
    there = [q for at in chosen for q in passage.quantities[at]] + list(passage.around_quantities)
    given = quantities(question.folded)
    counts = [q for q in amounts if q.spelled and _stands(q, given) and not _has_rival(q, there)]
    lost = [q for q in amounts if not _stands(q, there) and q not in counts]
    lost += [q for q in amounts if q not in lost and _borrowed(q, amounts, chosen, said.weights, variants, passage)]
    known = passage.all_words
    if near:
        known = passage.around_words.union(*(map(plain, part.folded) for part in zone))
    strangers = _strangers(said, passage, known)
    if said.opens and 0 not in strangers and _is_of_another(said, variants, passage, known):
        strangers = [0, *strangers]
    denied = contradicts(said, zone, passage.language)
    coverage = min(1.0, (free + gained) / total)
    score = coverage
    if any(not _stands(q, given) or _has_rival(q, there) for q in lost):
        score *= _NUMBER_PENALTY
    elif lost:
        score *= _GIVEN_PENALTY
    if any(said.stems[at] not in question.weights for at in strangers):
        score *= _NAME_PENALTY
    elif strangers:
        score *= _GIVEN_PENALTY
    score *= _DENIAL_PENALTY if denied else 1
    missing = tuple(dict.fromkeys([q.text for q in lost] + [said.folded[at] for at in strangers]))
    spoken = passage.around.union(*(passage.stems[at] for at in chosen))
    shown = tuple(at for at in chosen if at == chosen[0] or not _is_idle(at, chosen, open_stems, variants, passage))
    return Support(shown, coverage, missing, denied, score, len(wanted & spoken) / len(wanted) if wanted else 0.0)


def _has_rival(amount: Quantity, there: Iterable[Quantity]) -> bool:
    """Whether the evidence has another amount of this kind: another price, another length of time, another year."""
    if amount.unit:
        return any(other.unit == amount.unit for other in there)
    return bool(_YEAR.fullmatch(amount.text)) and any(not q.unit and _YEAR.fullmatch(q.text) for q in there)


def _borrowed(
    amount: Quantity,
    amounts: Sequence[Quantity],
    chosen: Sequence[int],
    stems: dict[str, float],
    variants: dict[str, frozenset[str]],
    passage: Reading,
) -> bool:
    """Whether the sentence that tells most of a claim has another amount of this kind, and the claim's own comes from
    elsewhere: "pump | 4 years" and "spare parts | 6 months" are no evidence for a pump's 6 months.

    A neighbour in running text may go on with what the sentence before it began, a table's row does not.
    """
    holders = [at for at in chosen if _stands(amount, passage.quantities[at])]
    if not amount.measures or not holders:
        return False

    def told(at: int) -> float:
        return sum(weight for stem, weight in stems.items() if variants[stem] & passage.stems[at])

    most = max(map(told, holders))
    for at in chosen:
        alike = [q for q in passage.quantities[at] if q.unit == amount.unit and q.measures]
        if at in holders or not alike or any(_stands(other, alike) for other in amounts) or told(at) <= most:
            continue
        if all(abs(holder - at) > 1 or passage.rows[at] for holder in holders):
            return True
    return False


def _is_idle(
    at: int, chosen: Sequence[int], stems: dict[str, float], variants: dict[str, frozenset[str]], passage: Reading
) -> bool:
    """Whether a sentence is a heading that brings no more than one word to what the others hold of a claim."""
    if not passage.headings[at] or passage.quantities[at]:
        return False
    others = frozenset().union(*(passage.stems[other] for other in chosen if other != at))
    brought = (weight for stem, weight in stems.items() if variants[stem] & passage.stems[at] - others)
    return sum(brought) <= 1.0


def _stands(quantity: Quantity, there: Iterable[Quantity]) -> bool:
    return any(quantity.agrees(other) for other in there)


def _variants(stem: str, named: bool, passage: Reading) -> frozenset[str]:
    """The stems of a passage that are this one in another form: evaluat-ion and evaluat-or, Frist and Rückgabefrist.

    A name's only other form is that of its people or language: Italy, Italian.
    """
    alike: set[str] = set()
    if stem in passage.all_stems or stem in passage.around:
        pass
    elif named:
        alike = set(passage.roots.get(_root(stem), ()))
    elif len(stem) >= 5:
        near = passage.heads.get(stem[:5], ())
        alike = {other for other in near if _shared(stem, other) >= 0.7 * min(len(stem), len(other))}
        if passage.language in _COMPOUNDING:
            alike |= {other for other in passage.all_stems if len(other) >= 5 and (stem in other or other in stem)}
    return frozenset({stem, *alike})


_COMPOUNDING = frozenset({"de", "nl", "sv"})
_PEOPLE = re.compile(r"(?:i?an|ean|ish|ese|ain|ia|land|[iyae])$")


@lru_cache(maxsize=65536)
def _root(name: str) -> str:
    """A country's name without the ending that makes its people of it; the name itself where it is too short."""
    root = _PEOPLE.sub("", name)
    return root if len(root) >= 3 else name


def _shared(a: str, b: str) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _choose(
    stems: dict[str, float],
    variants: dict[str, frozenset[str]],
    amounts: Sequence[Quantity],
    wanted: AbstractSet[str],
    passage: Reading,
) -> tuple[tuple[int, ...], float]:
    """The sentences that together hold most of a claim, greedily, and the weight that they hold.

    Of sentences that hold as much, the one with more of the question's other words comes first.
    """
    total = sum(stems.values()) + _QUANTITY_WEIGHT * len(amounts)
    holds: list[dict[object, float]] = []
    for there, numbers in zip(passage.stems, passage.quantities, strict=True):
        held: dict[object, float] = {
            stem: weight if stem in there else 0.7 * weight
            for stem, weight in stems.items()
            if stem in there or variants[stem] & there
        }
        held |= {q: _QUANTITY_WEIGHT for q in amounts if _stands(q, numbers)}
        holds.append(held)
    chosen: list[int] = []
    got: dict[object, float] = {}
    while len(chosen) < min(_MOST_SENTENCES, len(holds)):

        def gain(at: int) -> float:
            new = sum(max(0.0, weight - got.get(item, 0.0)) for item, weight in holds[at].items())
            if chosen and new and abs(at - chosen[0]) == 1:
                new += _NEIGHBOUR * total
            elif not chosen and new and wanted:
                new += _ASKED * total * len(wanted & passage.stems[at]) / len(wanted)
            return new

        best = max((at for at in range(len(holds)) if at not in chosen), key=gain)
        if gain(best) <= (_LEAST_GAIN * total if chosen else 0.0):
            break
        chosen.append(best)
        for item, weight in holds[best].items():
            got[item] = max(weight, got.get(item, 0.0))
    return tuple(chosen), sum(got.values())


def _strangers(said: Words, passage: Reading, known: AbstractSet[str]) -> list[int]:
    """The places of the claim's names that are not among the known words, nor are their initials in the passage."""
    lost = [at for at in sorted(said.named) if not _known(plain(said.folded[at]), known, passage)]
    return [at for at in lost if not _abbreviated(said, at, passage)]


def _is_of_another(said: Words, variants: dict[str, frozenset[str]], passage: Reading, known: AbstractSet[str]) -> bool:
    """Whether a claim's first word stands nowhere, though nearly all others do: another subject for what is said here.

    Who says it in other words changes more of them.
    """
    first = said.stems[0]
    there = {stem for stem in said.weights if variants[stem] & (passage.all_stems | passage.around)}
    if first in there or _known(plain(said.folded[0]), known, passage):
        return False
    others = sum(weight for stem, weight in said.weights.items() if stem != first)
    held = sum(weight for stem, weight in said.weights.items() if stem in there)
    return held >= max(_NEARLY_ALL * others, _TELLING)


def _known(name: str, there: AbstractSet[str], passage: Reading) -> bool:
    """Whether a name is among these words, as it is, with or without a plural s, or as Italy is for Italian."""
    if name in there or f"{name}s" in there or (name.endswith("s") and name[:-1] in there):
        return True
    return any(other in there for other in passage.roots.get(_root(name), ()))


def _abbreviated(said: Words, at: int, passage: Reading) -> bool:
    """Whether a name is the initials of words in the passage, or one of the words whose initials stand there."""
    name = said.folded[at]
    if 3 <= len(name) <= 6 and any(
        name.upper() in initials or (len(name) > 3 and name in initials.lower()) for initials in passage.initials
    ):
        return True
    for length in range(3, 6):
        for start in range(max(0, at - length + 1), min(at, len(said.folded) - length) + 1):
            run = said.folded[start : start + length]
            if all(said.stems[start : start + length]) and "".join(word[0] for word in run) in passage.all_words:
                return True
    return False
