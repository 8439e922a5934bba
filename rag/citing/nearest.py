"""The sentences of passages that speak of a question, with those beside them: the least that a model needs. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from rag.citing.cite import best_evidence
from rag.citing.evidence import read
from rag.types import Hit

_BESIDE = 1  # sentences or rows


def nearest(question: str, passages: Sequence[Hit]) -> list[Hit]:
    """The sentences or rows that say most of what the question says, each run of them a passage, the most telling
    first; the passages as they are where none of them says any of it.
    """
    evidence = best_evidence(question, passages)
    if evidence is None:
        return list(passages)
    found: list[Hit] = []
    for part in evidence.slices:
        hit = passages[part.passage]
        spans = read(hit).spans
        told = [at for at, (start, end) in enumerate(spans) if start < part.end and part.start < end]
        start, end = spans[max(told[0] - _BESIDE, 0)][0], spans[min(told[-1] + _BESIDE, len(spans) - 1)][1]
        found.append(replace(hit, start=hit.start + start, end=hit.start + end, text=hit.text[start:end]))
    return found
