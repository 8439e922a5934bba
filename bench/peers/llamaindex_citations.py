"""LlamaIndex's citation engine, at its defaults, answering questions from standard input; run in the peers' own venv.

`python llamaindex_citations.py CORPUS URL EMBEDDER CHAT_MODEL`: CORPUS is a JSONL file of {"_id", "title", "text"}. A
line {"question"} comes in, a line {"text", "sources", "score", "seconds", "tokens"} goes out: `sources` are
the passages that markers count, as [document, start, end], `score` is the best similarity.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from llama_index_instrumentation import get_dispatcher

MOST_TOKENS = 512  # as many as our answers may have; without a limit a small model may go on for thousands
TIMEOUT_S = 3600.0  # of a question: a busy machine may take minutes


class Spent(BaseEventHandler):
    """The tokens of the chats since the last look, as the server counts them."""

    tokens: dict[str, int] = {}  # noqa: RUF012 - a pydantic field

    def handle(self, event: Any, **_: Any) -> None:
        """Add what a chat took."""
        if isinstance(event, LLMChatEndEvent) and event.response:
            usage = getattr(event.response.raw, "usage", None)
            for name in ("prompt_tokens", "completion_tokens"):
                self.tokens[name] = self.tokens.get(name, 0) + getattr(usage, name, 0)


def source(node: Any, texts: dict[str, str]) -> tuple[str, int, int]:
    """Where a numbered source stands: its document, and the range of its text, the whole if it is not found there."""
    document = node.ref_doc_id
    said = node.get_content().partition(":\n")[2].strip()
    start = texts[document].find(said)
    return (document, start, start + len(said)) if start >= 0 else (document, 0, len(texts[document]))


def main() -> None:
    """Index the corpus, then answer a line at a time."""
    corpus, url, embedder, chat_model = sys.argv[1:]
    rows = [json.loads(line) for line in Path(corpus).read_text(encoding="utf-8").splitlines()]
    texts = {row["_id"]: row["text"] for row in rows}
    server = {"api_base": url, "api_key": "none", "timeout": TIMEOUT_S}
    Settings.embed_model = OpenAILikeEmbedding(model_name=embedder, **server)
    Settings.llm = OpenAILike(model=chat_model, is_chat_model=True, max_tokens=MOST_TOKENS, **server)
    spent = Spent()
    get_dispatcher().add_event_handler(spent)
    index = VectorStoreIndex.from_documents(
        [Document(id_=row["_id"], text=row["text"], metadata={"title": row.get("title", "")}) for row in rows]
    )
    engine = CitationQueryEngine.from_args(index)
    for line in sys.stdin:
        asked = json.loads(line)
        spent.tokens.clear()
        began = time.perf_counter()
        said = engine.query(asked["question"])
        answer = {
            "text": str(said),
            "sources": [source(found.node, texts) for found in said.source_nodes],
            "score": max((found.score or 0.0 for found in said.source_nodes), default=0.0),
            "seconds": time.perf_counter() - began,
            "tokens": dict(spent.tokens),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
