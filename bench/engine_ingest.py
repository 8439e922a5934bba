"""Ingestion through the embedded engine with MiniLM, to the engine's own rate for the same chunks.

The engine's own rate is that of a bare client which sends the same texts in the same batches, with as many requests in
flight as pay most.
"""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from bench import corpus
from bench.record import record
from ingest.pipeline import ingest
from rag.engine import launch
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings

PORT, FILES, BATCH = 4320, 120, 32
EMBED = "text-embedding-all-minilm-l6-v2"


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAG_STATE_DIR"] = folder
        started = launch.start("127.0.0.1", PORT)
        try:
            settings = Settings(host=started.url, engine=False, embedding_model=EMBED, embed_batch=BATCH)
            docs = Path(folder, "docs")
            docs.mkdir()
            for number in range(FILES):
                author = corpus.Author(number)
                parts = (f"## Part {part}\n\n{author.paragraph()}" for part in range(10))
                (docs / f"{number}.md").write_text("\n\n".join(parts), encoding="utf-8")
            with KnowledgeBase(Path(folder, "notes.kb"), settings=settings) as base:
                base.embedder.embed_query("the model is loaded before the clock runs")
                report = ingest(docs, into=base)
                rows = base.store.chunks_table.search().select(["searched"]).limit(10**6).to_arrow()
            texts = rows["searched"].to_pylist()
            rates = {flying: _rate(started.url, texts, flying) for flying in (1, 2, 4)}
        finally:
            launch.stop("127.0.0.1", PORT)
    ours, best = report.embedded / report.seconds, max(rates.values())
    figures: dict[str, Any] = {
        "chunks": report.embedded,
        "ingest, chunks/s": round(ours, 2),
        "bare client, chunks/s by requests in flight": {flying: round(rate, 2) for flying, rate in rates.items()},
        "ingest to the best bare client": round(ours / best, 3),
    }
    record("engine-ingest", figures)


def _rate(url: str, texts: list[str], flying: int) -> float:
    batches = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
    with httpx2.Client(base_url=url, timeout=300, trust_env=False) as client, ThreadPoolExecutor(flying) as pool:
        began = time.perf_counter()
        for reply in pool.map(
            lambda batch: client.post("/v1/embeddings", json={"model": EMBED, "input": batch}), batches
        ):
            reply.raise_for_status()
        return len(texts) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
