"""The engine under hours' worth of rough use in minutes: loads, unloads, answers, hang-ups and kills, at random.

`python -m bench.engine_soak --seconds 180` runs an engine of its own on a free port, with four clients that do what a
seeded generator tells them. At the end the engine has to be as it was: nothing hangs, no process and no memory is left
over, and it answers. The steps of each client are the same for the same seed; how those of four fall together is not.
"""

import argparse
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from rag.engine import launch

CHAT = "smollm2-135m-instruct"
EMBED = "text-embedding-all-minilm-l6-v2"
CLIENTS = 4
HUNG_SECONDS = 60.0
MOST_BYTES_LEFT = 64_000_000
EXPECTED = (
    "Model was unloaded while the request was still in queue..",
    "The model has crashed without additional information.",
    "Failed to load model",
    "Invalid model identifier",
    "No models loaded.",
)


@dataclass(slots=True)
class Report:
    """What happened. Belongs to all clients; what they count is harmless to lose, what must not be is in lists."""

    steps: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    """Seconds, by kind of step."""


class Client:
    """Does one random thing after the other."""

    def __init__(self, url: str, pid: int, seed: int, report: Report) -> None:
        self._random = random.Random(seed)
        self._http = httpx2.Client(base_url=url, timeout=HUNG_SECONDS, trust_env=False)
        self._engine = psutil.Process(pid)
        self._report = report
        self._steps: list[tuple[int, Callable[[], httpx2.Response | None]]] = [
            (30, self.embed),
            (20, self.chat),
            (15, self.stream),
            (8, self.hang_up),
            (4, self.hang_up_on_a_stream),
            (8, self.load),
            (8, self.unload),
            (2, self.kill),
            (5, self.look),
        ]

    def run(self, until: float) -> None:
        """Go on until then."""
        weights = [weight for weight, _ in self._steps]
        while time.monotonic() < until:
            _, step = self._random.choices(self._steps, weights)[0]
            started = time.monotonic()
            try:
                self._note(step.__name__, step())
            except httpx2.TimeoutException:
                self._report.problems.append(f"{step.__name__} had no answer within {HUNG_SECONDS:g} s")
            except httpx2.TransportError as exc:
                self._report.problems.append(f"{step.__name__}: {exc!r}")
            seconds = round(time.monotonic() - started, 1)
            self._report.slowest[step.__name__] = max(self._report.slowest.get(step.__name__, 0), seconds)
        self._http.close()

    def _note(self, name: str, reply: httpx2.Response | None) -> None:
        self._report.steps[name] += 1
        if reply is None:
            return
        text = reply.text
        error = next((message for message in EXPECTED if message in text), None)
        if reply.status_code == 200 and "error" not in text:
            self._report.outcomes["well"] += 1
        elif error is not None:
            self._report.outcomes[error] += 1
        else:
            self._report.problems.append(f"{name}: {reply.status_code} {text[:300]}")

    def _name(self, key: str) -> str:
        return self._random.choice([key, key, key, f"{key}:2"])

    def _chat_body(self, tokens: int, stream: bool = False) -> dict[str, Any]:
        words = " ".join(self._random.choices(["lamp", "river", "clock", "bread"], k=self._random.randint(1, 60)))
        messages = [{"role": "user", "content": words}]
        return {"model": CHAT, "messages": messages, "max_tokens": tokens, "stream": stream}

    def embed(self) -> httpx2.Response:
        """Embed up to 16 texts."""
        texts = ["some words " * self._random.randint(1, 300)] * self._random.randint(1, 16)
        return self._http.post("/v1/embeddings", json={"model": EMBED, "input": texts})

    def chat(self) -> httpx2.Response:
        """Have a short answer."""
        return self._http.post("/v1/chat/completions", json=self._chat_body(self._random.randint(1, 20)))

    def stream(self) -> httpx2.Response:
        """Have a short answer as a stream."""
        return self._http.post("/v1/chat/completions", json=self._chat_body(self._random.randint(1, 20), True))

    def hang_up(self) -> None:
        """Ask for a very long answer and do not wait for it."""
        with suppress(httpx2.TimeoutException):
            self._http.post("/v1/chat/completions", json=self._chat_body(2000), timeout=self._random.uniform(0.01, 0.5))

    def hang_up_on_a_stream(self) -> None:
        """Read the beginning of a very long answer."""
        with self._http.stream("POST", "/v1/chat/completions", json=self._chat_body(2000, True)) as reply:
            for _, _ in zip(range(self._random.randint(1, 5)), reply.iter_lines(), strict=False):
                pass

    def load(self) -> httpx2.Response | None:
        """Load a model on purpose, unless it is there twice."""
        key = self._random.choice([CHAT, EMBED])
        if sum(name.startswith(key) for name in self._loaded()) > 1:
            return None
        return self._http.post("/api/v1/models/load", json={"model": key, "context_length": 512})

    def unload(self) -> httpx2.Response:
        """Unload an instance, or try to."""
        name = self._name(self._random.choice([CHAT, EMBED]))
        return self._http.post("/api/v1/models/unload", json={"instance_id": name})

    def kill(self) -> None:
        """Kill a worker."""
        children = self._engine.children()
        if children:
            with suppress(psutil.NoSuchProcess):
                self._random.choice(children).kill()

    def look(self) -> httpx2.Response:
        """List the models."""
        return self._http.get("/api/v1/models")

    def _loaded(self) -> list[str]:
        rows = self._http.get("/api/v1/models").json()["models"]
        return [instance["id"] for row in rows for instance in row["loaded_instances"]]


