"""Which citations of an answer are true but say little of what was asked. Pure."""

import re
from collections.abc import Iterator, Sequence

from rag.citing.cite import Slice, Verdict, asks_for, relevance, says_of, sentences_of
from rag.citing.evidence import read
from rag.citing.wording import language, words
from rag.types import CitationStatus, Hit

# Of the question's telling words in the passages: with fewer they say it in other words, or in another language.
_LEAST = 0.3
# Of what the sentence that says most of a question says of it. Fitted on a 0.5B's answers to 70 questions of SQuAD: of
# their 123 verified citations 51 touch the gold span, and 50 of these are among the 56 that are left.
_NEARLY_ALL = 0.8
# With no more than so much in the best sentence, one word less tells nothing.
_IN_OTHER_WORDS, _WORD = 0.6, 1.0
_NEXT = re.compile(
    r"[?;]|,?\s(?:and|or|und|oder|et|ou|y|o)\s(?=(?:wh\w+|how|is|are|was|were|do|does|did|can|must|"
    r"w(?:as|er|ie|ann|o|arum|elche\w?|ie\s?viele?)|qu\w+|comment|combien|où|cu[aá]\w+|c[oó]mo|d[oó]nde)\s)",
    re.IGNORECASE,
)


def beside(questions: Sequence[str], verdicts: Sequence[Verdict], passages: Sequence[Hit]) -> frozenset[Slice]:
    """The evidence of supported sentences that says clearly less of the question than a sentence of the passages; of
    several pieces of evidence for one sentence, all but the most telling.

    `questions` are wordings of one question. Of one that asks several things, each is looked at by itself as well.
    """
    held = [relevance(question, passage, alone=True) for question in questions for passage in passages]
    if max(held, default=0.0) < _LEAST:
        return frozenset()
    parts = [part for question in questions for part in _parts(question)]
    sentences = sentences_of(passages)
    asked = {part: max((says_of(part, [one], passages) for one in sentences), default=0.0) for part in parts}
    off: set[Slice] = set()
    on: set[Slice] = set()
    for verdict in verdicts:
        if verdict.evidence is None or verdict.status is CitationStatus.UNVERIFIED:
            continue
        first, *others = verdict.evidence.slices
        off.update((first, *others))
        spoken = read(passages[first.passage]).language
        for part, most in asked.items():
            said = says_of(part, [first], passages, others)
            missing = (most - said) * asks_for(part, spoken)
            unsure = most <= _IN_OTHER_WORDS and said >= _LEAST and missing <= _WORD
            if said >= _NEARLY_ALL * most or unsure:
                on.add(first)
    return frozenset(off - on)


def _parts(question: str) -> Iterator[str]:
    yield question
    parts = [part for part in _NEXT.split(question) if words(part, language(question)).weights]
    if len(parts) > 1:
        yield from parts
