"""A knowledge base in a bucket, against moto's S3 server on this machine. `python -m bench.object_storage --kills 10`

Ingests of a changing folder with a scripted embedder are killed at random while two readers look on: `lost` and
`doubled` count chunks that a reader missed of a document or saw twice, `differences` is the first one to a knowledge
base in a folder at the end.
`search_ratio` is a hybrid search in the bucket over one in the folder. `replica_s` is the time from a commit until a
`rag serve --read-only` in another process lists the document. The server is on the same machine, and so far faster to
reach than any bucket: the figures say what is added, not how fast Amazon is.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench.crash import Editor, contents, finish, kill, same
from bench.ingest import synthetic
from bench.record import record
from bench.s3_server import BUCKET, s3
from rag.location import Location, Remote, location_of
from rag.search.options import SearchOptions
from rag.search.retrieve import retrieve
from rag.store.names import digest, revision_of
from rag.store.objects import has_table
from rag.store.schema import DocumentRow
from rag.store.tables import Store
from rag.store.write import NewVersion, Writer, write_lock
from rag.types import Chunk

_COMMAND = "from rag.cli.app import main; main()"


class Readers:
    """Threads that look at a knowledge base again and again, each with a Store of its own."""

    def __init__(self, place: Location, count: int) -> None:
        self.looks = self.lost = self.doubled = 0
        self._place, self._ended = place, threading.Event()
        self._failed: list[Exception] = []
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._failed and exc[0] is None:
            raise self._failed[0]

    def _read(self) -> None:
        try:
            while not has_table(self._place, "chunks"):
                if self._ended.wait(0.05):
                    return
            store = Store.open(self._place)
            while not self._ended.wait(0.05):
                self._look(store)
        except Exception as exc:  # noqa: BLE001  told by the thread that waits for this one
            self._failed.append(exc)

    def _look(self, store: Store) -> None:
        rows = store.documents()
        table = store.chunks_table.search().select(["document_id", "revision", "ordinal"]).to_arrow()
        seen = Counter(zip(*(table[name].to_pylist() for name in ("document_id", "revision")), strict=True))
        wanted = {(row.id, row.revision): row.chunks for row in rows.values() if row.revision}
        with self._counting:
            self.looks += 1
            self.lost += sum(max(0, count - seen[key]) for key, count in wanted.items())
            self.doubled += sum(max(0, seen[key] - count) for key, count in wanted.items())


def crashed(place: Remote, folder: Path, clean: Path, *, files: int, kills: int, seed: int) -> dict[str, Any]:
    """Ingest a folder that changes, with kills and readers, and once without into `clean`; what was lost or doubled."""
    chosen = random.Random(seed)
    editor = Editor(folder, random.Random(seed + 1))
    editor.fill(files)
    done = changes = 0
    with synthetic() as calm, synthetic() as server:
        takes = finish(calm, folder, clean.with_name("first.kb"))
        with Readers(place, 2) as readers:
            while done < kills:
                if kill(server, folder, place, chosen.uniform(0.3, 1.2) * takes):
                    done += 1
                else:
                    editor.change()
                    changes += 1
            finish(server, folder, place)
        local_s = finish(calm, folder, clean)
        bucket_s = finish(server, folder, Remote(f"{place}.once"))
    try:
        same(contents(place), contents(clean))
        differences = ""
    except AssertionError as exc:
        differences = str(exc)
    return {
        "kills": done,
        "changes": changes,
        "looks": readers.looks,
        "lost": readers.lost,
        "doubled": readers.doubled,
        "differences": differences,
        "ingest_folder_s": round(local_s, 2),
        "ingest_bucket_s": round(bucket_s, 2),
    }


def searched(place: Location, questions: int, seed: int) -> list[float]:
    """Milliseconds of hybrid searches, whose words and vectors are those of some chunks."""
    store = Store.open(place)
    table = store.chunks_table.search().select(["text", "vector"]).to_arrow()
    chosen = random.Random(seed)
    times = []
    for at in [0, *(chosen.randrange(table.num_rows) for _ in range(questions))]:
        question = " ".join(str(table["text"][at]).split()[:8])
        vector = np.array(table["vector"][at].as_py(), np.float32)
        began = time.perf_counter()
        assert retrieve(store, question, vector / np.linalg.norm(vector), SearchOptions(limit=6))
        times.append((time.perf_counter() - began) * 1000)
    return times[1:]


@contextmanager
def replica(place: Location) -> Iterator[str]:
    """`rag serve --read-only` in a process of its own: its address."""
    command = [sys.executable, "-c", _COMMAND, "serve", "--kb", str(place), "--read-only", "--port", "0", "--json"]
    environment = {**os.environ, "LMSTUDIO_HOST": "127.0.0.1:9", "RAG_ENGINE": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()


def documents(address: str) -> int:
    """How many documents a service lists."""
    with urllib.request.urlopen(f"{address}/api/kb/documents?limit=1", timeout=30) as reply:
        return int(json.load(reply)["total"])


def seen_after(place: Location, times: int) -> list[float]:
    """Seconds from a commit until a replica lists the document, for so many documents."""
    found = []
    with replica(place) as address:
        before = documents(address)
        with write_lock(place) as lease:
            writer = Writer(Store.open(place), lease)
            for number in range(times):
                writer.put([note(number, writer.store.identity.dimension)])
                began = time.perf_counter()
                while documents(address) < before + number + 1:
                    time.sleep(0.01)
                found.append(time.perf_counter() - began)
    return found


def note(number: int, dimension: int) -> NewVersion:
    text, source = f"The replica sees note {number}.", f"replica/{number}.md"
    chunks = [Chunk(0, text, 0, len(text), None, (), "")]
    known = (digest(source), source, "replica", digest(text), len(text), 1, revision_of(text, chunks))
    row = DocumentRow(*known, title="", parser="", status="", error="", chunks=0, indexed_at=0)
    return NewVersion(row, text, chunks, np.eye(1, dimension, dtype=np.float32))


def run(folder: Path, *, files: int, kills: int, questions: int, seed: int) -> dict[str, Any]:
    """All of it below a folder."""
    clean = folder / "clean.kb"
    place = location_of(f"s3://{BUCKET}/bench/notes.kb")
    assert isinstance(place, Remote)
    figures: dict[str, Any] = crashed(place, folder / "notes", clean, files=files, kills=kills, seed=seed)
    local, remote = searched(clean, questions, seed), searched(place, questions, seed)
    figures |= {
        "chunks": sum(len(one["chunks"]) for one in contents(clean).values()),
        "search_folder_p50_ms": round(statistics.median(local), 2),
        "search_bucket_p50_ms": round(statistics.median(remote), 2),
        "search_bucket_most_ms": round(max(remote), 2),
        "search_ratio": round(statistics.median(remote) / statistics.median(local), 2),
    }
    for name, where in (("bucket", place), ("folder", clean)):
        seen = seen_after(where, 7)
        figures[f"replica_{name}_p50_s"] = round(statistics.median(seen), 3)
        figures[f"replica_{name}_most_s"] = round(max(seen), 3)
    return figures


def main() -> None:
    """Run it and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=9)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-object-storage-"))
    try:
        with s3() as server:
            os.environ |= {**server.environment, "RAG_STATE_DIR": str(folder / "state")}
            figures = run(folder, **vars(arguments))
    finally:
        shutil.rmtree(folder)
    record("object_storage", {**vars(arguments), **figures})


if __name__ == "__main__":
    main()
