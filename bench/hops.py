"""Questions with two hops: are all passages that the answer needs among those it is made from, plain and as an agent?

    python -m bench.hops notes.kb       # a knowledge base of data/sample; the models of the settings

Each row of data/hops.jsonl has a question and the quotes that answer it together. `plain` is one search, as `rag ask`
makes it, `plain, more` one for as many passages as the agent may have, `agent` is `rag ask --agent`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rag.agent import after_steps, gathered
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase
from rag.types import Hit

QUESTIONS = Path(__file__).parents[1] / "data" / "hops.jsonl"


def held(gold: list[dict[str, str]], hits: list[Hit]) -> int:
    """How many of the quotes stand in the passages."""
    texts = [(hit.source, " ".join(hit.text.split())) for hit in hits]
    return sum(any(source.endswith(one["source"]) and one["quote"] in text for source, text in texts) for one in gold)


def measured(base: KnowledgeBase, row: dict[str, Any]) -> dict[str, Any]:
    """The quotes that each way of searching finds for a question, and the agent's steps."""
    question, gold = row["question"], row["gold"]
    options = base.options(floor=ANSWER_FLOOR)
    finding = gathered(question, options, base.search_by, base.chat_model, base.settings, base.notify)
    found = after_steps(finding)
    return {
        "id": row["id"],
        "gold": len(gold),
        "plain": held(gold, base.search_by(question, options)),
        "plain, more": held(gold, base.search(question, limit=options.limit * 3 // 2)),
        "agent": held(gold, found.hits),
        "passages": len(found.hits),
        "steps": [str(step) for step in found.steps],
        "tokens": found.usage.get("total_tokens", 0),
    }


def main() -> None:
    """Print a line of JSON a question, and the shares with all quotes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kb", type=Path)
    rows = []
    with KnowledgeBase(parser.parse_args().kb, notify=lambda message: None) as base:
        for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
            rows.append(measured(base, json.loads(line)))
            print(json.dumps(rows[-1], ensure_ascii=False), file=sys.stderr, flush=True)
    ways = ("plain", "plain, more", "agent")
    shares = {way: sum(row[way] == row["gold"] for row in rows) / len(rows) for way in ways}
    print(json.dumps({"questions": len(rows), "all gold passages": shares}))


if __name__ == "__main__":
    main()
