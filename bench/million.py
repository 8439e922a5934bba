"""A knowledge base of a million chunks: what it takes to build, keep and search it, and how that grows with its size.

    python -m bench.million --chunks 10000 100000 1000000 [--keep FOLDER]

Records with words as frequent as in prose are ingested in the program's own way, with a scripted embedder in place of
a model: vectors lie in clusters, those of one record near each other. Each stage is a process of its own. With `--keep`
an interrupted run goes on where it was; with `--again` what was built is measured anew.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.ingest import peak_memory
from bench.latency import DIMENSION, Matrix, Searches, Synthetic
from bench.record import record
from ingest.members import ReadOptions
from ingest.pipeline import ingest
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.families import Family, family_of
from rag.lmstudio.models import ServerKind
from rag.lmstudio.residency import LoadedModel
from rag.settings import Settings
from rag.store.objects import size
from rag.store.search import by_words
from rag.store.tables import Store
from rag.store.upkeep import coverage, tidy
from rag.store.write import write_lock

_WORDS = 130  # a paragraph, and a chunk
_LEAST, _MOST = 300, 640  # tokens of a paragraph: two never make one chunk, and none is cut
_PARAGRAPHS = 10  # a record
_RECORDS = 500  # a file
_TOPICS = 300
_SEARCHES = 200
_WARM = 10  # of these, which do not count
_FRAGMENT = 5000  # chunks, at the least two files of them, for the compaction to have something to do
_COMPARED = 100  # questions whose ten nearest chunks are looked for exactly
_OPTIONS = ReadOptions(record_id="id", record_text=("text",), record_title="title")
_SETTINGS = Settings(engine=False, chunk_tokens=_MOST, embedding_model="made-up")


class Scripted:
    """Stands where the embedding model does: a text's vector follows from its words, at no cost.

    The first word names the topic, the first two the record; all words together say where near it the vector lies.
    """

    model = LoadedModel("made-up", "made-up", "embedding", 8192, 8192, None, ServerKind.PLAIN)
    family: Family = family_of("made-up")

    def embed_documents(self, texts: Sequence[str], _: Sequence[int] | None = None) -> Matrix:
        """Unit vectors, a row a text."""
        rows = np.stack([self._vector(text) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def embed_together(self, documents: Sequence[str], questions: Sequence[str]) -> Matrix:
        """Unit vectors of texts and then of questions."""
        return self.embed_documents([*documents, *questions])

    def embed_query(self, text: str) -> Any:
        """The unit vector of a question."""
        return self.embed_documents([text])[0]

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _vector(text: str) -> Any:
        topic, number, *_ = [*text.split(maxsplit=2), "", ""]
        parts = ((zlib.crc32(topic.encode()) % _TOPICS, 1.0), (f"{topic} {number}", 0.6), (text, 0.7))
        seeds = ((zlib.crc32(str(name).encode()), weight) for name, weight in parts)
        return sum(
            np.random.default_rng(seed).standard_normal(DIMENSION, np.float32) * weight for seed, weight in seeds
        )


class MadeUp(KnowledgeBase):
    """A knowledge base whose vectors are scripted."""

    @property
    def embedder(self) -> Any:
        """The scripted one."""
        return Scripted()


def corpus(folder: Path, chunks: int, first: int = 0) -> Path:
    """Files of records, so many paragraphs in all; those that are there stay. `first` is the number of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    of_a_file = _RECORDS * _PARAGRAPHS
    for number, begin in enumerate(range(0, chunks, of_a_file), first):
        path = folder / f"records{number:05d}.jsonl"
        if not path.exists():
            lines = records(number, min(of_a_file, chunks - begin))
            part = path.with_suffix(".part")
            part.write_text("".join(lines), encoding="utf-8")
            part.replace(path)
    return folder


@cache
def _writer() -> Synthetic:
    return Synthetic()


def records(number: int, paragraphs: int) -> list[str]:
    """The lines of one file."""
    made = _writer()
    made.reseed(1000 + number)
    lines = []
    for at, begin in enumerate(range(0, paragraphs, _PARAGRAPHS)):
        id_ = f"{number:05d}-{at:03d}"
        texts = [made.text(_WORDS) for _ in range(min(_PARAGRAPHS, paragraphs - begin))]
        title = f"{made.words[zlib.crc32(id_.encode()) % _TOPICS]} {id_}"
        lines.append(json.dumps({"id": id_, "title": title, "text": "\n\n".join(texts)}) + "\n")
    return lines


# -- stages, each in a process of its own ------------------------------------------------------------------------------


def build(folder: Path) -> dict[str, Any]:
    """Ingest all files; a run that was broken off goes on."""
    with MadeUp(folder / "kb", settings=_SETTINGS) as kb:
        report = ingest(folder / "records", into=kb, options=_OPTIONS)
    assert not report.failed
    return {"build (s)": round(report.seconds, 1), "chunks": kb.store.chunks_table.count_rows()}


