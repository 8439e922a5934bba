"""Where the gold quotes of one's own questions stand in an index."""

import re
from collections.abc import Sequence

import rag.errors as errors
from rag.evaluation.datasets import Question
from rag.evaluation.metrics import Range
from rag.knowledge_base import KnowledgeBase


def gold_spans(base: KnowledgeBase, questions: Sequence[Question]) -> dict[str, Range]:
    """The place of each answerable question's quote, by the question's id; white space may differ from the quote's.

    Where the quote still stands at the offsets that the line says it is that place, else the first in the document.
    Raises UsageProblem where a document is not there, is not the only one of that name, or does not hold the quote.
    """
    ids = {row.source: row.id for row in base.documents() if row.revision}
    named = {q.id: _source(base, list(ids), q) for q in questions if q.answerable}
    texts = base.store.texts(ids[source] for source in named.values())
    spans: dict[str, Range] = {}
    lost: list[Question] = []
    for question in questions:
        if not question.answerable:
            continue
        source = named[question.id]
        place = _place(texts[ids[source]], question)
        if place is None:
            lost.append(question)
        else:
            spans[question.id] = (source, *place)
    if lost:
        others = f" So it is with {len(lost) - 1} more." if len(lost) > 1 else ""
        raise errors.UsageProblem(
            f"{_name(lost[0])}: {named[lost[0].id]} does not hold the quote {lost[0].quote!r}. "
            f"Mend the line, or ingest the document as it is now.{others}"
        )
    return spans


def _source(base: KnowledgeBase, sources: Sequence[str], question: Question) -> str:
    """The document that a question names: by its whole name, or by the end of its path if that fits one alone."""
    fitting = [source for source in sources if source.endswith(f"/{question.source}")]
    if question.source in sources:
        return question.source
    if not fitting:
        raise errors.UsageProblem(
            f"{_name(question)}: the knowledge base {base.path} has no document {question.source!r}. "
            "`rag ls` lists them."
        )
    if len(fitting) > 1:
        raise errors.UsageProblem(
            f"{_name(question)}: {question.source!r} may be {' or '.join(sorted(fitting)[:2])}. Say more of the path."
        )
    return fitting[0]


def _place(text: str, question: Question) -> tuple[int, int] | None:
    words = question.quote.split()
    start, end = question.start, question.end
    if 0 <= start < end and text[start:end].split() == words:
        return start, end
    found = re.search(r"\s+".join(map(re.escape, words)), text)
    return found.span() if found else None


def _name(question: Question) -> str:
    return f"Line {question.line}, question {question.id}" if question.line else f"Question {question.id}"
