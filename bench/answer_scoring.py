"""Kept answers of each system → its measures. Nothing but files is read, so that answers can be judged again later."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from bench.answer_runs import OURS, Row
from rag.citing.claims import refuses
from rag.evaluation.answers import Case, Cited, Kind, Reply, answer_scores
from rag.evaluation.metrics import Range, auroc, auroc_interval, span_score
from rag.markers import Kind as Piece
from rag.markers import pieces
from rag.types import CitationStatus

NOTHING = ("", "Empty Response")  # what LlamaIndex says where it found no passage
_NAMED = re.compile(r"\bsource (\d{1,2})\b", re.IGNORECASE)  # as its prompt calls them
UNCHECKED = ("citation_precision_verified", "verified_sentences", "exact_quotes")  # of what only we check

# What a row of the table shows, and what it is called.
ROWS = {
    "F1": "f1",
    "exact match": "exact_match",
    "all words of the gold answer said": "gold_in_answer",
    "gold span among the passages given to the model": "gold_in_passages",
    "citations an answered question": "citations_each",
    "characters a citation": "characters_each",
    "citation precision, answerable questions": "citation_precision",
    "citation precision, all questions": "citation_precision_all",
    "citation precision, verified citations": "citation_precision_verified",
    "citation recall, gold spans touched": "citation_recall",
    "citation recall, characters of the gold spans": "citation_characters",
    "sentences with verified citations": "verified_sentences",
    "quotes that are the document's words": "exact_quotes",
    "refused, answerable": "refused",
    "refused, near-miss": "abstained_unanswerable",
    "refused, off-topic": "abstained_off_topic",
    "abstention accuracy": "abstention_accuracy",
    "AUROC of the score, near-miss": "auroc_unanswerable",
    "AUROC of the score, off-topic": "auroc_off_topic",
    "AUROC with refusals lowest, near-miss": "auroc_unanswerable_refusals",
    "AUROC with refusals lowest, off-topic": "auroc_off_topic_refusals",
    "seconds a question, mean": "seconds_mean",
    "seconds a question, median": "seconds_median",
    "prompt tokens a question": "prompt_tokens",
    "answer tokens a question": "completion_tokens",
}


def figures(system: str, cases: Sequence[Case], rows: Mapping[str, Row], texts: Mapping[str, str]) -> dict[str, Any]:
    """A system's measures by their names, with their 95 % intervals under `intervals`.

    `rows` are its kept answers by question, one for each case; `texts` the documents.
    """
    read = [(case, reply_of(system, rows[case.id], texts)) for case in cases]
    scores = answer_scores(read)
    unknown = UNCHECKED if system != OURS else ()
    shown = {name: value for name, value in scores.values.items() if name not in unknown}
    intervals = {name: of for name, of in scores.intervals.items() if name in shown}
    for kind, name in ((Kind.UNANSWERABLE, "auroc_unanswerable"), (Kind.OFF_TOPIC, "auroc_off_topic")):
        higher, lower = (_refusals_lowest(read, of) for of in (Kind.ANSWERABLE, kind))
        if higher and lower:
            shown[f"{name}_refusals"] = auroc(higher, lower)
            intervals[f"{name}_refusals"] = auroc_interval(higher, lower)
    seen = [(case, reply, _given(system, rows[case.id])) for case, reply in read if case.spans]
    return {**shown, **_places(seen), **_sizes([reply for _, reply in read]), "intervals": intervals}


def _places(seen: Sequence[tuple[Case, Reply, Sequence[Range]]]) -> dict[str, float]:
    """How much of the gold spans was cited, and how often the model saw any of them."""
    if not seen:
        return {}
    cited = [[(of.source, of.start, of.end) for of in reply.citations] for _, reply, _ in seen]
    return {
        "citation_characters": fmean(_recall(of, case) for of, (case, _, _) in zip(cited, seen, strict=True)),
        "gold_in_passages": fmean(_recall(given, case) > 0 for case, _, given in seen),
    }


def _recall(places: Sequence[Range], case: Case) -> float:
    return span_score(places, case.spans).recall


def _sizes(replies: Sequence[Reply]) -> dict[str, float]:
    """How many citations an answer has, how long they are, and what an answer cost; a refusal before the model is 0."""
    answered = [reply for reply in replies if not reply.abstained]
    of: dict[str, Sequence[float]] = {
        "citations_each": [len(reply.citations) for reply in answered],
        "characters_each": [cited.end - cited.start for reply in answered for cited in reply.citations],
        "seconds_mean": [reply.seconds for reply in replies],
        "prompt_tokens": [reply.tokens[0] for reply in replies],
        "completion_tokens": [reply.tokens[1] for reply in replies],
    }
    sizes = {name: fmean(values) for name, values in of.items() if values}
    return sizes | ({"seconds_median": median(of["seconds_mean"])} if replies else {})


def reply_of(system: str, row: Row, texts: Mapping[str, str]) -> Reply:
    """A kept answer as it is scored."""
    return _ours(row, texts) if system == OURS else _peer(system, row)


def _ours(row: Row, texts: Mapping[str, str]) -> Reply:
    citations = tuple(
        Cited(
            n=cited["n"],
            source=_name(cited["source"]),
            start=cited["start"],
            end=cited["end"],
            status=CitationStatus(cited["status"]),
            exact=texts[_name(cited["source"])][cited["start"] : cited["end"]] == cited["quote"],
            beside=cited["beside"],
        )
        for cited in row["citations"]
    )
    tokens = row["usage"].get("prompt_tokens", 0), row["usage"].get("completion_tokens", 0)
    return Reply(row["answer"], row["abstained"], citations, row["score"], row["seconds"], tokens=tokens)


def _peer(system: str, row: Row) -> Reply:
    """A peer's answer, without its markers: it abstains where its words say so, and cites nothing then.

    LlamaIndex's markers count its sources, and so does "According to Source 2"; one that names none of them cites
    nothing that is there. LangChain's prompt asks for no markers: what was retrieved is what it cites.
    """
    parts = pieces(row["text"])
    text = "".join(part.text for part in parts if part.kind is not Piece.MARKER)
    tokens = row["tokens"].get("prompt_tokens", 0), row["tokens"].get("completion_tokens", 0)
    reply = Reply(text, False, (), row["score"], row["seconds"], tokens=tokens)
    if text.strip() in NOTHING or refuses(text):
        return replace(reply, abstained=True)
    places = _given(system, row)
    named = [number for part in parts for number in part.numbers] + [int(n) for n in _NAMED.findall(row["text"])]
    numbers = list(dict.fromkeys(named))
    if system == "langchain":
        numbers = list(range(1, len(places) + 1))
    cited = [(n, places[n - 1] if 0 < n <= len(places) else ("", 0, 0)) for n in numbers]
    return replace(reply, citations=tuple(Cited(n, *place) for n, place in cited))


def _given(system: str, row: Row) -> list[Range]:
    """The passages that the model saw."""
    if system == OURS:
        return [(_name(hit["source"]), hit["start"], hit["end"]) for hit in row["hits"]]
    return [(document, start, end) for document, start, end in row["sources"]]


def _name(source: str) -> str:
    """The set's own name of a document: `squad/corpus.jsonl#Normans#001` is its record Normans#001."""
    return source.partition("#")[2]


def _refusals_lowest(read: Sequence[tuple[Case, Reply]], kind: Kind) -> list[float]:
    """The scores of questions of a kind, those that were refused below all others; scores lie between -1 and 1."""
    of_kind = [reply for case, reply in read if case.kind is kind]
    return [reply.score - 2 * reply.abstained for reply in of_kind if reply.score is not None]