def soak(url: str, pid: int, seconds: float, seed: int) -> dict[str, Any]:
    """Use a running engine roughly for so long and return the figures; `problems` lists all that must not be."""
    with httpx2.Client(base_url=url, timeout=HUNG_SECONDS, trust_env=False) as http:
        _warm(http)
        _unload_all(http)
        before = _measured(pid)
        report = Report()
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=Client(url, pid, seed + i, report).run, args=(until,)) for i in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 2 * HUNG_SECONDS)
        hung = sum(thread.is_alive() for thread in threads)
        _unload_all(http)
        _wait_for_quiet(pid)
        after = _measured(pid)
        _warm(http)
        _unload_all(http)
    problems = report.problems + [f"{hung} clients hang"] * bool(hung)
    if after["processes"] != before["processes"]:
        problems.append(f"{after['processes']} processes, {before['processes']} before")
    if after["bytes"] - before["bytes"] > MOST_BYTES_LEFT:
        problems.append(f"{after['bytes'] - before['bytes']} bytes more than before")
    if after["files"] > before["files"] + 4:
        problems.append(f"{after['files']} open files, {before['files']} before")
    return {
        "seconds": seconds,
        "seed": seed,
        "steps": sum(report.steps.values()),
        "by kind": dict(report.steps.most_common()),
        "outcomes": dict(report.outcomes.most_common()),
        "slowest (s)": report.slowest,
        "before": before,
        "after": after,
        "problems": problems,
    }


def _fetch(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=HUNG_SECONDS, trust_env=False) as http:
        for key in (CHAT, EMBED):
            job = http.post("/api/v1/models/download", json={"model": key}).json()
            while job["status"] == "downloading":
                time.sleep(0.5)
                job = http.get(f"/api/v1/models/download/status/{job['job_id']}").json()


def _warm(http: httpx2.Client) -> None:
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 2}
    http.post("/v1/chat/completions", json=body).raise_for_status()
    http.post("/v1/embeddings", json={"model": EMBED, "input": "hello"}).raise_for_status()


def _unload_all(http: httpx2.Client) -> None:
    for row in http.get("/api/v1/models").json()["models"]:
        for instance in row["loaded_instances"]:
            http.post("/api/v1/models/unload", json={"instance_id": instance["id"]})


def _wait_for_quiet(pid: int) -> None:
    deadline = time.monotonic() + 20
    while psutil.Process(pid).children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)


def _measured(pid: int) -> dict[str, int]:
    engine = psutil.Process(pid)
    processes = [engine, *engine.children(recursive=True)]
    return {
        "processes": len(processes),
        "bytes": sum(process.memory_info().rss for process in processes),
        "files": engine.num_fds() if os.name == "posix" else 0,
    }


def main() -> int:
    """Soak an engine of our own, record the figures, and say by the exit code whether all was well."""
    from bench.record import record

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-record", action="store_true", help="print the figures only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAG_STATE_DIR"] = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        engine = launch.start("127.0.0.1", port, idle_seconds=600)
        assert engine.pid is not None
        try:
            _fetch(engine.url)
            figures = soak(engine.url, engine.pid, options.seconds, options.seed)
        finally:
            log = (Path(folder) / f"engine-{port}.log").read_text(encoding="utf-8", errors="replace")
            launch.stop("127.0.0.1", port)
    figures["tracebacks in the log"] = log.count("Traceback")
    if options.no_record:
        print(json.dumps(figures))
    else:
        record("engine-soak", figures)
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
