"""`ingest --ray` with one worker and with two, beside a run without Ray; and what kills of workers and drivers cost.

    python -m bench.distributed [--files 4000] [--kills 4]

The embedding server takes its time for every request and serves many at once, so that it is not the limit. `efficiency`
is the time of one worker over twice the time of two: of the whole run as its report tells it, the start of Ray and the
last commit included, and from the first request to the last answer. All knowledge bases are compared, chunk for chunk.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench.corpus import many
from bench.crash import contents, same
from bench.ingest import Synthetic, synthetic
from bench.record import record

_COMMAND = "from ingest.cli import main; main()"
_REQUEST_S, _SLOTS = 0.5, 64
_FILE_CHARS = 4750


def start(server: Synthetic, folder: Path, kb: Path, workers: int | None) -> "subprocess.Popen[str]":
    """Start the command, with so many workers of Ray, or without Ray."""
    of_rag = {"LMSTUDIO_HOST": server.host, "RAG_EMBEDDING_MODEL": "synthetic-embedding", "RAG_ENGINE": "0"}
    by_ray = ["--ray", "local", "--workers", str(workers)] if workers else []
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(folder), "--kb", str(kb), "--json", *by_ray],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **of_rag},
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The report of a run that comes to its end."""
    out, _ = process.communicate()
    assert process.returncode == 0, f"it ended with {process.returncode}"
    report: dict[str, Any] = json.loads(out.strip().rpartition("\n")[2])
    return report


def timed(server: Synthetic, folder: Path, kb: Path, workers: int | None) -> dict[str, Any]:
    """One run, its times, and what the server had to do."""
    server.call("/reset")
    began = time.perf_counter()
    report = finish(start(server, folder, kb, workers))
    stats = server.call("/stats")
    return {
        "wall_s": round(time.perf_counter() - began, 1),
        "report_s": round(report["seconds"], 1),
        "embedding_s": round(stats["span_s"], 1),  # from the first request to the last answer
        "chunks": report["chunks"],
        "requests": int(stats["requests"]),
        "most_in_flight": int(stats["most_in_flight"]),
    }


def killed(server: Synthetic, folder: Path, kb: Path, whom: str, kills: int) -> dict[str, Any]:
    """Runs in which somebody is killed: workers in the middle of one run, or the run itself again and again."""
    server.call("/reset")
    chosen, done, began = random.Random(7), 0, time.perf_counter()
    process = start(server, folder, kb, 2)
    while done < kills:
        time.sleep(0.1)
        if process.poll() is not None:
            break
        answered = server.call("/stats")["answered"]
        if answered < (done + 1) * 300:
            continue
        time.sleep(chosen.uniform(0, 1))
        if whom == "driver":
            process.kill()
            process.communicate()
            process = start(server, folder, kb, 2)
            done += 1
        else:
            workers = [one for one in _below(process.pid) if one.name().startswith("ray::Map")]
            for worker in chosen.sample(workers, min(1, len(workers))):
                worker.kill()
                done += 1
    report = finish(process)
    stats = server.call("/stats")
    return {
        "kills": done,
        "seconds": round(time.perf_counter() - began, 1),
        "failed": report["failed"],
        "texts_embedded": int(stats["texts"]),
    }


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def main() -> None:
    """Run it all and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--kills", type=int, default=4)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bench-distributed-"))
    figures: dict[str, Any] = vars(arguments) | {"request_s": _REQUEST_S, "slots": _SLOTS}
    try:
        folder = many(place / "notes", arguments.files, _FILE_CHARS)
        with synthetic(1, "--base", str(_REQUEST_S), "--token", "0", "--slots", str(_SLOTS)) as server:
            for name, workers in (("without", None), ("one", 1), ("two", 2)):
                figures[name] = timed(server, folder, place / f"{name}.kb", workers)
                print(name, json.dumps(figures[name]), file=sys.stderr, flush=True)
            for whom in ("worker", "driver"):
                figures[f"{whom}_killed"] = killed(server, folder, place / f"{whom}.kb", whom, arguments.kills)
                print(whom, json.dumps(figures[f"{whom}_killed"]), file=sys.stderr, flush=True)
        reference = contents(place / "without.kb")
        for name in ("one", "two", "worker", "driver"):
            same(contents(place / f"{name}.kb"), reference)
        figures["same"] = True
        for measure in ("report_s", "embedding_s"):
            figures[f"efficiency ({measure})"] = round(figures["one"][measure] / (2 * figures["two"][measure]), 3)
    finally:
        shutil.rmtree(place)
    record("distributed", figures)


if __name__ == "__main__":
    main()
