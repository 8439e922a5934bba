"""Evaluation sets in the BEIR layout, with gold spans where a set has them."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rag.errors as errors
from rag.metrics import Range


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the gains of the documents that answer it, and the ranges of text that do, where known."""

    id: str
    text: str
    gains: dict[str, float]
    spans: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of questions over documents.

    `source` is what to ingest: the folder `docs/`, or the file `corpus.jsonl` of one record a document. A document is
    named by its file, with or without the suffix, or by its `_id`.
    """

    name: str
    source: Path
    queries: tuple[Query, ...]

    @property
    def is_corpus(self) -> bool:
        """Whether the documents are records of one file."""
        return self.source.is_file()


def read_dataset(folder: Path) -> Dataset:
    """The set in a folder: `queries.jsonl`, `qrels.tsv`, `spans.jsonl` where it has one, `corpus.jsonl` or `docs/`.

    Questions without a relevant document are left out. Raises SourceNotFound for what is missing, UsageProblem with the
    line that cannot be read.
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
        for row in _rows(folder / "spans.jsonl", "query_id", "doc", "start", "end"):
            spans.setdefault(str(row["query_id"]), []).append((str(row["doc"]), int(row["start"]), int(row["end"])))
    queries = []
    for row in _rows(folder / "queries.jsonl", "_id", "text"):
        id_ = str(row["_id"])
        if any(gain > 0 for gain in gains.get(id_, {}).values()):
            queries.append(Query(id_, str(row["text"]), gains[id_], tuple(spans.get(id_, ()))))
    if not queries:
        raise errors.UsageProblem(f"{folder} has no question with a relevant document in qrels.tsv.")
    return Dataset(folder.resolve().name, _source(folder, queries), tuple(queries))


def _source(folder: Path, queries: Sequence[Query]) -> Path:
    """The documents that the judgements are about: whole files, or the records of a corpus."""
    docs, corpus = folder / "docs", folder / "corpus.jsonl"
    if docs.is_dir():
        names = {name for path in docs.rglob("*") for name in (path.name, path.stem)}
        if not corpus.is_file() or all(id_ in names for query in queries for id_ in query.gains):
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


def _rows(path: Path, *needed: str) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                missing = [name for name in needed if name not in row]
            except (ValueError, TypeError) as exc:
                raise errors.UsageProblem(f"{path}, line {number}, is not a JSON object: {exc}") from exc
            if missing:
                raise errors.UsageProblem(f"{path}, line {number}, has no {', '.join(missing)}.")
            yield row
