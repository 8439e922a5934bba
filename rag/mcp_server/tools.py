"""What the tools do with the knowledge base."""

from collections.abc import Generator, Sequence
from contextlib import closing

import rag.errors as errors
from rag.answer import Said
from rag.knowledge_base import KnowledgeBase
from rag.mcp_server.forms import Answered, Documents, Part, Passages
from rag.store.schema import DocumentRow
from rag.types import Answer

MOST_PASSAGES = 20
MOST_CHARACTERS = 20_000
MOST_DOCUMENTS = 200
_LONGEST_QUESTION = 8000
_BREAKS = ("\n\n", "\n", ". ", " ")


def search(kb: KnowledgeBase, question: str, k: int | None, paths: Sequence[str], where: str) -> Passages:
    """The passages that best fit a question, `k` of them or as many as may be."""
    limit = None if k is None else min(max(k, 1), MOST_PASSAGES)
    return Passages.of(kb.search(_asked(question), limit=limit, paths=paths, where=where))


def ask(kb: KnowledgeBase, question: str, paths: Sequence[str], where: str) -> Generator[Said | Answered, None, None]:
    """What the model says as it says it, and at last the answer."""
    with closing(kb.ask_stream(_asked(question), paths=paths, where=where)) as events:
        for event in events:
            if isinstance(event, Said):
                yield event
            elif isinstance(event, Answer):
                yield Answered.of(event)


def read_document(kb: KnowledgeBase, source: str, start: int | None, page: int | None, length: int) -> Part:
    """A document's text from `start`, or that of a page; what is longer than it may be ends where words do."""
    row = _document(kb, source)
    whole = kb.text(row.source)
    pages = _pages(kb, row)
    begin, stop = 0 if start is None else start, len(whole)
    if page is not None:
        if page not in pages:
            raise errors.UsageProblem(_no_page(row.source, page, list(pages)))
        first, stop = pages[page]
        begin = first if start is None else start
        if not first <= begin <= stop:
            raise errors.UsageProblem(f"Page {page} of {row.source} goes from {first} to {stop}, without {begin}.")
    if not 0 <= begin <= len(whole):
        raise errors.UsageProblem(f"The text of {row.source} goes from 0 to {len(whole)}, without {begin}.")
    end = _end(whole, begin, stop, min(max(length, 1), MOST_CHARACTERS))
    here = next((number for number, (_, last) in pages.items() if begin < last), None)
    return Part.of(row, whole, begin, end, here)


def list_documents(kb: KnowledgeBase, paths: Sequence[str], where: str, offset: int, limit: int) -> Documents:
    """Documents by source, `limit` of them or as many as may be."""
    return Documents.of(kb.documents(where, paths), max(offset, 0), min(max(limit, 1), MOST_DOCUMENTS))


def _asked(question: str) -> str:
    if not question.strip() or len(question) > _LONGEST_QUESTION:
        raise errors.UsageProblem(
            f"The question has {len(question.strip())} characters; it needs some, and {_LONGEST_QUESTION} at most."
        )
    return question


def _document(kb: KnowledgeBase, source: str) -> DocumentRow:
    try:
        return kb.store.document(source)
    except errors.DocumentNotFound as exc:
        raise errors.DocumentNotFound(
            f"There is no document {source!r}. list_documents tells the sources, each to be given as it stands there."
        ) from exc


def _pages(kb: KnowledgeBase, row: DocumentRow) -> dict[int, tuple[int, int]]:
    """From where to where each page goes, in their order; none where the format has no pages."""
    pages: dict[int, tuple[int, int]] = {}
    for chunk in kb.store.chunk_rows(row.id):
        if chunk["page"] is not None:
            first, last = pages.get(chunk["page"], (chunk["start"], chunk["end"]))
            pages[chunk["page"]] = min(first, chunk["start"]), max(last, chunk["end"])
    return pages


def _no_page(source: str, page: int, pages: Sequence[int]) -> str:
    if not pages:
        return f"{source} has no pages. Read it by start."
    return f"{source} has no page {page} with text; its pages go from {min(pages)} to {max(pages)}."


def _end(whole: str, start: int, stop: int, length: int) -> int:
    """Where to end so that no more than `length` characters are read, and no word is cut where that can be."""
    if stop - start <= length:
        return stop
    end = start + length
    ends = (whole.rfind(mark, start + length * 3 // 4, end) + len(mark) for mark in _BREAKS if mark in whole[start:end])
    return next((at for at in ends if at > start + length * 3 // 4), end)
