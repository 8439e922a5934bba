"""How long a search takes in a large knowledge base, beside LanceDB's own two searches of the same tables.

    python -m bench.latency [--rows 200000] [--keep FOLDER]

Vectors and texts are made up, and no model takes part: topics of a few directions each, words as frequent as in prose.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from bench.record import record
from rag.search.options import SearchOptions
from rag.search.retrieve import retrieve
from rag.store.lance import MatchQuery
from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.tables import Store
from rag.store.upkeep import coverage, tidy
from rag.store.write import NewVersion, Writer, write_lock
from rag.types import Chunk, Hit
from rag.words import query_terms

Matrix = npt.NDArray[np.float32]

DIMENSION = 384
WORDS = 40_000
CHUNK_WORDS = 130
POOL = 50  # what each search finds for the fusion
_CHUNKS = 10  # of a usual document
_HUGE = 5000  # of one document, where there are that many
_TOPICS = 300
_AT_ONCE = 1000  # documents written together
_WARM = 10  # searches that do not count
_RUNS = 7
_FIELDS = ["id", "document_id", "revision", "ordinal", "text", "start", "end", "page", "box", "headings"]

_FRESH = """
import json, time
began = time.perf_counter()
import numpy as np
from rag.knowledge_base import KnowledgeBase
from rag.search.retrieve import retrieve
from rag.search.options import SearchOptions
imported = time.perf_counter()
store = KnowledgeBase({path!r}).store
opened = time.perf_counter()
vector = np.full({dimension}, {dimension} ** -0.5, np.float32)
retrieve(store, "where is the battery", vector, SearchOptions(limit=6))
found = time.perf_counter()
print(json.dumps({{"imports (s)": imported - began, "open (s)": opened - imported, "search (s)": found - opened}}))
"""


class Synthetic:
    """Texts and vectors that are alike where their topics are: no model, but not noise either."""

    def __init__(self, seed: int = 7) -> None:
        self._rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnoprstuvw"))
        lengths = self._rng.integers(3, 11, WORDS)
        self.words = np.array(["".join(self._rng.choice(letters, length)) for length in lengths])
        frequency = 1 / np.arange(1, WORDS + 1) ** 1.05  # Zipf's law, as in prose
        self._cumulative = np.cumsum(frequency / frequency.sum())
        self._topics = self._rng.normal(size=(_TOPICS, DIMENSION)).astype(np.float32)

    def reseed(self, seed: int) -> None:
        """Go on with other texts and vectors of the same words and topics."""
        self._rng = np.random.default_rng(seed)

    def text(self, words: int) -> str:
        """So many words, the frequent ones frequent."""
        return " ".join(self.words[np.searchsorted(self._cumulative, self._rng.random(words)).clip(0, WORDS - 1)])

    def question(self, words: int = 8) -> str:
        """Some words from the middle of the vocabulary, and the small words between them."""
        rare = self.words[self._rng.integers(30, 5000, words // 2)]
        return " ".join([*rare, *self.text(words - words // 2).split()])

    def vectors(self, count: int) -> Matrix:
        """Unit vectors about one topic, each a little elsewhere."""
        topic = self._topics[self._rng.integers(_TOPICS)] + self._rng.normal(size=DIMENSION) * 0.6
        found = topic + self._rng.normal(size=(count, DIMENSION)) * 0.7
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def documents(self, rows: int) -> Iterator[NewVersion]:
        """Documents of ten chunks each, and one huge one, `rows` chunks in all."""
        left, number = rows, 0
        while left:
            count = min(left, _HUGE if number == 0 and rows > 2 * _HUGE else _CHUNKS)
            yield self._document(number, count)
            left, number = left - count, number + 1

    def _document(self, number: int, count: int) -> NewVersion:
        texts, chunks, at = [self.text(CHUNK_WORDS) for _ in range(count)], [], 0
        for ordinal, text in enumerate(texts):
            chunks.append(Chunk(ordinal, text, at, at + len(text), 1 + ordinal // 3, ("Part",), "Manual > Part"))
            at += len(text) + 1
        whole, source = "\n".join(texts), f"made/{number:06d}.md"
        row = DocumentRow(
            id=digest(source),
            source=source,
            root="made",
            content_hash=digest(whole),
            size=len(whole),
            mtime_ns=1,
            revision=revision_of(whole, chunks),
            title=f"Manual {number}",
            parser="made",
            status="ok",
            error="",
            chunks=0,
            indexed_at=0,
        )
        return NewVersion(row, whole, chunks, self.vectors(count))


def build(path: Path, rows: int) -> Store:
    """A knowledge base of so many chunks, written as `ingest` writes one, and not tidied yet."""
    store = Store.create(path, Identity("made-up", None, DIMENSION, "", "", 200), [])
    with write_lock(path):
        writer = Writer(store)
        documents = Synthetic().documents(rows)
        while versions := list(itertools.islice(documents, _AT_ONCE)):
            writer.put(versions)
    return store


def tidied(path: Path) -> dict[str, float]:
    """Tidy in a process of its own: seconds, and the megabytes that it took at most beyond an open knowledge base."""
    store = Store.open(path)
    coverage(store)
    memory = psutil.Process().memory_info
    before = peak = memory().rss
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(tidy, store)
        while not done.done():
            peak = max(peak, memory().rss)
            time.sleep(0.02)
        done.result()
    return {"seconds": round(time.perf_counter() - began, 1), "MB": round((peak - before) / (1 << 20))}


def in_new_process(path: Path) -> dict[str, float]:
    """Tidy in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(tidied, path).result()


