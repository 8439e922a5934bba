"""The questions of bench/answer_table.py: the same ones at every run, in an order whose every beginning is a sample."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rag.errors as errors
from rag.evaluation.answers import Case, Kind
from rag.evaluation.datasets import read_rows
from rag.evaluation.metrics import Range


def chosen(folder: Path, others: Sequence[Path], *, own: int = 300, foreign: int = 100) -> list[Case]:
    """`own` questions of a set, half of them without an answer, and `foreign` ones of other sets, mixed.

    Which ones is decided by the hashes of their ids. Raises UsageProblem where the set does not say which of its
    questions can be answered and where, or has too few.
    """
    spans: dict[str, list[Range]] = defaultdict(list)
    for _, row in read_rows(folder / "spans.jsonl", "query_id"):
        names = ("passage", "p_start", "p_end") if "passage" in row else ("doc", "start", "end")
        document, start, end = (row[name] for name in names)
        spans[str(row["query_id"])].append((str(document), int(start), int(end)))
    known: list[Case] = []
    near: list[Case] = []
    for _, row in read_rows(folder / "queries.jsonl", "_id", "text", "answerable"):
        id_, text = str(row["_id"]), str(row["text"])
        if not row["answerable"]:
            near.append(Case(id_, text, Kind.UNANSWERABLE))
        elif id_ in spans:
            answers = tuple(row.get("answers") or [row["answer"]])
            known.append(Case(id_, text, Kind.ANSWERABLE, answers, tuple(spans[id_])))
    strata = [_drawn(known, own // 2, folder), _drawn(near, own - own // 2, folder)]
    for number, other in enumerate(others):
        share = (number + 1) * foreign // len(others) - number * foreign // len(others)
        rows = read_rows(other / "queries.jsonl", "_id", "text")
        asked = [Case(f"{other.resolve().name}:{row['_id']}", str(row["text"]), Kind.OFF_TOPIC) for _, row in rows]
        strata.append(_drawn(asked, share, other))
    return _mixed(strata)


def _hash(id_: str) -> str:
    return hashlib.blake2b(id_.encode(), digest_size=8).hexdigest()


def _drawn(questions: Iterable[Case], count: int, folder: Path) -> list[Case]:
    drawn = sorted(questions, key=lambda asked: _hash(asked.id))[:count]
    if len(drawn) < count:
        raise errors.UsageProblem(f"{folder} has {len(drawn)} questions of a kind of which {count} are asked.")
    return drawn


def _mixed(strata: Sequence[Sequence[Case]]) -> list[Case]:
    """All questions, each stratum spread evenly over the whole."""
    placed = [
        ((place + 0.5) / len(stratum), number, asked)
        for number, stratum in enumerate(strata)
        for place, asked in enumerate(stratum)
    ]
    return [asked for _, _, asked in sorted(placed, key=lambda entry: entry[:2])]


def write_questions(path: Path, questions: Sequence[Case]) -> None:
    """Keep the questions beside their answers. Raises UsageProblem where other ones are kept there."""
    lines = "".join(json.dumps(asdict(asked), ensure_ascii=False) + "\n" for asked in questions)
    if path.is_file() and path.read_text(encoding="utf-8") != lines:
        raise errors.UsageProblem(f"{path.parent} holds answers to other questions. Name another folder with --out.")
    path.write_text(lines, encoding="utf-8")


def kept_questions(path: Path) -> list[Case]:
    """The questions that a folder of answers is about."""
    return [_case(row) for _, row in read_rows(path, "id", "question", "kind", "golds", "spans")]


def _case(row: dict[str, Any]) -> Case:
    spans = tuple((str(document), int(start), int(end)) for document, start, end in row["spans"])
    return Case(row["id"], row["question"], Kind(row["kind"]), tuple(row["golds"]), spans)
