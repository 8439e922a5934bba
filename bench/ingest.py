"""Ingestion against a server of known speed: how much of the time is ours. `python -m bench.ingest [case ...]`

Every run is the `ingest` command in a process of its own. `work_s` is what its report says, `wall_s` the life of the
process with Python's start and all imports in it, `limit_s` the least time in which the server could have done it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import corpus, formats
from bench.record import record

SERVER = Path(__file__).with_name("synth_server.py")
_SAMPLE_S = 0.05
_COMMAND = "from ingest.cli import main; main()"


class Synthetic:
    """A synthetic server that runs, `faster` times as fast as its defaults."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"

    def call(self, path: str) -> dict[str, Any]:
        """What it answers at a path."""
        with urllib.request.urlopen(f"http://{self.host}{path}", timeout=30) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer


@contextmanager
def synthetic(faster: float = 1.0, *arguments: str) -> Iterator[Synthetic]:
    """A server of its own process, which ends with this one."""
    command = [sys.executable, str(SERVER), "--base", str(0.005 / faster), "--token", str(0.00002 / faster), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Synthetic(int(process.stdout.readline()))
        finally:
            process.kill()


def ingest(server: Synthetic, folder: Path, kb: Path) -> dict[str, Any]:
    """One run of the command: its times, its report, the server's figures and the memory of all its processes."""
    server.call("/reset")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "LMSTUDIO_HOST": server.host,
        "RAG_EMBEDDING_MODEL": "synthetic-embedding",
        "RAG_ENGINE": "0",
    }
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, str(folder), "--kb", str(kb), "--json"],
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        peak = peak_memory(process)
        wall = time.perf_counter() - began
        output.seek(0)
        report = json.loads(output.read().strip().rpartition("\n")[2])
    stats = server.call("/stats")
    limit = stats["limit_s"]
    figures = {
        "wall_s": round(wall, 2),
        "work_s": round(report["seconds"], 3),
        "limit_s": round(limit, 2),
        "requests": int(stats["requests"]),
        "most_in_flight": int(stats["most_in_flight"]),
        "chunks": report["chunks"],
        "embedded": report["embedded"],
        "peak_mb": round(peak / 1e6),
        "load": round(os.getloadavg()[0], 1),
    }
    if limit > 0.5:
        figures |= {
            "work_to_limit": round(report["seconds"] / limit, 3),
            "sending_to_limit": round(stats["span_s"] / limit, 3),
            "wall_beyond_limit_s": round(wall - limit, 2),
        }
    return figures


def peak_memory(process: "subprocess.Popen[bytes]") -> int:
    """The most bytes that the process and its children held at once, until it ends."""
    peak = 0
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, sum(_rss(one) for one in (root, *root.children(recursive=True))))
        except psutil.Error:
            continue
        time.sleep(_SAMPLE_S)
    return peak


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def notes(place: Path) -> dict[str, Any]:
    """2,000 Markdown files, 10 MB: at first, again, and with one file changed."""
    folder = corpus.many(place / "notes", 2000, 4750)
    kb = place / "notes.kb"
    with synthetic() as server:
        figures = {"first": ingest(server, folder, kb), "again": ingest(server, folder, kb)}
        changed = folder / "007" / "note00290.md"
        changed.write_text(changed.read_text() + "\n\nOne more paragraph about nothing in particular.\n")
        return {**figures, "one_changed": ingest(server, folder, kb)}


def fast(place: Path) -> dict[str, Any]:
    """The same files against a server ten times as fast."""
    folder = corpus.many(place / "notes", 2000, 4750)
    with synthetic(10) as server:
        return {"first": ingest(server, folder, place / "fast.kb")}


def small(place: Path) -> dict[str, Any]:
    """20,000 files of 1 KB."""
    folder = corpus.many(place / "small", 20_000, 700)
    with synthetic() as server:
        kb = place / "small.kb"
        return {"first": ingest(server, folder, kb), "again": ingest(server, folder, kb)}


def large(place: Path) -> dict[str, Any]:
    """One text file of 20 MB."""
    folder = corpus.one(place / "large", 20_000_000)
    with synthetic() as server:
        return {"first": ingest(server, folder, place / "large.kb")}


def reading(place: Path) -> dict[str, Any]:
    """What reading and cutting costs, by format."""
    return formats.costs(place)


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "notes": notes,
    "fast": fast,
    "small": small,
    "large": large,
    "reading": reading,
}


def main() -> None:
    """Run the cases and record their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    chosen = parser.parse_args().cases or list(CASES)
    figures = {}
    for name in chosen:
        place = Path(tempfile.mkdtemp(prefix="bench-ingest-"))
        try:
            figures[name] = CASES[name](place)
            print(name, json.dumps(figures[name]), flush=True)
        finally:
            shutil.rmtree(place)
    record("ingest", figures)


if __name__ == "__main__":
    main()
