"""Questions with known answers, as files have them: folders in the BEIR layout, and one's own questions in JSONL."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rag.errors as errors
from rag.evaluation.metrics import Range

GOLD = "gold"  # what a passage is called that holds a question's gold span


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer, which stands as `quote` in the document `source`; all "" where there is none.

    `source` is the document's name in the knowledge base, or the end of that path. `start` and `end` say where in the
    document's text the quote stood when the line was written; -1 where it does not say. `others` are the answer in
    other words. `line` is where the question stands in its file.
    """

    id: str
    question: str
    answer: str
    source: str
    quote: str
    start: int = -1
    end: int = -1
    line: int = 0
    others: tuple[str, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether the documents answer it."""
        return bool(self.quote)


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the gains of what answers it, and the ranges of text that do, where known.

    Gains are by document, or, with `GOLD` as their only name, of the passages that hold a range whole. Each of
    `answers` is the gold answer in other words.
    """

    id: str
    text: str
    gains: dict[str, float]
    spans: tuple[Range, ...]
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of questions over documents.

    `source` is what is judged: the folder `docs/`, or the file `corpus.jsonl` of one record a document. A document is
    named by its file, with or without the suffix, or by its `_id`. Where the gold spans count in other documents, as
    in whole articles whose paragraphs are judged, `spanned` is their folder. `unanswerable` are the questions to which
    no document is relevant.
    """

    name: str
    source: Path
    spanned: Path
    queries: tuple[Query, ...]
    unanswerable: tuple[Query, ...]


def read_questions(path: Path) -> list[Question]:
    """Questions from a JSONL file of {"id", "question" or "text", "answer", "source", "quote"}.

    The last three may be null, and those without a quote count as unanswerable; "start" and "end" may say where the
    quote stands, and "answers" list the answer in several wordings. Raises SourceNotFound, or UsageProblem with the
    number of a line that is not of this form.
    """
    questions: list[Question] = []
    lines: dict[str, int] = {}
    for number, row in read_rows(path):
        question = _question(path, number, row)
        if question.id in lines:
            raise errors.UsageProblem(
                f"{path}, line {number}, repeats the id {question.id!r} of line {lines[question.id]}."
            )
        lines[question.id] = number
        questions.append(question)
    return questions


def _question(path: Path, number: int, row: dict[str, Any]) -> Question:
    words = {"question": row.get("question", row.get("text"))} | {
        name: row.get(name) or "" for name in ("answer", "source", "quote")
    }
    wrong = [name for name, value in words.items() if not isinstance(value, str)]
    places = {name: -1 if row.get(name) is None else row[name] for name in ("start", "end")}
    wrong += [name for name, value in places.items() if not isinstance(value, int)]
    answers = row.get("answers") or []
    if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers):
        wrong.append("answers")
    if wrong or not words["question"].strip():
        raise errors.UsageProblem(
            f"{path}, line {number}, is no question: {', '.join(wrong) or 'question'} is missing or of the wrong kind. "
            'A line is {"question": "…", "answer": "…", "source": "manual.pdf", "quote": "words of the document"}.'
        )
    if words["quote"].strip() and not words["source"].strip():
        raise errors.UsageProblem(f"{path}, line {number}, has a quote and does not say the source that it stands in.")
    return Question(
        id=str(row.get("id", number)),
        question=words["question"].strip(),
        answer=words["answer"] or (answers[0] if answers else ""),
        source=words["source"],
        quote=words["quote"],
        start=places["start"],
        end=places["end"],
        line=number,
        others=tuple(answers),
    )


def read_dataset(folder: Path) -> Dataset:
    """The set in a folder: `queries.jsonl`, `qrels.tsv`, `spans.jsonl` where it has one, `corpus.jsonl` or `docs/`.

    Questions without a relevant document are kept apart. Raises SourceNotFound for what is missing, UsageProblem with
    the line that cannot be read.
    """
    folder = folder.expanduser()
    if not (folder / "queries.jsonl").is_file():
        raise errors.SourceNotFound(f"{folder} is no evaluation set: it has no queries.jsonl.")
    gains: dict[str, dict[str, float]] = {}
    for number, row in _table(folder / "qrels.tsv"):
        try:
            gains.setdefault(row["query-id"], {})[row["corpus-id"]] = float(row["score"])
        except (KeyError, TypeError, ValueError) as exc:
            raise errors.UsageProblem(f"{folder / 'qrels.tsv'}, line {number}, is no judgement: {exc!r}") from exc
    spans: dict[str, list[Range]] = {}
    if (folder / "spans.jsonl").is_file():
        for _, row in read_rows(folder / "spans.jsonl", "query_id", "doc", "start", "end"):
            spans.setdefault(str(row["query_id"]), []).append((str(row["doc"]), int(row["start"]), int(row["end"])))
    queries: list[Query] = []
    unanswerable: list[Query] = []
    for _, row in read_rows(folder / "queries.jsonl", "_id", "text"):
        id_ = str(row["_id"])
        answers = tuple(map(str, row.get("answers") or filter(None, [row.get("answer")])))
        query = Query(id_, str(row["text"]), gains.get(id_, {}), tuple(spans.get(id_, ())), answers)
        (queries if any(gain > 0 for gain in query.gains.values()) else unanswerable).append(query)
    if not queries:
        raise errors.UsageProblem(f"{folder} has no question with a relevant document in qrels.tsv.")
    source = _source(folder, {id_ for query in queries for id_ in query.gains})
    spanned = _source(folder, {span[0] for query in queries for span in query.spans}) if spans else source
    return Dataset(folder.resolve().name, source, spanned, tuple(queries), tuple(unanswerable))


def _source(folder: Path, named: set[str]) -> Path:
    """The documents that have these names: whole files, or the records of a corpus."""
    docs, corpus = folder / "docs", folder / "corpus.jsonl"
    if docs.is_dir():
        names = {name for path in docs.rglob("*") for name in (path.name, path.stem)}
        if not corpus.is_file() or named <= names:
            return docs
    if not corpus.is_file():
        raise errors.SourceNotFound(f"{folder} has neither corpus.jsonl nor docs/.")
    return corpus


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from enumerate(csv.DictReader(file, delimiter="\t"), 2)
    except OSError as exc:
        raise errors.SourceNotFound(f"{path} cannot be read ({exc.strerror}).") from exc


def read_rows(path: Path, *needed: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with the numbers of their lines."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise errors.SourceNotFound(f"{path} cannot be read ({exc.strerror}).") from exc
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise errors.UsageProblem(f"{path}, line {number}, is not a JSON object: {exc}") from exc
        if not isinstance(row, dict):
            raise errors.UsageProblem(f"{path}, line {number}, is not a JSON object: {str(row)[:80]}")
        if missing := [name for name in needed if name not in row]:
            raise errors.UsageProblem(f"{path}, line {number}, has no {', '.join(missing)}.")
        yield number, row
