"""Kill ingests at random moments and see that nothing is lost, doubled or torn. `python -m bench.crash --kills 100`

A folder is changed again and again: files are added, edited, renamed, moved and deleted, one of them an archive. After
each change the ingest is started and killed until it has had its share of kills, then it may finish. The same changes
are made to a second knowledge base without kills. At the end, both are compared with one that is built from the final
folder at once: documents, chunks with their places and vectors, and full-text search.
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
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.corpus import Author
from bench.ingest import Synthetic, synthetic
from bench.record import record
from rag.location import Location
from rag.store.search import by_words
from rag.store.tables import Store

_COMMAND = "from ingest.cli import main; main()"


@dataclass
class Editor:
    """Changes a folder at random, the same way for the same seed."""

    folder: Path
    random: random.Random
    written: int = 0
    birds: list[int] = field(default_factory=lambda: [1, 2, 3])

    def write(self, path: Path) -> None:
        """A file of new text."""
        self.written += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Author(self.written).markdown(2500), encoding="utf-8")

    def fill(self, files: int) -> None:
        """The folder as it is at first."""
        for number in range(files):
            self.write(self.folder / f"{number % 7}" / f"note {number}.md")
        self._pack()

    def change(self) -> None:
        """Add, edit, rename, move and delete."""
        files = sorted(self.folder.rglob("*.md"))
        some = self.random.sample(files, max(4, len(files) // 3))
        quarter = len(some) // 4
        for path in some[:quarter]:
            self.write(path)
        for path in some[quarter : 2 * quarter]:
            text = path.read_text(encoding="utf-8")
            path.write_text(text + "\n\n" + Author(self.written).paragraph() + "\n", encoding="utf-8")
            self.written += 1
        for path in some[2 * quarter : 3 * quarter]:
            path.rename(path.with_name(f"moved {self.random.randrange(10**9)}.md"))
        for path in some[3 * quarter :]:
            path.unlink()
        for _ in range(len(some) - 3 * quarter):
            self.write(self.folder / f"{self.random.randrange(7)}" / f"new {self.random.randrange(10**9)}.md")
        self.birds = [*self.birds[1:], self.written]
        self._pack()

    def _pack(self) -> None:
        with zipfile.ZipFile(self.folder / "birds.zip", "w") as archive:
            for number in self.birds:
                info = zipfile.ZipInfo(f"bird{number}.md", (2020, 1, 1, 0, 0, 0))
                archive.writestr(info, Author(number + 500_000).markdown(2000))


def start(server: Synthetic, folder: Path, kb: Location) -> "subprocess.Popen[bytes]":
    """Start the command; workers that outlive it would be a mistake of ours, and are not killed with it."""
    environment = {
        **os.environ,
        "LMSTUDIO_HOST": server.host,
        "RAG_EMBEDDING_MODEL": "synthetic-embedding",
        "RAG_ENGINE": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(folder), "--kb", str(kb)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )


def finish(server: Synthetic, folder: Path, kb: Location) -> float:
    """Run the command to its end; returns its seconds. Raises RuntimeError where it fails."""
    began = time.perf_counter()
    process = start(server, folder, kb)
    _, said = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"ingest ended with {process.returncode}: {said.decode()[-2000:]}")
    return time.perf_counter() - began


def kill(server: Synthetic, folder: Path, kb: Location, after_s: float) -> bool:
    """Start the command and kill it after a while; False where it was faster."""
    process = start(server, folder, kb)
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        process.communicate()
        return True
    process.communicate()
    return False


def contents(kb: Location) -> dict[str, Any]:
    """All that a knowledge base holds, by source. Raises AssertionError where it is torn."""
    store = Store.open(kb)
    rows = store.documents()
    by_document: dict[str, list[dict[str, Any]]] = {}
    for chunk in store.chunks_table.search().to_arrow().to_pylist():
        row = rows.get(chunk["document_id"])
        assert row is not None, "a chunk of no document"
        assert row.revision == chunk["revision"], "a chunk of another revision"
        by_document.setdefault(row.id, []).append(chunk)
    texts = store.texts(rows)
    found: dict[str, Any] = {}
    for id_, row in rows.items():
        chunks = sorted(by_document.get(id_, []), key=lambda chunk: int(chunk["ordinal"]))
        assert [chunk["ordinal"] for chunk in chunks] == list(range(row.chunks)), (
            f"{row.source}: chunks doubled or lost"
        )
        assert all(texts[id_][chunk["start"] : chunk["end"]] == chunk["text"] for chunk in chunks)
        assert row.source not in found, f"{row.source} stands there twice"
        parent = rows[row.part_of].source if row.part_of else ""
        found[row.source] = {
            "row": (row.content_hash, row.size, row.revision, row.title, row.status, row.chunks, parent),
            "chunks": [(c["start"], c["end"], c["text"], c["context"], c["embedded_hash"]) for c in chunks],
            "vectors": np.array([c["vector"] for c in chunks], np.float32),
        }
    return found


def searches(kb: Path, seed: int) -> list[set[tuple[str, int]]]:
    """Which chunks full-text search finds for some words."""
    store = Store.open(kb)
    rows = store.documents()
    chosen = random.Random(seed)
    words = sorted({word for text in store.texts(rows).values() for word in text.split() if word.isalpha()})
    return [
        {(rows[hit.document_id].source, hit.start) for hit in by_words(store, word, 100_000)}
        for word in chosen.sample(words, min(20, len(words)))
    ]


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Raise AssertionError where two knowledge bases differ."""
    assert set(one) == set(other), f"documents differ: {sorted(set(one) ^ set(other))[:5]}"
    for source, left in one.items():
        right = other[source]
        assert left["row"] == right["row"], f"{source}: {left['row']} and {right['row']}"
        assert left["chunks"] == right["chunks"], f"{source}: chunks differ"
        assert np.allclose(left["vectors"], right["vectors"], atol=1e-5), f"{source}: vectors differ"


