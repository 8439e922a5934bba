"""True claims made false, one change at a time, the same for the same seed: what a check must notice.

The changes: another number, another name, evidence from another document, and the opposite meaning, which is said in
many ways besides "not". The words here are the forger's own and no list that the check reads.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag.types import Hit


@dataclass(frozen=True, slots=True)
class Pair:
    """A true claim, and the passages of one document that say so."""

    claim: str
    passages: tuple[Hit, ...]
    document: str
    question: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Fabrication:
    """A false claim about `passages`. `kind` is what the curve counts, `how` the way in which it was done."""

    kind: str
    how: str
    claim: str
    passages: tuple[Hit, ...]
    pair: Pair


KINDS = ("number", "name", "source", "negation")


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from lines of JSON: {"claim", "evidence": [text or {"text", "title", "source", "headings"}], "document"?,
    "question"?, "language"?}. Without a document, each line is a document of its own.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        given = json.loads(line)
        passages = tuple(_passage(one if isinstance(one, dict) else {"text": one}) for one in given["evidence"])
        document = given.get("document", str(number))
        pairs.append(Pair(given["claim"], passages, document, given.get("question", ""), given.get("language", "en")))
    return pairs


def _passage(given: dict[str, str]) -> Hit:
    text = given["text"]
    headings = tuple(given.get("headings", ()))
    return Hit(given.get("source", ""), "", given.get("title", ""), None, headings, 0, len(text), text, 1.0)


def fabrications(pairs: Sequence[Pair], seed: int = 1) -> Iterator[Fabrication]:
    """For each pair at most one fabrication of each kind, where its words allow it."""
    names = [(pair.document, name) for pair in pairs for name in _names(pair)]
    for number, pair in enumerate(pairs):
        for kind in KINDS:
            chance = random.Random(f"{seed} {number} {kind}")  # noqa: S311  a choice, not a secret
            if made := _MAKERS[kind](pair, pairs, names, chance):
                how, claim, passages = made
                if claim != pair.claim or passages != pair.passages:
                    yield Fabrication(kind, how, claim, passages, pair)


Made = tuple[str, str, tuple[Hit, ...]] | None
Names = Sequence[tuple[str, str]]

_NUMBER = re.compile(r"(?<![\w.])(?!\d\) )\d+(?:[.,]\d+)*")
_NUMERALS = "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty".split()
_ZAHLEN = "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig".split()
_NOMBRES = "deux trois quatre cinq six sept huit neuf dix onze douze vingt trente".split()
_COUNTS = {"en": _NUMERALS, "de": _ZAHLEN, "fr": _NOMBRES}
_MONTHS = (
    "January February March April June July August September October November December".split(),
    "Januar Februar März April Juni Juli August September Oktober November Dezember".split(),
    "janvier février mars avril juin juillet août septembre octobre novembre décembre".split(),
)


def _number(pair: Pair, pairs: Sequence[Pair], names: Names, chance: random.Random) -> Made:
    """Another number of the same form, one that the passages do not hold."""
    counts = _COUNTS.get(pair.language, [])
    months = next((m for m in _MONTHS if re.search(rf"\b(?:{'|'.join(m)})\b", pair.claim)), _MONTHS[0])
    spots: list[tuple[int, int, str]] = [(*m.span(), "digits") for m in _NUMBER.finditer(pair.claim)]
    for how, words in (("word", counts), ("month", months)):
        if words:
            spots += [(*m.span(), how) for m in re.finditer(rf"\b(?:{'|'.join(words)})\b", pair.claim)]
    if not spots:
        return None
    start, end, how = chance.choice(sorted(spots))
    old = pair.claim[start:end]
    there = " ".join(hit.text for hit in pair.passages)
    for _ in range(20):
        new = _other_digits(old, chance) if how == "digits" else chance.choice(counts if how == "word" else months)
        if new != old and not re.search(rf"(?<!\d){re.escape(new)}(?!\d)", there):
            return how, pair.claim[:start] + new + pair.claim[end:], pair.passages
    return None


def _other_digits(old: str, chance: random.Random) -> str:
    """One digit changed, never to a leading zero; a year stays a year."""
    places = [at for at, char in enumerate(old) if char.isdigit()]
    at = chance.choice(places[-2:] if re.fullmatch(r"[12]\d{3}", old) else places)
    digits = [d for d in "0123456789" if d != old[at] and not (d == "0" and at == 0)]
    return old[:at] + chance.choice(digits) + old[at + 1 :]


_NAME = re.compile(r"(?<=[\w,;:)] )[A-ZÄÖÜÉ][\w’'-]*[a-z0-9A-Z](?: (?:of |de |von )?[A-ZÄÖÜÉ][\w-]*[a-z0-9A-Z])*")
_FIRST_NAME = re.compile(r"^(?:[A-ZÄÖÜÉ][\w-]+ ){1,3}(?=[a-z])")
_NO_NAMES = frozenset("I The A An In On If It This These Those When While For By To As At And But".split())


def _names(pair: Pair) -> list[str]:
    """What is written as a name: capitals inside a sentence, two in a row at its start. German writes all nouns so:
    there only what stands behind a title or is two words long.
    """
    found = [m.group() for m in _NAME.finditer(pair.claim)]
    if pair.language == "de":
        return [name for name in found if " " in name]
    if first := _FIRST_NAME.match(pair.claim):
        words = first.group().split()
        if len(words) > 1 and words[0] not in _NO_NAMES:
            found.append(first.group().strip())
    there = " ".join(hit.text for hit in pair.passages)
    if (word := re.match(r"[A-ZÄÖÜÉ][\w-]+", pair.claim)) and re.search(rf"[a-z,] {re.escape(word.group())}\b", there):
        found.append(word.group())
    return [name for name in found if len(name) > 2 and name not in _NO_NAMES and not name.isdigit()]


def _name(pair: Pair, pairs: Sequence[Pair], names: Names, chance: random.Random) -> Made:
    """A name of another document, as many words long where there is one."""
    mine = _names(pair)
    if not mine:
        return None
    old = chance.choice(mine)
    there = " ".join(f"{hit.text} {hit.title} {hit.source}" for hit in pair.passages).casefold()
    others = sorted({n for d, n in names if d != pair.document and n.casefold() not in there and n != old})
    alike = [n for n in others if n.count(" ") == old.count(" ")] or others
    if not alike:
        return None
    return "name", pair.claim.replace(old, chance.choice(alike)), pair.passages


def _source(pair: Pair, pairs: Sequence[Pair], names: Names, chance: random.Random) -> Made:
    """As many passages of another document."""
    others = [other for other in pairs if other.document != pair.document and other.language == pair.language]
    if not others:
        return None
    passages: list[Hit] = []
    while len(passages) < len(pair.passages):
        passages += chance.choice(others).passages
    return "other document", pair.claim, tuple(passages[: len(pair.passages)])


Rule = tuple[str, str, str]  # how, what is looked for, what is put there
_AUX = r"\b(is|are|was|were|can|could|will|would|should|must|may|has been|have been|had been)\b(?! not|n't| never)"
_ACTS = (
    r"(?<=[a-z] )(allow|provide|use|include|offer|require|support|contain|show|help|make|take|reduce|improve|ensure|"
    r"cover|apply|start|run|end|cost|need|enable|achieve|outperform|last|weigh)s\b"
)
_ACTED = (
    r"^(?!.*\b(?:is|are|was|were|been|be|has|have|had)\b)(.*?[a-z] )(began|led|won|lost|became|wrote|argued|signed|"
    r"paid|defeated|announced|increased|used|founded|explored|discovered|created|gained|caused|received|accepted|agreed)\b"
)
_RULES: dict[str, list[Rule]] = {
    "en": [
        ("not", _AUX, r"\1 not"),
        ("never", _AUX, r"\1 never"),
        ("no longer", r"\b(is|are|can|will)\b(?! not|n't)", r"\1 no longer"),
        ("far from", r"\b(is|are|was|were)\b(?! not|n't)", r"\1 by no means"),
        ("does not", _ACTS, r"does not \1"),
        ("fails to", _ACTS, r"fails to \1"),
        ("refused to", _ACTED, r"\1refused to have \2"),
        ("did not", _ACTED, r"\1did not \2"),
        ("dropped", r"\b(can|do|does|did|is|are|was|were|must|will|should|may)(?: not|n't|not)\b", r"\1"),
        ("dropped", r"\bnever ", ""),
        ("dropped", r"\bno longer ", ""),
        ("without", r"\bwithout\b", "with"),
        ("without", r"\bwith\b", "without"),
        ("none of", r"\b(?:all|some|many) (?=[a-z])", "no "),
        ("un-", r"\b(available|able|likely|limited|necessary|supported|successful|usual|changed)\b", r"un\1"),
    ],
    "de": [
        ("not", r"\b(ist|sind|war|waren|darf|dürfen|kann|können|wird|werden|muss|müssen|hat|haben)\b(?! nicht)",
         r"\1 nicht"),
        ("dropped", r"\bnicht ", ""),
        ("without", r"\bmit\b", "ohne"),
        ("none of", r"\bein(e|en|er)?\b", r"kein\1"),
    ],
    "fr": [
        ("not", r"\b(est|sont|était|peut|peuvent|doit|doivent|dure|coûte)\b(?! pas)", r"ne \1 pas"),
        ("dropped", r"\b(?:ne |n')(\w+) pas\b", r"\1"),
        ("without", r"\bavec\b", "sans"),
    ],
}  # fmt: skip
_PUT_IN = frozenset(
    {"not", "never", "no longer", "far from", "does not", "fails to", "refused to", "did not", "none of", "un-"}
)
_DENIED = re.compile(
    r"n't\b|\b(?:not|never|no|none|nor|without|cannot|nothing|nicht|keine?[nmrs]?|ohne|pas|sans|aucune?|jamais)\b", re.I
)
_OPPOSITES = """
increase:decrease increases:decreases increased:decreased increasing:decreasing before:after more:less higher:lower
larger:smaller highest:lowest maximum:minimum improves:worsens improve:worsen faster:slower always:never earliest:latest
allows:prevents allow:prevent enables:prevents includes:excludes accepted:rejected able:unable better:worse
possible:impossible open:closed strong:weak long:short high:low early:late most:least above:below won:lost
north:south east:west inside:outside internal:external largest:smallest old:new rise:fall rose:fell same:different
active:inactive enabled:disabled optional:mandatory easy:difficult easier:harder public:private reduce:increase
reduces:increases reducing:increasing
"""
_OPPOSITE = {a: b for pair in _OPPOSITES.split() for a, b in (pair.split(":"), pair.split(":")[::-1])}


def _negation(pair: Pair, pairs: Sequence[Pair], names: Names, chance: random.Random) -> Made:
    """The opposite: a denial put in or taken out, or a word changed for its opposite."""
    found: list[tuple[str, str]] = []
    denied = _DENIED.search(pair.claim)
    for how, pattern, new in _RULES.get(pair.language, []):
        if denied and how in _PUT_IN:
            continue  # two denials make a claim that nobody can read
        changed = re.sub(pattern, new, pair.claim, count=1)
        if changed != pair.claim:
            found.append((how, changed))
    if pair.language == "en":
        found += [
            ("opposite", pair.claim[: match.start()] + _OPPOSITE[match.group()] + pair.claim[match.end() :])
            for match in re.finditer(r"[a-z]+", pair.claim)
            if match.group() in _OPPOSITE
        ]
    if not found:
        return None
    how = chance.choice(sorted({how for how, _ in found}))
    return how, chance.choice([claim for one, claim in found if one == how]), pair.passages


_MAKERS: dict[str, Callable[[Pair, Sequence[Pair], Names, random.Random], Made]] = {
    "number": _number,
    "name": _name,
    "source": _source,
    "negation": _negation,
}