class Searches:
    """Questions to one knowledge base, asked of LanceDB itself and of us."""

    def __init__(self, store: Store, count: int) -> None:
        self.store, self.count = store, count
        rng, made = np.random.default_rng(3), Synthetic(seed=5)
        made.words = Synthetic().words
        rows = rng.integers(0, store.chunks_table.count_rows(), count)
        self.vectors = self._near(rng, store.chunks_table.take_offsets(rows.tolist()))
        self.questions = [made.question() for _ in range(count)]

    @staticmethod
    def _near(rng: np.random.Generator, query: Any) -> Matrix:
        found = query.select(["vector"]).to_arrow()["vector"].combine_chunks().flatten().to_numpy()
        vectors = found.reshape(-1, DIMENSION) + rng.normal(size=(len(found) // DIMENSION, DIMENSION)) * 0.03
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def raw_vector(self, index: int, limit: int = POOL) -> Any:
        """LanceDB's search by vector, with what a hit needs."""
        query = self.store.chunks_table.search(self.vectors[index], vector_column_name="vector")
        query = query.distance_type("cosine").refine_factor(10).limit(limit)
        return query.select([*_FIELDS, "_distance"]).to_arrow()

    def raw_words(self, index: int) -> Any:
        """LanceDB's search by words, with what a hit needs."""
        words = query_terms(self.questions[index], self.store.languages())
        query = self.store.chunks_table.search(MatchQuery(words, "words"), query_type="fts")
        return query.limit(POOL).select([*_FIELDS, "_score"]).to_arrow()

    def hybrid(self, index: int) -> list[Hit]:
        """Ours: both, fused, as passages."""
        return retrieve(self.store, self.questions[index], self.vectors[index], SearchOptions(limit=6))

    def recall_at_10(self) -> float:
        """The share of the ten nearest chunks that the index finds among the nearest fifty."""
        shares = []
        for index, vector in enumerate(self.vectors):
            exact = self.store.chunks_table.search(vector, vector_column_name="vector").distance_type("cosine")
            best = exact.bypass_vector_index().limit(10).select(["id", "_distance"]).to_arrow()["id"].to_pylist()
            shares.append(len({*best} & {*self.raw_vector(index)["id"].to_pylist()[:10]}) / 10)
        return round(float(np.mean(shares)), 4)

    def times(self) -> dict[str, list[float]]:
        """Milliseconds of each search of every question, in turns, so that all meet the same machine."""
        turns: dict[str, Callable[[int], Any]] = {
            "raw vector": self.raw_vector,
            "raw words": self.raw_words,
            "hybrid": self.hybrid,
        }
        times: dict[str, list[float]] = {name: [] for name in turns}
        for index in range(self.count):
            for name, search in turns.items() if index % 2 else reversed(turns.items()):
                began = time.perf_counter()
                search(index)
                times[name].append((time.perf_counter() - began) * 1000)
        return {name: found[_WARM:] for name, found in times.items()}


def figures(times: dict[str, list[float]]) -> dict[str, float]:
    """Medians and 95th percentiles, and the two ratios that matter."""
    found = {}
    for name, values in times.items():
        for percent in (50, 95):
            found[f"{name} p{percent} (ms)"] = round(float(np.percentile(values, percent)), 2)
    slower = max(found["raw vector p50 (ms)"], found["raw words p50 (ms)"])
    found["hybrid p50 / slower raw p50"] = round(found["hybrid p50 (ms)"] / slower, 2)
    found["hybrid p95 / p50"] = round(found["hybrid p95 (ms)"] / found["hybrid p50 (ms)"], 2)
    return found


def first_search(path: Path) -> dict[str, float]:
    """The first search of a fresh process: the whole life of that process, and what it says of itself; medians.

    Modules are compiled, as `pip install` leaves them, also where this interpreter may not keep what it compiles.
    """
    code = _FRESH.format(path=str(path), dimension=DIMENSION)
    whole, parts = [], []
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(1 + _RUNS):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
            )
            whole.append(time.perf_counter() - began)
            parts.append(json.loads(done.stdout))
    del whole[0], parts[0]  # the one that compiled
    found = {"whole process (s)": round(statistics.median(whole), 3)}
    return found | {name: round(statistics.median(part[name] for part in parts), 3) for name in parts[0]}


def main() -> None:
    """Build, measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="a folder to build in, or to measure again what was built there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "made.kb"
        result: dict[str, Any] = {"rows": arguments.rows}
        if not path.exists():
            began = time.perf_counter()
            build(path, arguments.rows)
            result["written (s)"] = round(time.perf_counter() - began, 1)
            result["first tidying"] = in_new_process(path)
        store = Store.open(path)
        searches = Searches(store, arguments.searches)
        result |= {"documents": len(store.outlines()), "coverage": asdict(coverage(store))}
        result["recall@10 of the vector index"] = searches.recall_at_10()
        result |= figures(searches.times())
        result["first search of a process"] = first_search(path)
        if arguments.keep is None:
            result["with 1000 chunks in no index"] = _behind(store, arguments.searches)
            result["tidying after those"] = in_new_process(path)
    record("latency", result)


def _behind(store: Store, count: int) -> dict[str, float]:
    with write_lock(store.path):
        more = Synthetic(seed=11).documents(1000)
        Writer(store).put([_renamed(version, f"more-{number}") for number, version in enumerate(more)])
    return figures(Searches(store, count).times())


def _renamed(version: NewVersion, name: str) -> NewVersion:
    source = f"made/{name}.md"
    return replace(version, row=replace(version.row, id=digest(source), source=source))


if __name__ == "__main__":
    main()
