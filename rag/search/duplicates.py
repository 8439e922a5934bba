"""The same passage in several places is one passage: told by its words in their order, not by nearness of meaning.

Two passages may be as near as vectors can be and say the opposite: "within 30 days" and "within 14 days", "is covered"
and "is not covered". So one counts as a copy of another only where it adds no number, no name, no negation and no other
word in a word's place.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property

from rag.store.search import Found
from rag.types import Place

LOOKED_AT = 12  # best candidates that are compared at least
_WITH_COPIES = 24  # where there are copies among them: one lower down is not worth the time
_SHINGLE = 3  # words
# Of a copy's shingles, this share stands in the original, or the two are not worth aligning. One word more in a
# sentence of thirty breaks a tenth of its shingles.
_SHARED = 0.6
_LONGEST_ALIGNMENT = 100_000  # pairs of equal words; hostile texts of one word have more, and no use
# Words. In an annual report whole pages come twice, and a question wants one of them: leaving out the second cost six
# points of the recall of gold excerpts, and small tables still did at thirty words.
_REPEATED_LINE = 15
_MOST = 0.5  # of the original's words a copy has, or "also in" would promise too much
_PLAIN_SHARE = 0.05  # of the words: how many plain ones may be more, or fewer, in a copy
_AS_GOOD = 0.95  # of the score: a copy in a document that is shown already may stand for the best one

# Marks of quoting, and lines that only say who is quoted.
_QUOTED = re.compile(r"^[ \t]*>[> \t]*", re.MULTILINE)
_ATTRIBUTION = re.compile(
    r"^.{0,200}\b(?:wrote|schrieb|a écrit|escribió|ha scritto|schreef|escreveu)\b.{0,80}:\s*$", re.MULTILINE
)
_BROKEN_WORD = re.compile(r"(?<=[^\W\d_])-\n[ \t]*(?=[^\W\d_])")
# A number with its sign and its separators, a word, or a sign that changes what the words beside it say.
_TOKEN = re.compile(r"(?<!\w)[-+−±]?\d+(?:[.,:/]\d+)*|[^\W\d_]+|\d+(?:[.,:/]\d+)*|[!=<>]=|[<>≤≥≠≈±%‰€$£¥]")
_BETWEEN = {code: " " for code in range(128) if not chr(code).isalnum()}
_RUN = re.compile(r"[^\W_]+")  # the same where there are other letters
# Words that turn or narrow what is said, where one more or one fewer of them matters.
_TURNS = frozenset(
    "no not non none nor never neither cannot nothing without except excluding unless only until but if may must shall "
    "should might could would all any some every each more less least most n t "
    "nicht kein keine keinen keinem keiner nie niemals nichts ohne außer ausser nur sofern falls weder noch muss "
    "müssen darf dürfen soll sollen kann können alle jede jeder jedes mehr weniger "
    "ne pas jamais aucun aucune rien sans sauf ni seulement si doit peut tous toutes plus moins "
    "nunca jamás sin excepto salvo ningún ninguna nada solo sólo debe puede todos todas más menos "
    "mai senza tranne eccetto nessun nessuna solo se deve può tutti tutte più meno "
    "não nem sem exceto nenhum nenhuma só somente se deve pode todos todas mais menos "
    "niet geen nooit zonder behalve tenzij alleen moet mag alle meer minder".split()
)


@dataclass(frozen=True, slots=True)
class Distinct:
    """A ranking in which each passage stands once. `copies` are the others, by the id of the one that stands for them,
    best first."""

    ranked: list[tuple[Found, float]]
    copies: dict[str, list[Found]]


class _Words:
    """A candidate's words, as they are compared and as they are written."""

    def __init__(self, found: Found, score: float) -> None:
        self.found = found
        self.score = score
        text = found.text if found.text.isascii() else unicodedata.normalize("NFKC", found.text).replace("\u00ad", "")
        if ">" in text:
            text = _unquoted(text)
        if "-\n" in text:
            text = _BROKEN_WORD.sub("", text)
        self._text = text

    @cached_property
    def written(self) -> list[str]:
        return _TOKEN.findall(self._text)

    @cached_property
    def folded(self) -> tuple[str, ...]:
        return tuple(map(str.casefold, self.written))

    @cached_property
    def shingles(self) -> frozenset[int]:
        """Each run of three words, as its hash; the whole where it has fewer, none where it has no word.

        Tuples would be ten thousand objects a search, and make Python's collector look at all of a large index's.
        Words are what lies between other signs: in a fifth of the time that it takes to tell the words that count.
        """
        text = self._text.casefold()
        words = text.translate(_BETWEEN).split() if text.isascii() else _RUN.findall(text)
        runs = zip(*(words[offset:] for offset in range(_SHINGLE)), strict=False)
        return frozenset(map(hash, runs)) or frozenset({hash(tuple(words))} if words else ())

    @cached_property
    def section(self) -> str:
        """The innermost heading below the document's own, which often names its version; "" where there is none."""
        return " ".join(self.found.headings[-1].casefold().split()) if len(self.found.headings) > 1 else ""


def _unquoted(text: str) -> str:
    """The text without marks of quoting, where most of its lines have one: else a sign may mean "more than"."""
    told = _ATTRIBUTION.sub("", text).strip()
    plain, marks = _QUOTED.subn("", told)
    return plain if 2 * marks > len(told.splitlines()) else text


