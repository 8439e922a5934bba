"""`rag rebuild` against a server of known speed: what it costs beyond the embedding, and what kills cost it.

`python -m bench.rebuild --chunks 50000 --kills 20`. `work_s` is what the report says, `limit_s` the least time in which
the server could have embedded the texts; `lost_a_kill` is how many texts each kill cost, the canaries of the next
run among them.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.corpus import Author
from bench.ingest import Synthetic, peak_memory, synthetic
from bench.record import record
from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.search import by_words
from rag.store.tables import Store
from rag.store.upkeep import tidy
from rag.store.write import NewVersion, Writer
from rag.types import Chunk

FORMER = Identity("text-embedding-former", "Q8_0", 384, "", "", 200)
_CHUNKS = 100  # a document
_COMMAND = "from rag.cli.app import main; main()"


def filled(path: Path, chunks: int) -> Store:
    """A knowledge base of so many chunks, with vectors of a model that no server has."""
    store = Store.create(path, FORMER, [[0.0] * FORMER.dimension])
    writer = Writer(store)
    vectors = np.random.default_rng(7).standard_normal((_CHUNKS, FORMER.dimension)).astype(np.float32)
    for begin in range(0, chunks, 10 * _CHUNKS):
        writer.put([_document(number, vectors) for number in range(begin, min(chunks, begin + 10 * _CHUNKS), _CHUNKS)])
    tidy(store)
    return store


def _document(number: int, vectors: np.ndarray[Any, np.dtype[np.float32]]) -> NewVersion:
    author = Author(number)
    parts = [f"{number + at}: {author.paragraph()}" for at in range(_CHUNKS)]
    at, chunks = 0, []
    for ordinal, part in enumerate(parts):
        chunks.append(Chunk(ordinal, part, at, at + len(part), None, (), ""))
        at += len(part) + 2
    text, source = "\n\n".join(parts), f"notes/{number}.md"
    known = (digest(source), source, "notes", digest(text), len(text), 1, revision_of(text, chunks))
    row = DocumentRow(*known, title="", parser="", status="", error="", chunks=0, indexed_at=0)
    return NewVersion(row, text, chunks, vectors)


def start(server: Synthetic, kb: Path) -> "subprocess.Popen[bytes]":
    """Start the command."""
    of_rag = {"LMSTUDIO_HOST": server.host, "RAG_EMBEDDING_MODEL": "synthetic-embedding", "RAG_ENGINE": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "rebuild", "--kb", str(kb), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **of_rag},
    )


def finish(server: Synthetic, kb: Path) -> dict[str, Any]:
    """One run to its end."""
    process = start(server, kb)
    peak = peak_memory(process)
    out, _ = process.communicate()
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    limit = server.call("/stats")["limit_s"]
    return {
        "chunks": report["chunks"],
        "work_s": round(report["seconds"], 2),
        "limit_s": round(limit, 2),
        "work_to_limit": round(report["seconds"] / limit, 3),
        "peak_mb": round(peak / 1e6),
    }


def killed(server: Synthetic, store: Store, kills: int) -> dict[str, Any]:
    """Kill it so many times, on the way and while it switches; the index is the former one or the new one, whole."""
    chosen = random.Random(3)
    chunks, before = store.chunks_table.count_rows(), store.identity
    switched = 0
    for number in range(1, kills + 1):
        process = start(server, store.path)
        target = min(chunks, number * chunks / (0.7 * kills))
        while process.poll() is None and server.call("/stats")["answered"] < target:
            time.sleep(0.01)
        time.sleep(chosen.uniform(0, 2.0 if target == chunks else 0.1))
        process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        process.communicate()
        assert store.chunks_table.count_rows() == chunks
        assert by_words(store, "1:", 1), "full-text search finds nothing"
        switched += store.identity != before
    assert finish(server, store.path)["chunks"] == chunks
    assert store.identity.embedding_model == "synthetic-embedding"
    texts = int(server.call("/stats")["texts"])
    return {"kills": kills, "after_the_switch": switched, "lost_a_kill": round((texts - chunks) / kills, 1)}


def main() -> None:
    """Run it and record what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bench-rebuild-"))
    try:
        store = filled(place / "a.kb", arguments.chunks)
        shutil.copytree(store.path, place / "b.kb")
        with synthetic() as server:
            figures: dict[str, Any] = {"whole": finish(server, place / "a.kb")}
        with synthetic() as server:
            figures["killed"] = killed(server, Store.open(place / "b.kb"), arguments.kills)
    finally:
        shutil.rmtree(place)
    record("rebuild", figures)


if __name__ == "__main__":
    main()
