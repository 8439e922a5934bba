"""Many users of one `rag serve` at once: does anybody get an error, and how long do they wait?

    python -m bench.service [--searching 200] [--asking 20] [--seconds 20]

The models are scripted and answer at once, so what is measured is the service. Its knowledge base is `data/sample`;
each user sends the next question when the one before is answered. Times are in milliseconds; those of asking are to the
last event of the stream.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from bench.record import record
from ingest.pipeline import ingest
from rag.evaluation.datasets import read_questions
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings

ROOT = Path(__file__).parents[1]
# The server of the tests, in a process of its own: it must not share a processor's time with what is measured.
MODELS = """
import sys
sys.path.insert(0, "tests")
from lmstudio_server import lm_studio
with lm_studio() as lm:
    lm.says = "The mast clamp bolts need 4.5 Nm."
    print(lm.port, flush=True)
    sys.stdin.read()
"""
CHAT, EMBED = "qwen/qwen3-4b", "text-embedding-nomic-embed-text-v1.5"


@dataclass
class Seen:
    """What one kind of user saw: milliseconds of each answer, and errors by what they say."""

    times: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def figures(self, seconds: float) -> dict[str, Any]:
        """How many, how fast, and what went wrong."""
        ordered = sorted(self.times) or [0.0]
        shown = {name: round(ordered[int(len(ordered) * at)], 1) for name, at in (("p50", 0.5), ("p95", 0.95))}
        count = len(self.times)
        return {
            "answers": count,
            "a_second": round(count / seconds, 1),
            **shown,
            "most": round(ordered[-1], 1),
            "errors": dict(self.errors),
        }


@contextlib.contextmanager
def running(command: list[str], **environment: str) -> Iterator[str]:
    """A program, with the first line that it prints."""
    program = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        yield program.stdout.readline().strip()
    finally:
        program.stdin.close()
        program.terminate()
        program.wait()


async def users(client: httpx2.AsyncClient, searching: int, asking: int, seconds: float) -> tuple[Seen, Seen]:
    """Let all of them ask until the time is over."""
    questions = [q.question for q in read_questions(ROOT / "data" / "questions.jsonl")]
    until = time.perf_counter() + seconds
    searched, asked = Seen(), Seen()

    async def search(question: str) -> str:
        reply = await client.post("/api/kb/search", json={"question": question})
        return "" if reply.status_code == 200 and reply.json()["hits"] else f"{reply.status_code} {reply.text[:100]}"

    async def ask(question: str) -> str:
        last = ""
        async with client.stream("POST", "/api/kb/ask", json={"question": question, "stream": True}) as reply:
            async for line in _lines(reply):
                last = line if line.startswith("event: ") else last
        return "" if last == "event: answer" else f"{reply.status_code} {last}"

    async def user(number: int, do: Any, seen: Seen) -> None:
        for question in itertools.islice(itertools.cycle(questions), number, None):
            if time.perf_counter() >= until:
                return
            began = time.perf_counter()
            try:
                problem = await do(question)
            except httpx2.HTTPError as exc:
                problem = type(exc).__name__
            if problem:
                seen.errors[problem] += 1
            else:
                seen.times.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(
        *(user(number, search, searched) for number in range(searching)),
        *(user(number, ask, asked) for number in range(asking)),
    )
    return searched, asked


async def _lines(reply: httpx2.Response) -> AsyncIterator[str]:
    async for line in reply.aiter_lines():
        yield line


async def measured(address: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one run, after one of each that loads what is loaded once."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=address, timeout=120, trust_env=False, limits=limits) as client:
        await users(client, 1, 1, 0.1)
        began = time.perf_counter()
        searched, asked = await users(client, arguments.searching, arguments.asking, arguments.seconds)
        seconds = time.perf_counter() - began  # those who have asked are answered, however long it takes
    return {
        "searching": {"users": arguments.searching, **searched.figures(seconds)},
        "asking": {"users": arguments.asking, **asked.figures(seconds)},
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searching", type=int, default=200, help="users who search (default: 200)")
    parser.add_argument("--asking", type=int, default=20, help="users who ask (default: 20)")
    parser.add_argument("--seconds", type=float, default=20, help="how long (default: 20)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running([sys.executable, "-c", MODELS]) as port:
        environment = {
            "LMSTUDIO_HOST": f"127.0.0.1:{port}",
            "RAG_CHAT_MODEL": CHAT,
            "RAG_EMBEDDING_MODEL": EMBED,
            "RAG_STATE_DIR": f"{folder}/state",
            "RAG_KB": f"{folder}/sample.kb",
            "RAG_TTL_S": "-1",
        }
        os.environ |= environment
        settings = Settings(
            host=environment["LMSTUDIO_HOST"],
            kb=Path(environment["RAG_KB"]),
            embedding_model=EMBED,
            chat_model=CHAT,
            engine=False,
            ttl_s=-1,
        )
        with KnowledgeBase(settings=settings) as base:
            ingest(ROOT / "data" / "sample", into=base)
        serve = [sys.executable, "-c", "from rag.cli.app import main; main()", "serve", "--port", "0", "--json"]
        with running(serve) as told:
            figures = asyncio.run(measured(json.loads(told)["address"], arguments))
    record("service", figures)
    if figures["searching"]["errors"] or figures["asking"]["errors"]:
        sys.exit("somebody got an error")


if __name__ == "__main__":
    main()
