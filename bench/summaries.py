"""Documents summed up by the chat model that is set: how many of its sentences they support, and what that costs.

    python -m bench.summaries --kb KB SOURCE… [--sentences 6]

Nothing that an earlier run wrote is used. `parts_*` counts the sentences about single parts, `summary_*` those of the
summaries; `exact_quotes` is the share of citations whose quote is the document's text at its place.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.record import record
from rag.knowledge_base import KnowledgeBase
from rag.settings import load_settings
from rag.store.kept import Kept
from rag.summarizing.summarize import Summarizer, selected
from rag.summarizing.summary import Summary
from rag.tokens import count


def measured(base: KnowledgeBase, source: str, sentences: int, folder: Path) -> dict[str, Any]:
    """One document's summary in figures."""
    (row,) = selected(base.store, base.documents(), source)
    text = base.text(row.source)
    tokens = base.settings.answer_tokens
    kept = Kept(folder / f"{row.id}.jsonl")
    began = time.perf_counter()
    *_, summary = Summarizer(base.store, [row], base.chat_model, kept, answer_tokens=tokens, sentences=sentences).run()
    seconds = time.perf_counter() - began
    assert isinstance(summary, Summary)
    return {
        "source": row.source,
        "tokens": count(text),
        "parts": len(summary.parts),
        "parts_sentences": sum(part.sentences or 0 for part in summary.parts),
        "parts_supported": sum(part.supported for part in summary.parts),
        "summary_sentences": summary.sentences,
        "summary_supported": summary.supported,
        "coverage": round(summary.coverage, 3),
        "citations": len(summary.citations),
        "exact_quotes": sum(text[c.start : c.end] == c.quote for c in summary.citations),
        "seconds": round(seconds, 1),
        "seconds_per_1000_tokens": round(seconds / max(1, count(text)) * 1000, 2),
        "text": summary.text,
    }


def main() -> None:
    """Sum up each document and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=6)
    parser.add_argument("sources", nargs="+")
    arguments = parser.parse_args()
    with (
        KnowledgeBase(arguments.kb, settings=load_settings(kb=arguments.kb)) as base,
        tempfile.TemporaryDirectory() as folder,
    ):
        found = [measured(base, source, arguments.sentences, Path(folder)) for source in arguments.sources]
        model = base.chat_model.model.key
    total = {name: sum(one[name] for one in found) for name in found[0] if isinstance(found[0][name], int)}
    record(
        "summaries",
        {
            "model": model,
            "parts_supported": round(total["parts_supported"] / max(1, total["parts_sentences"]), 3),
            "summary_supported": round(total["summary_supported"] / max(1, total["summary_sentences"]), 3),
            "exact_quotes": round(total["exact_quotes"] / max(1, total["citations"]), 3),
            "seconds_per_1000_tokens": round(sum(one["seconds"] for one in found) / max(1, total["tokens"]) * 1000, 2),
            "documents": found,
        },
    )


if __name__ == "__main__":
    main()
