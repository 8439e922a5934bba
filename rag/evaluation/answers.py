"""What was answered against what is known → how well a knowledge base answers, cites and abstains.

Pure functions over recorded values: no judge model, no store. Answers of other programs are scored by the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rag.answer import UNSUPPORTED
from rag.citing.claims import claims
from rag.evaluation.metrics import Range, auroc, auroc_interval, ratio_interval
from rag.evaluation.wording import exact_match, holds_gold, word_f1
from rag.types import CitationStatus

END = 2**53  # of a gold range that is a whole document, where a set knows no more than that

# In the order in which they are shown. All but `refused` are better where they are higher.
MEASURES = (
    *("exact_match", "f1", "gold_in_answer", "citation_precision", "citation_precision_verified", "citation_recall"),
    *("citation_precision_all", "verified_sentences", "exact_quotes", "abstention_accuracy", "refused"),
    *("abstained_unanswerable", "abstained_off_topic", "auroc_unanswerable", "auroc_off_topic"),
)


class Kind(StrEnum):
    """Whether the documents answer a question, do not although they speak of such things, or speak of other things."""

    ANSWERABLE = "answerable"
    UNANSWERABLE = "unanswerable"
    OFF_TOPIC = "off_topic"


@dataclass(frozen=True, slots=True)
class Case:
    """A question and what is known of its answer.

    Each of `golds` is the answer in other words. `spans` are the places that hold it, by the documents' names as the
    citations have them; empty where they are not known. A whole document is a range from 0 to END.
    """

    id: str
    question: str
    kind: Kind
    golds: tuple[str, ...] = ()
    spans: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation as it is recorded; `exact` where its quote is the document's text from `start` to `end`.

    `status` is None where it was not checked; `beside` says that it was marked as further detail.
    """

    n: int
    source: str
    start: int
    end: int
    status: CitationStatus | None = None
    exact: bool = True
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered: the text with its `[n]` markers, whether it abstains, and what it took.

    `score` is how sure it is that the documents answer the question, larger is surer; None where that is not known.
    `seconds`, `first_token` and `tokens` (prompt, completion) are 0 where no model was asked.
    """

    text: str
    abstained: bool
    citations: tuple[Cited, ...] = ()
    score: float | None = None
    seconds: float = 0.0
    first_token: float = 0.0
    tokens: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Measures by their names (see MEASURES), those that the questions allow, with 95 % intervals; and what it cost.

    exact_match, f1, gold_in_answer: means over answerable questions, against the best of the gold answers, an
    abstention counting 0; gold_in_answer is 1 where all words of one are said.
    citation_precision: the share of citations of answered answerable questions that overlap a gold span;
    citation_precision_verified: of those marked verified and not as further detail; citation_precision_all: of all
    but the unverified, each that an unanswerable question got counting as wrong.
    citation_recall: the share of gold spans that a citation overlaps; a question that was refused has 0.
    verified_sentences: the share of sentences that claim something whose citations are verified or repaired.
    exact_quotes: the share of citations that are the document's words at their place.
    abstention_accuracy: the share of questions refused though they must be, or answered as they must be;
    refused: the share of answerable ones that were refused; abstained_unanswerable and abstained_off_topic: of these.
    auroc_unanswerable, auroc_off_topic: how often an answerable question has a higher score than one of these.
    `cost`: seconds and seconds to the first token as p50 and p95, mean tokens; over questions that a model was asked.
    """

    counts: dict[Kind, int]
    citations: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    cost: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The shape of `rag eval --answers --json`, which scripts may rely on; shares from 0 to 1, seconds."""
        return {
            "questions": {kind.value: count for kind, count in self.counts.items()},
            "citations": self.citations,
            **{name: round(value, 6) for name, value in self.values.items()},
            "intervals": {name: [round(low, 6), round(high, 6)] for name, (low, high) in self.intervals.items()},
            "cost": {name: round(value, 4) for name, value in self.cost.items()},
        }


Share = tuple[float, float]  # so much of so much; shares of several questions are added up part by part


def answer_scores(answered: Sequence[tuple[Case, Reply]]) -> AnswerScores:
    """Score replies. Intervals are bootstrapped by question, so that many citations of one do not look like proof."""
    shares: dict[str, list[Share]] = {}
    for case, reply in answered:
        for name, share in (_answering(case, reply) | _citing(case, reply) | _abstaining(case, reply)).items():
            if share[1]:
                shares.setdefault(name, []).append(share)
    values = {name: sum(n for n, _ in of) / sum(d for _, d in of) for name, of in shares.items()}
    intervals = {name: ratio_interval(of) for name, of in shares.items()}
    for name, kind in (("auroc_unanswerable", Kind.UNANSWERABLE), ("auroc_off_topic", Kind.OFF_TOPIC)):
        higher, lower = _scores(answered, Kind.ANSWERABLE), _scores(answered, kind)
        if higher and lower:
            values[name], intervals[name] = auroc(higher, lower), auroc_interval(higher, lower)
    return AnswerScores(
        counts={kind: sum(case.kind is kind for case, _ in answered) for kind in Kind},
        citations=sum(len(reply.citations) for _, reply in answered),
        values={name: values[name] for name in MEASURES if name in values},
        intervals={name: intervals[name] for name in MEASURES if name in values},
        cost=_cost([reply for _, reply in answered if reply.tokens[0]]),
    )


def _answering(case: Case, reply: Reply) -> dict[str, Share]:
    if case.kind is not Kind.ANSWERABLE or not case.golds:
        return {}
    said = "" if reply.abstained else reply.text
    return {
        "exact_match": (exact_match(said, case.golds), 1),
        "f1": (word_f1(said, case.golds), 1),
        "gold_in_answer": (holds_gold(said, case.golds), 1),
    }


def _citing(case: Case, reply: Reply) -> dict[str, Share]:
    given = reply.citations
    sure = [cited for cited in given if cited.status is not CitationStatus.UNVERIFIED]
    shares: dict[str, Share] = {"verified_sentences": _verified(reply)}
    shares["exact_quotes"] = sum(cited.exact for cited in given), len(given)
    if case.kind is not Kind.ANSWERABLE:
        return shares | {"citation_precision_all": (0, len(sure))}
    if not case.spans:
        return shares
    verified = [cited for cited in given if cited.status is CitationStatus.VERIFIED and not cited.beside]
    places = _apart(case.spans)
    found = sum(any(_overlap(cited, place) for cited in given) for place in places)
    return shares | {
        "citation_precision": (_right(given, case), len(given)),
        "citation_precision_verified": (_right(verified, case), len(verified)),
        "citation_precision_all": (_right(sure, case), len(sure)),
        "citation_recall": (found / len(places), 1),
    }


def _abstaining(case: Case, reply: Reply) -> dict[str, Share]:
    rate = {Kind.ANSWERABLE: "refused", Kind.UNANSWERABLE: "abstained_unanswerable"}
    return {
        "abstention_accuracy": (reply.abstained is not (case.kind is Kind.ANSWERABLE), 1),
        rate.get(case.kind, "abstained_off_topic"): (reply.abstained, 1),
    }


def _scores(answered: Sequence[tuple[Case, Reply]], kind: Kind) -> list[float]:
    return [reply.score for case, reply in answered if case.kind is kind and reply.score is not None]


def _verified(reply: Reply) -> Share:
    """The sentences that claim something, and those of them whose markers all lead to what supports them."""
    if reply.abstained:
        return 0, 0
    statuses = {cited.n: cited.status for cited in reply.citations}
    asserting = [claim for claim in claims(reply.text.replace(UNSUPPORTED, "")) if claim.asserts]
    sure = [
        claim
        for claim in asserting
        if claim.marked
        and all(statuses.get(n) in (CitationStatus.VERIFIED, CitationStatus.REPAIRED) for n in claim.marked)
    ]
    return len(sure), len(asserting)


def _right(given: Sequence[Cited], case: Case) -> int:
    return sum(any(_overlap(cited, span) for span in case.spans) for cited in given)


def _overlap(cited: Cited, span: Range) -> bool:
    source, start, end = span
    return cited.source == source and min(cited.end, end) > max(cited.start, start)


def _apart(spans: Sequence[Range]) -> list[Range]:
    """Spans, those that overlap as one: several people's marks of one answer are one place."""
    merged: list[Range] = []
    for source, start, end in sorted(spans):
        if merged and merged[-1][0] == source and start < merged[-1][2]:
            merged[-1] = source, merged[-1][1], max(end, merged[-1][2])
        else:
            merged.append((source, start, end))
    return merged


def _cost(asked: Sequence[Reply]) -> dict[str, float]:
    if not asked:
        return {}
    cost: dict[str, float] = {"asked": len(asked)}
    for name, of in (("seconds", [r.seconds for r in asked]), ("first_token", [r.first_token for r in asked])):
        cost |= {f"{name}_p50": _percentile(of, 0.5), f"{name}_p95": _percentile(of, 0.95)}
    for at, name in enumerate(("prompt_tokens", "completion_tokens")):
        cost[name] = sum(reply.tokens[at] for reply in asked) / len(asked)
    return cost


def _percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
