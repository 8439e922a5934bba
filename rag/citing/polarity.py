"""Whether a claim says the opposite of a sentence: denials, opposite words, words with un- and in-."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from rag.citing.opposites import (
    BROUGHT_IN,
    DENIALS,
    DENY_BEFORE,
    ENDINGS,
    MILD,
    NARROW,
    NO_DENIAL,
    OPEN,
    PARTICIPLES,
    PARTLY,
    PASSIVE,
    PHRASES,
    SIGNS,
    contraries,
)
from rag.citing.wording import Words, stemmed

_CLAUSE = 40  # words on either side are all that is looked at, however long a clause without commas is
_REACH = 4  # how many telling words behind a denial it can deny


@dataclass(frozen=True, slots=True)
class Denial:
    """A denial in a sentence: the stems behind it and those before it, nearest first. A mild one only may deny."""

    word: str
    behind: tuple[str, ...]
    before: tuple[str, ...]
    clause: frozenset[str]  # all that is said between the same two commas
    mild: bool
    close: bool  # what is denied stands right behind it, and nothing is put in its place


@lru_cache(maxsize=8)
def _denying(language: str) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    name = language if language in DENIALS else "en"
    return frozenset(DENIALS[name].split()), frozenset(MILD.get(name, "").split()), PHRASES.get(name, ())


@lru_cache(maxsize=16384)
def denials(said: Words, language: str) -> tuple[Denial, ...]:
    """The denials among a sentence's words, the mild ones as well."""
    denying, mild, phrases = _denying(language)
    found = []
    folded = said.folded
    for at, word in enumerate(folded):
        following = folded[at + 1] if at + 1 < len(folded) else ""
        phrase = f"{word} {following}" in phrases
        strong = phrase or word in denying or _denies_in_signs(word)
        if not strong and (word not in mild or (at and folded[at - 1] == "at")):  # "at least" denies nothing
            continue
        if following in NO_DENIAL or (word == "no" and following[:1].isdigit()):
            continue
        if (at and folded[at - 1] == "or") or folded[max(0, at - 2) : at] == ("or", "may"):  # "may or may not"
            continue
        first = max(at - _CLAUSE, bisect_left(said.clauses, said.clauses[at]))
        last = min(at + _CLAUSE, bisect_right(said.clauses, said.clauses[at]))
        behind = _telling(said.stems[at + 1 + phrase : last], said)
        if strong and not behind:
            behind = _telling(said.stems[at + 1 : at + _CLAUSE], said)[:2]
        behind = behind[: 1 if word in NARROW else _REACH]
        before = _telling(said.stems[first:at][::-1], said)[:_REACH]
        if not strong and at and folded[at - 1] in PASSIVE:  # "subletting is prohibited"
            behind, before = before, ()
        elif not strong or (behind and language not in DENY_BEFORE):
            passive = strong and at > 0 and folded[at - 1] in PASSIVE and following.endswith(PARTICIPLES)
            before = before[:2] if passive else ()
        close = "but" not in folded[at : at + 7] and bool(behind) and behind[0] in said.stems[at + 1 : at + 3]
        partly = word == "not" and (following in PARTLY or bool(OPEN & {*folded[at + 2 : at + 5]}))
        again = not denying.isdisjoint(folded[first:at])  # "do not run it without water"
        whole = frozenset(said.stems[first:last])
        found.append(Denial(word, behind, before, whole, not strong or partly or again, close and word != "no"))
    return tuple(found)


def _telling(stems: Sequence[str], said: Words) -> tuple[str, ...]:
    """Those stems that tell something; all that there are where none tells much."""
    there = tuple(stem for stem in stems if stem)
    return tuple(stem for stem in there if said.weights[stem] >= 1) or there


def _denies_in_signs(word: str) -> bool:
    return word[0] in SIGNS or word.startswith(ENDINGS)


def contradicts(claim: Words, evidence: list[Words], language: str) -> str:
    """The word by which a claim says the opposite of the sentences that support it best; "" where none does."""
    return (
        _denies_what_they_say(claim, evidence, language)
        or _says_what_they_deny(claim, evidence, language)
        or _says_the_opposite(claim, evidence, language)
    )


def _denies_what_they_say(claim: Words, evidence: list[Words], language: str) -> str:
    """A denial of the claim's that has no counterpart where its words stand in the evidence."""
    for denial in denials(claim, language):
        if denial.mild and (denial.word not in BROUGHT_IN or any(denial.word in part.folded for part in evidence)):
            continue
        if not any(_denied_there(denial, claim, part, language) for part in evidence):
            return denial.word
    return ""