def distinct(ranked: Iterable[tuple[Found, float]], wanted: int) -> Distinct:
    """The first `wanted` passages of a ranking that differ, or more, best first, each with its copies.

    A passage is a copy of a better one where it says nothing that the other does not: the same words in the same order
    (case, punctuation, line breaks, hyphens at line ends and marks of quoting set aside), all of them within the other
    and most of it, with a twentieth of plain words more or fewer; within one document only a line that repeats. Where
    several are the same word for word and about as good, the one stands for all whose document is in the list already,
    so that neighbours can be joined.
    """
    kept: list[_Words] = []
    copies: dict[int, list[_Words]] = {}
    shingles: set[int] = set()  # of all that are kept
    for number, (found, score) in enumerate(ranked, 1):
        words = _Words(found, score)
        original = next((at for at in _likely(words, kept, shingles) if _is_copy(words, kept[at])), None)
        if original is None:
            shingles |= words.shingles
            kept.append(words)
        else:
            copies.setdefault(original, []).append(words)
        if len(kept) >= wanted and number >= (_WITH_COPIES if copies else LOOKED_AT):
            break  # without asking for another, which would have to be read
    return _with_neighbours_first(kept, copies)


def _likely(words: _Words, kept: Sequence[_Words], shingles: set[int]) -> Iterator[int]:
    """The kept ones that share most of a candidate's shingles, best first."""
    least = _SHARED * len(words.shingles)
    if words.shingles and len(words.shingles & shingles) >= least:
        yield from (at for at, other in enumerate(kept) if len(words.shingles & other.shingles) >= least)


def _is_copy(copy: _Words, original: _Words) -> bool:
    """Whether `copy` says nothing that `original` does not."""
    mine, theirs = copy.found, original.found
    if mine.document_id == theirs.document_id:
        # Where a passage stands within its document is part of what it says, and what overlaps will be joined: only
        # lines that repeat, as running heads do, are copies here.
        overlap = mine.start < theirs.end and theirs.start < mine.end
        return (
            copy.folded == original.folded
            and len(copy.folded) <= _REPEATED_LINE
            and mine.headings == theirs.headings
            and not overlap
        )
    if copy.section and original.section and copy.section != original.section:
        return False
    return copy.folded == original.folded or _holds(original, copy)


def _holds(original: _Words, copy: _Words) -> bool:
    """Whether the copy's words stand within the original's, of which they are most, but for a few plain ones."""
    if len(copy.folded) < _MOST * len(original.folded):
        return False
    there, here = Counter(original.folded), Counter(copy.folded)
    if sum(count * there[word] for word, count in here.items()) > _LONGEST_ALIGNMENT:
        return False
    steps = SequenceMatcher(None, original.folded, copy.folded, autojunk=False).get_opcodes()
    if steps and steps[0][0] == "delete":  # what the original says before and after
        del steps[0]
    if steps and steps[-1][0] == "delete":
        del steps[-1]
    plain = 0
    for what, start, end, begin, stop in steps:
        if what == "equal":
            continue
        fewer, more = original.written[start:end], copy.written[begin:stop]
        if fewer and more:
            # A word in another's place is another passage, unless only a blank or a hyphen is: "e-mail", "email".
            if "".join(fewer).casefold() != "".join(more).casefold():
                return False
            continue
        if not all(map(_is_plain, fewer or more)):
            return False
        plain += len(fewer) + len(more)
    return plain <= _PLAIN_SHARE * len(copy.folded)


def _is_plain(word: str) -> bool:
    """Whether a word is no number, no name, no sign and none that turns what is said."""
    return word.islower() and word.isalpha() and word not in _TURNS


def _with_neighbours_first(kept: Sequence[_Words], copies: dict[int, list[_Words]]) -> Distinct:
    """The ranking, each group of copies with the one in front that stands in a document which is shown already."""
    ranked: list[tuple[Found, float]] = []
    others: dict[str, list[Found]] = {}
    shown: set[str] = set()
    for at, first in enumerate(kept):
        group = copies.get(at, [])
        chosen = first
        if first.found.document_id not in shown:
            alike = (one for one in group if one.folded == first.folded and one.score >= _AS_GOOD * first.score)
            chosen = next((one for one in alike if one.found.document_id in shown), first)
        shown.add(chosen.found.document_id)
        ranked.append((chosen.found, first.score))
        if rest := [one.found for one in (first, *group) if one is not chosen]:
            others[chosen.found.id] = rest
    return Distinct(ranked, others)


def places(copies: Sequence[Found], sources: dict[str, str]) -> tuple[Place, ...]:
    """Where copies stand, in their order, those that follow one another as one; `sources` by document id."""
    found: list[tuple[Place, int, int]] = []  # with the first and the last ordinal
    for copy in sorted(copies, key=lambda copy: copy.ordinal):
        source = sources[copy.document_id]
        for at, (place, first, last) in enumerate(found):
            if (place.source, place.page) == (source, copy.page) and copy.ordinal == last + 1:
                found[at] = (replace(place, end=copy.end), first, copy.ordinal)
                break
        else:
            found.append((Place(source, copy.page, copy.start, copy.end), copy.ordinal, copy.ordinal))
    order = {source: rank for rank, source in reversed(list(enumerate(sources[copy.document_id] for copy in copies)))}
    return tuple(place for place, *_ in sorted(found, key=lambda item: (order[item[0].source], item[0].start)))


def quoted_again(quote: str, text: str, near: Place) -> Place | None:
    """Where the quote's words stand within a place of a document's text; None where they do not.

    White space may differ, and marks of quoting at the beginning of lines.
    """
    between = r"\s+(?:>\s*)*"
    pattern = between.join(re.escape(word) for word in _QUOTED.sub("", quote).split())
    found = re.compile(pattern).search(text, near.start, near.end)
    return replace(near, start=found.start(), end=found.end()) if found else None