def search(folder: Path) -> dict[str, Any]:
    """Hybrid searches one after another, by a process that does nothing else."""
    began = time.perf_counter()
    store = Store.open(folder / "kb")
    asked = Searches(store, _SEARCHES)
    asked.hybrid(0)
    first = time.perf_counter() - began
    times = []
    for index in range(_SEARCHES):
        began = time.perf_counter()
        asked.hybrid(index)
        times.append((time.perf_counter() - began) * 1000)
    p50, p95 = np.percentile(times[_WARM:], (50, 95))
    return {"opening and first search (s)": round(first, 2), "p50 (ms)": round(p50, 2), "p95 (ms)": round(p95, 2)}


def compare(folder: Path) -> dict[str, Any]:
    """What the index of the vectors finds of what is nearest."""
    store = Store.open(folder / "kb")
    return {"recall@10": Searches(store, _COMPARED).recall_at_10(), "coverage": asdict(coverage(store))}


def one_more(folder: Path) -> dict[str, Any]:
    """One more document in a folder of its own: from the beginning of its ingest until another reader finds it."""
    name = f"addendum{time.time_ns()}"
    path = folder / "more" / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# One more\n\nThe {name} says what nothing else does.\n", encoding="utf-8")
    reader = Store.open(folder / "kb")
    by_words(reader, "anything", 1)

    def found() -> float:
        while not by_words(reader, name, 1):
            time.sleep(0.05)
        return time.perf_counter()

    began = time.perf_counter()
    with ThreadPoolExecutor(1) as beside, MadeUp(folder / "kb", settings=_SETTINGS) as kb:
        seen = beside.submit(found)
        ingest(path, into=kb)
        ended = time.perf_counter()
        return {"until it is found (s)": round(seen.result() - began, 2), "its ingest (s)": round(ended - began, 2)}


def add(folder: Path) -> dict[str, Any]:
    """A twentieth more; the indexes and fragments stay as the writing leaves them."""
    store = Store.open(folder / "kb")
    more = corpus(folder / "later", max(2 * _FRAGMENT, store.chunks_table.count_rows() // 20), first=90_000)
    began = time.perf_counter()
    with MadeUp(folder / "kb", settings=_SETTINGS) as kb:
        ingest(more, into=kb, options=_OPTIONS)
    return {"seconds": round(time.perf_counter() - began, 1)}


def compact(folder: Path) -> dict[str, Any]:
    """All fragments made one again and all rows indexed."""
    store = Store.open(folder / "kb")
    began = time.perf_counter()
    with write_lock(store.path):
        tidy(store)
    return {"seconds": round(time.perf_counter() - began, 1)}


STAGES: dict[str, Callable[[Path], dict[str, Any]]] = {
    stage.__name__: stage for stage in (build, search, compare, one_more, add, compact)
}


def run(stage: str, folder: Path) -> dict[str, Any]:
    """One stage in a new process: what it says, and the most memory that it and its children held."""
    command = [sys.executable, "-m", "bench.million", "--stage", stage, "--keep", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        peak = peak_memory(process)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0, f"{stage} failed"
    return {**json.loads(said), "peak (MB)": round(peak / 1e6)}


def measured(folder: Path, chunks: int, *, again: bool) -> dict[str, Any]:
    """All stages of one size; what a former run has measured is not measured again."""
    notes = folder / "measured.json"
    found: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {}
    corpus(folder / "records", chunks)
    for stage in STAGES:
        if stage not in found or (again and stage not in ("build", "add")):
            found[stage] = run(stage, folder)
            if stage == "build":
                found[stage]["disk (MB)"] = round(size(folder / "kb") / 1e6)
            notes.write_text(json.dumps(found))
            print(chunks, stage, json.dumps(found[stage]), file=sys.stderr, flush=True)
    return found


def table(sizes: dict[int, dict[str, Any]]) -> str:
    """A row a figure, a column a size, and how much each grows from one size to the next."""
    rows = [["", *(f"{size:,}" for size in sizes)]]
    for stage in STAGES:
        for name, value in sizes[min(sizes)][stage].items():
            values = [found[stage].get(name) for found in sizes.values()]
            if isinstance(value, int | float):
                growth = [""] + [f" (x{b / a:.1f})" if a else "" for a, b in itertools.pairwise(values)]
                rows.append([f"{stage}: {name}", *(f"{v:g}{g}" for v, g in zip(values, growth, strict=True))])
    return "\n".join(" | ".join(row) for row in rows)


def main() -> None:
    """Measure each size and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, help="a folder to build in and to go on in")
    parser.add_argument("--again", action="store_true", help="measure again what was built there")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(STAGES[arguments.stage](arguments.keep)))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.keep or Path(folder)
        sizes = {size: measured(place / str(size), size, again=arguments.again) for size in sorted(arguments.chunks)}
    print(table(sizes))
    record("million", {"sizes": sizes})


if __name__ == "__main__":
    main()
