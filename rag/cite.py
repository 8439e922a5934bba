"""Does this passage support this sentence, and where exactly? Pure: no model, no store, no clock."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rag.sentences import sentences
from rag.types import CitationStatus, Hit

# A claim counts as supported where this share of its content words stands in the evidence. Low enough for a
# paraphrase, and of no effect on numbers, which must all be there.
_COVERAGE = 0.6
_QUESTION_WEIGHT = 0.3  # among equal supports, the sentence that also speaks of what was asked
_RANK_WEIGHT = 0.02  # and then the passage that retrieval put first

_MARKER = re.compile(
    r"\s?(?:\[{1,2}|【|［)\s*(\d{1,2}(?:\s*[,;，]\s*\d{1,2})*)(?:†[^\]】］]{0,40})?\s*(?:\]{1,2}|】|］)"
)
_WORD = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+", re.UNICODE)
_THOUSANDS = re.compile(r"^\d{1,3}(?:[,.]\d{3})+$")

_STOP = frozenset(
    "a an and are as at be been but by can do does for from had has have how if in into is it its may must not of "
    "on or shall should so such than that the their them then there these they this those to was were what when "
    "where which who whom why will with would you your we our i he she his her der die das den dem des ein eine "
    "einer eines einem einen und oder ist sind war wird werden wie was wer wo wann welche welcher welches in im "
    "am an auf aus bei mit nach von vom zu zum zur für über unter nicht es er sie sich auch dass le la les un une "
    "des du de et est sont que qui quoi dans sur pour par au aux avec ne pas il elle".split()
)

REFUSAL = re.compile(
    r"\b(i (do not|don't|dont) know|not (mentioned|specified|stated|provided|given|available|found)|"
    r"(does|do) not (say|mention|specify|state|provide|contain|include)|"
    r"doesn't (say|mention|specify|state|provide|contain)|"
    r"no (information|mention)|cannot (be )?(answer|determine|find|found)|can't (answer|determine|find)|"
    r"unable to (answer|determine|find))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The slice of a passage that supports a claim best: `hit.text[start:end]`.

    `coverage` is the share of the claim's content words that stand in it, 0 to 1; `missing` are the claim's numbers
    that do not, and its names that stand nowhere in the passage.
    """

    passage: int  # index into the passages
    start: int
    end: int
    coverage: float
    missing: tuple[str, ...]
    score: float

    @property
    def supports(self) -> bool:
        """Whether it is enough to call the claim supported."""
        return self.coverage >= _COVERAGE and not self.missing


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of an answer, without the model's markers, and the passages that those named (from 1)."""

    text: str
    marked: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found for a claim: its status and, unless nothing comes near, its evidence."""

    claim: Claim
    status: CitationStatus
    evidence: Evidence | None


def claims(answer: str) -> list[Claim]:
    """An answer's sentences in order; a marker behind a full stop belongs to the sentence before it."""
    moved = re.sub(rf"([.!?])((?:{_MARKER.pattern})+)", lambda found: f"{found[2]}{found[1]}", answer)
    found = []
    for start, end in sentences(moved):
        sentence = moved[start:end]
        marked = tuple(dict.fromkeys(int(n) for m in _MARKER.finditer(sentence) for n in re.findall(r"\d+", m[1])))
        if text := _MARKER.sub("", sentence).strip():
            found.append(Claim(text, marked))
    return found


def without_markers(answer: str) -> str:
    """The answer without the model's own markers."""
    return _MARKER.sub("", answer)


def refuses(answer: str) -> bool:
    """Whether the model says, in its first sentence, that it cannot answer."""
    spans = sentences(answer)
    return not spans or bool(REFUSAL.search(answer[slice(*spans[0])].replace("’", "'")))


def check(claim: Claim, passages: Sequence[Hit], question: str = "") -> Verdict:
    """Look for the claim's evidence: in the passages that the model named, then in the others.

    VERIFIED where a named passage supports it, or any does when none was named; REPAIRED where only another does;
    UNVERIFIED where none does, with the nearest sentence of a named passage as evidence if there is one.
    """
    best = best_evidence(claim.text, passages, question)
    named = [n - 1 for n in claim.marked if 1 <= n <= len(passages)]
    if not named:
        if best is not None and best.supports:
            return Verdict(claim, CitationStatus.VERIFIED, best)
        return Verdict(claim, CitationStatus.UNVERIFIED, None)
    mine = best_evidence(claim.text, passages, question, only=named)
    if mine is not None and mine.supports:
        return Verdict(claim, CitationStatus.VERIFIED, mine)
    if best is not None and best.supports:
        return Verdict(claim, CitationStatus.REPAIRED, best)
    return Verdict(claim, CitationStatus.UNVERIFIED, mine)


