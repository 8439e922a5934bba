"""Which sentences of an answer are true but beside the question. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from rag.citing.cite import Slice, Verdict, relevance
from rag.types import CitationStatus, Hit

# Of the question's telling words in the passages: with fewer they say it in other words, or in another language.
_LEAST = 0.3


def beside(questions: Sequence[str], verdicts: Sequence[Verdict], passages: Sequence[Hit]) -> frozenset[Slice]:
    """The evidence of supported sentences that, with it, hold not one telling word of the question in any wording."""
    off: set[Slice] = set()
    on: set[Slice] = set()
    for verdict in verdicts:
        if verdict.evidence is None or verdict.status is CitationStatus.UNVERIFIED:
            continue
        slices = verdict.evidence.slices
        texts = (verdict.claim.text, *(passages[part.passage].text[part.start : part.end] for part in slices))
        told = replace(passages[slices[0].passage], text="\n".join(texts))
        (on if _held(questions, [told]) else off).update(slices)
    if not off or _held(questions, passages) < _LEAST:
        return frozenset()
    return frozenset(off - on)


def _held(questions: Sequence[str], passages: Sequence[Hit]) -> float:
    return max(relevance(question, passage, alone=True) for question in questions for passage in passages)
