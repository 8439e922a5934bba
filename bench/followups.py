"""How often the passage that answers a follow-up question is found, by what is searched for.

    python -m bench.followups KB [--rewrite] [--answers]

KB holds `data/sample`. `data/followups.jsonl` has the questions, each with the conversation before it, the same
question as a person writes it without the conversation, and the words that answer it. With --rewrite the chat model is
asked to rewrite them as well, with --answers each is answered in its conversation and without.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.record import record
from rag.conversation import FLOOR_OF_SEVERAL, Conversation
from rag.evaluation.datasets import Question
from rag.evaluation.gold import gold_spans
from rag.evaluation.metrics import Range
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase
from rag.search.rewrite import joined, standalone
from rag.sessions import Turn
from rag.talk import Exchange, spoken, stands_behind_others
from rag.types import Answer, Citation, CitationStatus, Hit

QUESTIONS = Path(__file__).parents[1] / "data" / "followups.jsonl"
_SECONDS = 120.0  # for a rewriting: what it is worth is measured, not how fast this machine is


def searches(base: KnowledgeBase, row: Mapping[str, Any], rewrite: bool) -> dict[str, str]:
    """What can be searched for, by who wrote it."""
    question, before = row["question"], [turn["question"] for turn in row["turns"]]
    found = {
        "as asked": question,
        "by hand": row["standalone"],
        "behind the earlier question": joined(question, before),
    }
    if rewrite:
        turns = spoken([Exchange(turn["question"], turn["answer"]) for turn in row["turns"]])
        found["by the model"] = standalone(question, turns, base.chat_model, _SECONDS)
        trusted = found["by the model"] != question
        found["as a conversation does"] = found["by the model" if trusted else "behind the earlier question"]
    return found


def rank(hits: Sequence[Hit], gold: Range) -> int:
    """The place of the first passage that overlaps the gold words, 0 where none does."""
    return next((at for at, hit in enumerate(hits, 1) if _overlaps(hit, gold)), 0)


def _overlaps(one: Hit | Citation, gold: Range) -> bool:
    return one.source == gold[0] and one.start < gold[2] and gold[1] < one.end


def summary(ranks: Sequence[int]) -> dict[str, float]:
    """What a list of ranks comes to."""
    return {
        "questions": len(ranks),
        "first": sum(rank == 1 for rank in ranks),
        "among six": sum(rank > 0 for rank in ranks),
        "mrr": round(sum(1 / rank for rank in ranks if rank) / len(ranks), 3),
    }


def answered(base: KnowledgeBase, row: Mapping[str, Any], gold: Range) -> dict[str, str]:
    """What becomes of a question in its conversation, and asked alone."""
    conversation = Conversation(base, rewrite=False)
    conversation.turns = [Turn(Answer(turn["question"], turn["answer"], False, (), (), "")) for turn in row["turns"]]
    return {
        "in the conversation": _outcome(conversation.ask(row["question"]), gold),
        "alone": _outcome(base.ask(row["question"]), gold),
    }


def _outcome(answer: Answer, gold: Range) -> str:
    if answer.abstained:
        return "abstained"
    supported = [c for c in answer.citations if c.status is not CitationStatus.UNVERIFIED]
    return "gold cited" if any(_overlaps(citation, gold) for citation in supported) else "something else"


def main() -> None:
    """Measure and record."""
    folder, *options = sys.argv[1:]
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    questions = [
        Question(row["id"], row["question"], answer="", source=row["source"], quote=row["quote"]) for row in rows
    ]
    ranks: dict[str, dict[str, list[int]]] = {}
    answers: dict[str, list[str]] = {}
    rewritten, began = 0, time.perf_counter()
    with KnowledgeBase(folder) as base:
        spans = gold_spans(base, questions)
        for done, row in enumerate(rows):
            print(f"{done} of {len(rows)}", file=sys.stderr)
            # The last ones change the subject and are understood as they are.
            kind = "stand by themselves" if row["question"] == row["standalone"] else "follow-ups"
            for by, searched in searches(base, row, "--rewrite" in options).items():
                several = stands_behind_others(row["question"], searched)
                hits = base.search(searched, limit=6, floor=FLOOR_OF_SEVERAL if several else ANSWER_FLOOR)
                ranks.setdefault(kind, {}).setdefault(by, []).append(rank(hits, spans[row["id"]]))
                rewritten += by == "by the model" and searched != row["question"]
            if "--answers" in options and kind == "follow-ups":
                for how, outcome in answered(base, row, spans[row["id"]]).items():
                    answers.setdefault(how, []).append(outcome)
                print(row["id"], {how: outcomes[-1] for how, outcomes in answers.items()}, file=sys.stderr)
    record(
        "followups",
        {
            "found": {kind: {by: summary(of) for by, of in arms.items()} for kind, arms in ranks.items()},
            "rewritten": rewritten if "--rewrite" in options else None,
            "answers": {
                how: {o: outcomes.count(o) for o in sorted(set(outcomes))} for how, outcomes in answers.items()
            },
            "seconds": round(time.perf_counter() - began),
        },
    )


if __name__ == "__main__":
    main()
