"""How likely the documents answer a question, and below what they are said not to. Pure: no model, no store.

Few signals, each with a meaning, in a logistic sum: what a knowledge base's own questions can correct
(`rag eval --answers --fit`) without being many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rag.citing.cite import says_of, sentences_of, support
from rag.types import Hit


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for it.

    `similarity`: the best cosine of a passage with the question, on a scale where 0 is that of texts on different
    subjects and 1 that of a question with its answer, as the embedder of the index gives them; None without vectors.
    `stated`: how far the passages say what the question says, taken as a claim, 0 to 1: a name or a number that is
    missing, or the opposite, counts as in the check of citations (`rag.citing.cite.support`).
    `heard`: how much of what the question asks for stands in the sentences that support the model's answer, -1 for
    nothing to 1 for all; -1 also where none supports it or the model says that it does not know; 0 where it was not
    asked, or gave no answer.
    `said`: how much of what the question asks for stands in the sentence that says most of it, under its headings, 0 to
    1. Questions on something else share a word with each of many sentences.
    """

    similarity: float | None
    stated: float
    heard: float = 0.0
    said: float = 0.0


@dataclass(frozen=True, slots=True)
class Weights:
    """What each signal adds to the logarithm of the odds. What was fitted before there was `said` has none of it."""

    base: float
    similarity: float
    stated: float
    heard: float
    said: float = 0.0

    def probability(self, signals: Signals) -> float:
        """0 to 1."""
        odds = self.base + self.stated * signals.stated + self.heard * signals.heard + self.said * signals.said
        return 1 / (1 + math.exp(-(odds + self.similarity * (signals.similarity or 0.0))))


# Fitted with all-MiniLM-L6-v2 on squad2_dev, anthropic_docs, aragog_pdf, chroma_chunking and cranfield, 582 questions
# and 588 of the other sets; that of `heard` is set: with more, what a model makes of a question that sounds right
# counts more than what the passages say. That of `said` is half of what fits best: in another language there is none.
# AUROC on each set: 0.995 (chroma_chunking) to 1.000; without vectors 0.961 to 0.997.
WEIGHTS = Weights(base=-8.1, similarity=8.9, stated=2.6, heard=1.0, said=3.0)
WITHOUT_VECTORS = Weights(base=-6.4, similarity=0.0, stated=4.0, heard=1.0, said=10.5)
# Before a model is asked, 0.3 % of the answerable questions of those sets are below it and 90 % of those off topic.
THRESHOLD = 0.1
# What is less likely is not worth asking the model: of the answerable questions none is, of those off topic 75 %.
HOPELESS = 0.04

_PLAIN_SCALE = (0.0, 0.75)  # of all-MiniLM-L6-v2


@dataclass(frozen=True, slots=True)
class Likely:
    """How likely the documents answer a question, 0 to 1, and by which signals."""

    score: float
    signals: Signals


@dataclass(frozen=True, slots=True)
class Confidence:
    """How a knowledge base decides: the embedder's `scale` of cosines (unlike texts, a question and its answer), the
    weights of the signals, and the least probability of an answer.

    `fitted` says on how many of its own questions the weights were fitted, 0 where they are the default.
    """

    scale: tuple[float, float] = _PLAIN_SCALE
    weights: Weights = WEIGHTS
    threshold: float = THRESHOLD
    fitted: int = 0

    def judged(self, question: str, passages: Sequence[Hit], heard: float = 0.0) -> Likely:
        """How likely the documents answer a question, from the passages that were found for it and what was said."""
        signals = Signals(
            similarity=self._similarity(passages),
            stated=support(question, passages),
            heard=heard,
            said=max((says_of(question, [one], passages) for one in sentences_of(passages)), default=0.0),
        )
        return Likely(self._probability(signals), signals)

    def hopeless(self, question: str, passages: Sequence[Hit]) -> Likely | None:
        """How likely an answer is where it is too unlikely to ask the model, else None: found in no time for most.

        Without vectors it is None: words alone are too little to say.
        """
        least = min(HOPELESS, self.threshold)
        similarity = self._similarity(passages)
        if similarity is None or self._probability(Signals(similarity, stated=0.0)) >= least:
            return None
        likely = self.judged(question, passages)
        return likely if likely.score < least else None

    def _similarity(self, passages: Sequence[Hit]) -> float | None:
        cosines = [hit.similarity for hit in passages if hit.similarity is not None]
        low, high = self.scale
        return min(1.0, max(0.0, (max(cosines) - low) / (high - low))) if cosines else None

    def _probability(self, signals: Signals) -> float:
        weights = WITHOUT_VECTORS if signals.similarity is None else self.weights
        return weights.probability(signals)


def cosine_scale(canaries: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The mean cosine of an index's canaries that are unlike, and that of the question with its answer.

    `canaries` are the unit vectors of CANARY_TEXTS and, but for old indexes, of CANARY_QUESTION; of an index that was
    made without them it is what the demo's embedder has.
    """
    if len(canaries) < 2:
        return _PLAIN_SCALE
    answer, *others = canaries[:3]
    unlike = [_dot(answer, other) for other in others]
    if len(canaries) < 4:
        low = sum(unlike) / len(unlike)
        return low, low + max(_PLAIN_SCALE[1] * (1 - low), 0.05)
    unlike += [_dot(canaries[3], other) for other in others]
    low = sum(unlike) / len(unlike)
    return low, max(_dot(canaries[3], answer), low + 0.05)  # never a division by nothing


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
