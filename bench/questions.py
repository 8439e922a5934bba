"""The 40 questions of data/questions.jsonl through the engine: what is found, answered, cited, left unsaid.

With `--retrieval` only what is found: the answers of 40 questions take minutes on a CPU.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench.record import record
from ingest.pipeline import ingest
from rag.cli.demo import MODELS
from rag.evaluation.answers import answer_scores
from rag.evaluation.asking import KeptChat, ask, own_cases
from rag.evaluation.datasets import read_questions
from rag.evaluation.planted import gold_pairs, scored
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
            cases = own_cases(base, questions)
            chat = KeptChat(settings, Path(folder) / "said.jsonl", print)
            replies = [(case, *ask(base, case, chat)) for case in cases]
            chat.close()
            figures["answers"] = answer_scores([(case, reply) for case, reply, _ in replies]).to_dict()
            figures["fabrications"] = scored(gold_pairs(base, cases)).to_dict()
            figures["said"] = [
                {
                    "id": case.id,
                    "question": case.question,
                    "gold": case.golds,
                    "answer": answer.text,
                    "abstained": answer.abstained,
                    "reason": answer.reason,
                    "score": answer.score,
                }
                for case, _, answer in replies
            ]
    record("retrieval" if "--retrieval" in sys.argv else "questions", figures)


if __name__ == "__main__":
    main()