def run(place: Path, *, kills: int, files: int, kills_a_change: int, seed: int) -> dict[str, Any]:
    """The whole test below a folder; returns what it cost. Raises AssertionError where something is wrong."""
    chosen = random.Random(seed)
    folder = place / "notes"
    editor = Editor(folder, random.Random(seed + 1))
    editor.fill(files)
    done = changes = embedded = reference = 0
    left = 0
    with synthetic() as killed_server, synthetic() as calm_server:
        while True:
            takes = finish(calm_server, folder, place / "calm.kb")
            for _ in range(min(kills_a_change, kills - done)):
                done += kill(killed_server, folder, place / "killed.kb", chosen.uniform(0.2, 1.05) * takes)
            left += (place / "killed.kb" / "journal").is_dir()
            finish(killed_server, folder, place / "killed.kb")
            assert not (place / "killed.kb" / "journal").exists()
            if done >= kills:
                break
            changes += 1
            editor.change()
        embedded, reference = (int(s.call("/stats")["texts"]) for s in (killed_server, calm_server))
        finish(calm_server, folder, place / "clean.kb")
    clean = contents(place / "clean.kb")
    same(contents(place / "killed.kb"), clean)
    same(contents(place / "calm.kb"), clean)
    assert searches(place / "killed.kb", seed) == searches(place / "clean.kb", seed), "full-text search differs"
    return {
        "kills": done,
        "changes": changes,
        "journals_left": left,
        "documents": len(clean),
        "chunks": sum(len(one["chunks"]) for one in clean.values()),
        "embedded": embedded,
        "embedded_without_kills": reference,
        "ratio": round(embedded / reference, 4),
    }


def main() -> None:
    """Run the test and record what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kills-a-change", type=int, default=5)
    parser.add_argument("--files", type=int, default=800)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bench-crash-"))
    try:
        figures = run(
            place,
            kills=arguments.kills,
            files=arguments.files,
            kills_a_change=arguments.kills_a_change,
            seed=arguments.seed,
        )
    finally:
        shutil.rmtree(place)
    print(json.dumps(figures))
    record("crash", {**vars(arguments), **figures})


if __name__ == "__main__":
    main()
