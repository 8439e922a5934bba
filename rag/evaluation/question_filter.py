"""Is a question that a model made fit to measure retrieval with? By words alone, so that it needs no judge."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from rag.citing.cite import relevance
from rag.types import Hit

_MOST_ANSWER = 250  # characters: what is longer is no phrase that a question asks for
_LEAST_WORDS, _MOST_WORDS = 4, 40
_MOST_COPIED = 0.6  # share of the question's words that stand in the passage in one run
_LEAST_RELEVANCE = 0.5  # share of the question's content words that stand in the passage or above it
_MOST_ALIKE = 0.8  # Jaccard similarity of the words of two questions
_MOST_ELSEWHERE = 3  # other passages that hold all the question's words the passage holds

_WORD = re.compile(r"\w+")
_NOT_AFTER, _NOT_BEFORE = r"(?<![A-Za-z0-9])(?<!\d[.,])", r"(?![A-Za-z0-9])(?![.,]\d)"
_QUESTION_END = re.compile(r"[?？؟;]\s*$")  # the last is the Greek one
_YES_OR_NO = re.compile(
    r"(is|are|was|were|do|does|did|can|could|will|would|should|shall|has|have|had|may|must)\b", re.IGNORECASE
)
_POINTS_AT_TEXT = re.compile(
    r"\b(this|these|those|"
    r"(the|given|provided|following) (passage|text|excerpt|sentence|statement|paragraph|context|author|answer)|"
    r"(in|from|of|by|to) the ((given|provided|following) )?(document|section|table|row|list|article|chapter)|"
    r"(mentioned|described|listed|stated|given|shown)( (here|above|below|in the)|\W*$)|"
    r"diese[mnrs]?|(im|laut|des) (text|abschnitt|dokument|satz)\w*|"
    r"(ce|cette|ces) (texte|passage|document|phrase|section)|(este|esta|estos|estas) (texto|pasaje|documento|frase))\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(it|its|they|their|them|he|his|him|she|her|er|sie|ihr|ihre|ihrem|il|elle|ils|elles)\b", re.IGNORECASE
)
_EXPLETIVE = re.compile(
    r"\b(does|did|will|would|should) it take\b|\bit takes?\b|"
    r"\b(is it|it is) (possible|necessary|allowed|safe|forbidden|best|recommended)\b",
    re.IGNORECASE,
)
_ASKS_FOR_NUMBER = re.compile(
    r"\bhow (many|much|long|far|often|old|high|deep|wide|heavy)\b|"
    r"\bwie (viele?|lange?|weit|oft|alt|hoch|tief|breit|schwer)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|half|hundred|thousand|once|twice|every|daily|"
    r"weekly|monthly|yearly|ein\w*|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwölf|jede\w*|täglich)\b",
    re.IGNORECASE,
)
_SAYS_NO_THING = frozenset(
    "what when where which whose does have will would should could must many much long often happen happens need name "
    "with from your that them they into".split()
)


def rejection(question: str, answer: str, passage: Hit, others: Sequence[Hit], earlier: Sequence[str]) -> str:
    """Why the question is not fit, in words that can be counted; "" where it is.

    `answer` is the slice of the passage that answers it, `others` are passages elsewhere that resemble the question,
    `earlier` the questions that were kept before.
    """
    asked, said = words(question), words(answer)
    if not said or len(answer) > _MOST_ANSWER:
        return "the answer is no short phrase"
    if not _QUESTION_END.search(question) or not _LEAST_WORDS <= len(asked) <= _MOST_WORDS:
        return "not a question of a few words"
    if _YES_OR_NO.match(question):
        return "a yes-or-no question"
    if not stands_alone(question):
        return "not clear without the passage"
    if _ASKS_FOR_NUMBER.search(question) and not _NUMBER.search(answer):
        return "asks for a number, and the answer has none"
    if set(said) <= set(asked):
        return "gives its answer away"
    if _copied(asked, words(passage.text)) > _MOST_COPIED:
        return "copies the passage"
    fit = relevance(question, passage)
    if fit < _LEAST_RELEVANCE:
        return "its words are not the passage's"
    as_good = [hit for hit in others if relevance(question, hit) >= fit]
    if len(as_good) >= _MOST_ELSEWHERE or any(holds(hit.text, answer) for hit in as_good):
        return "other passages may answer it as well"
    if any(_alike(asked, words(before)) > _MOST_ALIKE for before in earlier):
        return "made before"
    return ""


def stands_alone(question: str) -> bool:
    """Whether a reader who sees only the question can know what it is about: it names something, it points nowhere."""
    if _POINTS_AT_TEXT.search(question):
        return False
    plain = _EXPLETIVE.sub(" ", question)
    pronoun = _PRONOUN.search(plain)
    if pronoun is None:
        return True
    named = [word for word in words(plain[: pronoun.start()]) if len(word) > 3 and word not in _SAYS_NO_THING]
    return len(named) >= 2


def place_of(text: str, phrase: str) -> tuple[int, int] | None:
    """Where a phrase stands in a text, by its words: case, white space and punctuation between them may differ.

    A part of a number or of a word is no place: 11 does not stand in 11.8.
    """
    pattern = r"[\W_]+".join(map(re.escape, _WORD.findall(phrase)))
    found = re.search(rf"{_NOT_AFTER}{pattern}{_NOT_BEFORE}", text, re.IGNORECASE) if pattern else None
    return found.span() if found else None


def holds(text: str, phrase: str) -> bool:
    """Whether a phrase stands in a text, word for word."""
    return place_of(text, phrase) is not None


def words(text: str) -> list[str]:
    """A text's words in their order, in lower case."""
    return _WORD.findall(text.casefold())


def _copied(asked: Sequence[str], there: Sequence[str]) -> float:
    """The share of the question's words that stand in the passage in one run."""
    match = SequenceMatcher(None, asked, there, autojunk=False).find_longest_match()
    return match.size / len(asked)


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    return len(set(one) & set(other)) / len(set(one) | set(other))