def _denied_there(denial: Denial, claim: Words, part: Words, language: str) -> bool:
    """Whether a sentence denies, in whatever words, what a denial of the claim's denies."""
    head = (*denial.behind[:3], *denial.before)
    besides = [own for own in denials(claim, language) if own is not denial]
    for other in denials(part, language):
        # What the claim says as well, besides its denial, does not stand for that.
        same = [own for own in besides if own.word == other.word]
        if other.mild and (
            stemmed(other.word, language) in head or any(own.behind and not {*own.behind} & {*head} for own in same)
        ):
            continue
        if not other.mild and any(own.behind[:1] == other.behind[:1] for own in same):
            continue
        theirs = (*other.behind, *other.before)
        if head and theirs and (head[0] in theirs or theirs[0] in head or len({*head} & {*theirs}) > 1):
            return True
    return any(contraries(stem, part.weights.keys(), language) for stem in head if stem not in part.weights)


def _says_what_they_deny(claim: Words, evidence: list[Words], language: str) -> str:
    """A denial in the evidence whose words the claim has without one."""
    mine = denials(claim, language)
    for at, part in enumerate(evidence):
        for denial in denials(part, language):
            head = denial.behind[: 1 if denial.close and _covers(part, claim) else 2]
            if denial.mild or not head or not all(stem in claim.weights for stem in head):
                continue
            if any(own.clause.intersection(head) for own in mine):
                continue
            if any(contraries(stem, claim.weights.keys(), language) for stem in head):
                continue
            if any(_affirmed(head, other, language) for place, other in enumerate(evidence) if place != at):
                continue
            return denial.word
    return ""


def _covers(part: Words, claim: Words) -> bool:
    """Whether a sentence holds at least half of what a claim says."""
    held = sum(weight for stem, weight in claim.weights.items() if stem in part.weights)
    return held * 2 >= sum(claim.weights.values())


def _affirmed(head: tuple[str, ...], part: Words, language: str) -> bool:
    return all(stem in part.weights for stem in head) and all(one.mild for one in denials(part, language))


def _says_the_opposite(claim: Words, evidence: list[Words], language: str) -> str:
    """A word of the claim's whose opposite the evidence has, and not the word itself in the same place."""
    own = _forms(claim, language).keys()
    for at, word in enumerate(claim.folded):
        if not word.isalpha():
            continue
        stem = stemmed(word, language)
        for number, part in enumerate(evidence):
            theirs = _forms(part, language)
            others = contraries(stem, theirs.keys(), language)
            if not others or others & own:
                continue
            if _compared_the_other_way(claim, part) or _turned(claim, {word}, language):
                continue
            if not claim.stems[at] and not _before_the_same(claim, at, part, {theirs[other] for other in others}):
                continue  # "before" and "after", "more" and "less" are opposites only of the same
            if stem not in theirs and (number == 0 or not any(stem in _forms(other, language) for other in evidence)):
                if not _turned(part, {theirs[other] for other in others}, language):
                    return word
            elif stem in theirs and (following := _next(claim, at)):
                places = {place for place, said in enumerate(part.folded) if said in {theirs[o] for o in others}}
                same = {place for place, said in enumerate(part.folded) if said == word}
                if any(_next(part, place) == following for place in places) and not any(
                    _next(part, place) == following for place in same
                ):
                    return word
    return ""


def _compared_the_other_way(claim: Words, part: Words) -> bool:
    """Whether "A is less than B" meets "B is more than A"."""
    if "than" not in claim.folded or "than" not in part.folded:
        return False
    behind = {stem for stem in claim.stems[claim.folded.index("than") :] if stem}
    before = {stem for stem in part.stems[: part.folded.index("than")] if stem}
    return len(behind & before) * 2 > len(behind)


def _before_the_same(claim: Words, at: int, part: Words, found: AbstractSet[str]) -> bool:
    """Whether one of these words stands before the same telling word in a sentence as the word at a place does."""
    following = next((stem for stem in claim.stems[at + 1 : at + 4] if stem), "")
    return any(
        following in [stem for stem in part.stems[place + 1 : place + 4] if stem][:1]
        for place, word in enumerate(part.folded)
        if word in found
    )


def _next(said: Words, at: int) -> str:
    """The telling word right behind a place."""
    return said.stems[at + 1] if at + 1 < len(said.stems) else ""


def _turned(part: Words, found: AbstractSet[str], language: str) -> bool:
    """Whether a sentence denies one of these words: "not known" says what "unknown" does."""
    for at, word in enumerate(part.folded):
        if word in found and _denying(language)[0].intersection(part.folded[max(0, at - 4) : at]):
            return True
    return False


@lru_cache(maxsize=4096)
def _forms(said: Words, language: str) -> dict[str, str]:
    """A text's words by their stems, function words as well."""
    return {stemmed(word, language): word for word in said.folded if word.isalpha()}
