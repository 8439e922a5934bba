"""The 40 questions of data/questions.jsonl through the engine: what is found, answered, cited, left unsaid.

With `--retrieval` only what is found: the answers of 40 questions take minutes on a CPU.
"""

import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.record import record
from ingest.pipeline import ingest
from rag.cli.demo import MODELS
from rag.evaluation.answers import answer_scores, answered
from rag.evaluation.datasets import read_questions
from rag.evaluation.retrieval import WAYS, own_queries, way_scores
from rag.knowledge_base import KnowledgeBase
from rag.settings import load_settings

DATA = Path(__file__).parents[1] / "data"


def main() -> None:
    """Measure and record."""
    questions = read_questions(DATA / "questions.jsonl")
    settings = load_settings(embedding_model=MODELS["embedding"], chat_model=MODELS["llm"])
    with (
        tempfile.TemporaryDirectory() as folder,
        KnowledgeBase(Path(folder) / "kb", settings=settings, notify=print) as base,
    ):
        ingest(DATA / "sample", into=base)
        figures: dict[str, Any] = {"models": MODELS, "chunks": base.status().chunks}
        queries = own_queries(base, questions)
        for way, how in WAYS.items():
            figures[f"retrieval, {way}"] = way_scores(queries, partial(base.search, **how)).to_dict()
        if "--retrieval" not in sys.argv:
            answers = list(answered(base, questions))
            figures["answers"] = asdict(answer_scores(base, answers))
            figures["said"] = [
                {
                    "id": q.id,
                    "question": q.question,
                    "gold": q.answer or None,
                    "answer": a.text,
                    "abstained": a.abstained,
                    "reason": a.reason,
                }
                for q, a in answers
            ]
    record("retrieval" if "--retrieval" in sys.argv else "questions", figures)


if __name__ == "__main__":
    main()