def best_evidence(
    claim: str, passages: Sequence[Hit], question: str = "", only: Sequence[int] | None = None
) -> Evidence | None:
    """The sentence, row, or two neighbouring sentences that best support a claim; None where no word agrees."""
    words, numbers = _content(claim)
    if not words and not numbers:
        return None
    asked = _content(question)[0] - words
    names = _names(claim)
    best: Evidence | None = None
    for index in only if only is not None else range(len(passages)):
        passage = passages[index]
        around = _content(_surroundings(passage))[0]
        strangers = names - _content(passage.text)[0] - around
        for start, end in _windows(passage.text):
            there, there_numbers = _content(passage.text[start:end])
            missing = tuple(sorted((numbers - there_numbers) | strangers))
            hit = len(words & (there | around)) + len(numbers & there_numbers)
            if not (words & there or numbers & there_numbers):
                continue
            coverage = hit / (len(words) + len(numbers))
            relevance = len(asked & (there | around)) / len(asked) if asked else 0.0
            # A longer window covers more by its length alone, so it must win by more than that.
            length = 0.05 * (end - start) / 400
            score = coverage - 0.5 * len(missing) + _QUESTION_WEIGHT * relevance - _RANK_WEIGHT * index - length
            if best is None or score > best.score:
                best = Evidence(index, start, end, coverage, missing, score)
    return best


def relevance(question: str, passage: Hit) -> float:
    """How much of what a question asks for stands in a passage, its headings or its name: 0 to 1.

    The share of the question's content words, its names and numbers counting double; 1 where it has none.
    """
    words, numbers = _content(question)
    there, there_numbers = _content(passage.text)
    there = there | _content(_surroundings(passage))[0]
    names = _names(question)
    weights = {word: 2.0 if word in names else 1.0 for word in words}
    total = sum(weights.values()) + 2.0 * len(numbers)
    found = sum(weight for word, weight in weights.items() if word in there) + 2.0 * len(numbers & there_numbers)
    return found / total if total else 1.0


def _surroundings(passage: Hit) -> str:
    """What a reader of the passage knows besides: its documents' names, the title, and the headings above."""
    names = (re.sub(r"[/._-]", " ", source) for source in (passage.source, *(place.source for place in passage.also)))
    return " ".join((*names, passage.title, *passage.headings))


def _windows(text: str) -> list[tuple[int, int]]:
    """Each sentence, and each two that follow one another: a fact and its subject often stand in neighbours."""
    spans = sentences(text)
    return spans + [(a[0], b[1]) for a, b in pairwise(spans) if b[1] - a[0] <= 500]


@lru_cache(maxsize=4096)
def _content(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """A text's content words, stemmed, and its numbers, in one spelling."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words, numbers = set(), set()
    for token in _WORD.findall(folded):
        if token[0].isdigit():
            numbers.add(_number(token))
        elif token in _NUMERALS:
            numbers.add(_NUMERALS[token])
        elif token not in _STOP:
            words.add(_stem(token))
    return frozenset(words), frozenset(numbers)


@lru_cache(maxsize=4096)
def _names(text: str) -> frozenset[str]:
    """Words that are written as names are, stemmed: capitals inside a sentence, or at its start more than one."""
    found = set()
    for start, end in sentences(text):
        for at, match in enumerate(re.finditer(r"[^\W\d_]+", text[start:end])):
            word = match.group()
            folded = unicodedata.normalize("NFKC", word).casefold()
            is_written_as_name = word[0].isupper() if at else sum(char.isupper() for char in word) > 1
            if is_written_as_name and folded not in _STOP and folded not in _NUMERALS:
                found.add(_stem(folded))
    return frozenset(found)


_NUMERALS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
    if word != "one"  # as often a pronoun as a number
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90", "hundred": "100"}


def _number(token: str) -> str:
    """1,299 and 1299, 3.50 and 3.5 are one number; 3,5 is the German 3.5."""
    if _THOUSANDS.match(token):
        return re.sub(r"[.,]", "", token)
    token = token.replace(",", ".") if re.fullmatch(r"\d+,\d{1,2}", token) else token
    if re.fullmatch(r"\d+\.\d+", token):
        token = token.rstrip("0").rstrip(".")
    return token.lstrip("0") or "0"


def _stem(word: str) -> str:
    """A light stemmer: enough that cover, covers, covered and covering agree."""
    for ending in ("ingly", "edly", "ings", "ing", "ied", "ies", "ed", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stem = word[: -len(ending)]
            return f"{stem}y" if ending in ("ied", "ies") else stem
    return word
