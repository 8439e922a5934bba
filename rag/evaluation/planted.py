"""Planted fabrications: how many the check of citations notices, against how many true claims it doubts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rag.citing.cite import ENOUGH, support
from rag.citing.wording import language
from rag.evaluation.answers import END, Case
from rag.evaluation.fabricate import KINDS, Fabrication, Pair, fabrications
from rag.evaluation.wording import answer_words
from rag.knowledge_base import KnowledgeBase
from rag.sentences import sentences
from rag.types import Hit

_LEVELS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
_SENTENCE = 5  # words; a shorter gold answer is a name or a number and claims nothing by itself


@dataclass(frozen=True, slots=True)
class Scores:
    """The support of each true claim and of each fabrication, 0 to 1."""

    true: list[tuple[float, Pair]]
    false: list[tuple[float, Fabrication]]

    def false_alarms(self, least: float = ENOUGH) -> float:
        """The share of true claims below `least`; not a number where there is none."""
        return sum(score < least for score, _ in self.true) / len(self.true) if self.true else float("nan")

    def detected(self, kind: str, least: float = ENOUGH) -> float:
        """The share of fabrications of a kind below `least`; not a number where there is none."""
        scores = [score for score, made in self.false if made.kind == kind]
        return sum(score < least for score in scores) / len(scores) if scores else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """The part `fabrications` of `rag eval --answers --json`: of each kind how many there are and are noticed."""
        counts = Counter(made.kind for _, made in self.false)
        return {
            "true_claims": len(self.true),
            "false_alarms": round(self.false_alarms(), 6) if self.true else None,
            **{
                kind: {"planted": counts[kind], "noticed": round(self.detected(kind), 6) if counts[kind] else None}
                for kind in KINDS
            },
        }


def scored(pairs: Sequence[Pair], seed: int = 1) -> Scores:
    """Check every claim and every fabrication made of it."""
    true = [(support(pair.claim, pair.passages, pair.question), pair) for pair in pairs]
    false = [(support(made.claim, made.passages, made.pair.question), made) for made in fabrications(pairs, seed)]
    return Scores(true, false)


def curve(scores: Scores) -> list[dict[str, float]]:
    """Detection by kind at each level of false alarms, and last at the operating point in use."""
    marks = sorted(score for score, _ in scores.true)
    leasts = [marks[min(int(level * len(marks)), len(marks) - 1)] for level in _LEVELS] + [ENOUGH]
    return [
        {
            "least": least,
            "false_alarms": scores.false_alarms(least),
            **{kind: scores.detected(kind, least) for kind in KINDS},
        }
        for least in leasts
    ]


def gold_pairs(base: KnowledgeBase, cases: Sequence[Case]) -> list[Pair]:
    """The true claims of questions: each sentence of a gold answer, with the passages that hold the gold spans.

    A gold answer that is no sentence ("90 seconds") is no claim by itself: then it is the document's own sentence that
    holds the span, which nobody doubts; its fabrications are as good as others.
    """
    rows = {row.source: row for row in base.documents() if row.revision}
    wanted = [case for case in cases if case.golds and case.spans and case.spans[0][0] in rows]
    texts = base.store.texts({rows[source].id for case in wanted for source, _, _ in case.spans if source in rows})
    chunks = {id_: base.store.chunk_rows(id_) for id_ in texts}
    pairs: list[Pair] = []
    for case in wanted:
        passages = tuple(
            _passage(source, rows[source].title, rows[source].id, row)
            for source, spans in groupby(sorted(case.spans), key=lambda span: span[0])
            if source in rows
            for row in _holding(chunks[rows[source].id], [(start, end) for _, start, end in spans])
        )
        source, start, end = case.spans[0]
        text = texts[rows[source].id]
        gold = case.golds[0]
        if len(answer_words(gold)) >= _SENTENCE and gold.strip() not in text:
            claims = [gold[a:b] for a, b in sentences(gold)]
        elif end != END:
            claims = [_sentence(text, start)]
        else:
            claims = []
        spoken = language(text)
        pairs += [Pair(claim, passages, source, case.question, spoken) for claim in claims if claim and passages]
    return pairs


def _holding(rows: Sequence[Mapping[str, Any]], spans: Sequence[tuple[int, int]]) -> Iterator[Mapping[str, Any]]:
    """The chunks that hold a part of one of the spans."""
    for row in rows:
        if any(min(row["end"], end) > max(row["start"], start) for start, end in spans):
            yield row


def _passage(source: str, title: str, document_id: str, row: Mapping[str, Any]) -> Hit:
    headings = tuple(row["headings"])
    return Hit(source, document_id, title, row["page"], headings, row["start"], row["end"], row["text"], 1.0)


def _sentence(text: str, at: int) -> str:
    """The sentence of a text that stands at an offset."""
    low, high = max(0, at - 2000), at + 2000
    for start, end in sentences(text[low:high]):
        if low + start <= at < low + end:
            return text[low + start : low + end]
    return ""
