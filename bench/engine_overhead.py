"""What the engine adds to the worker behind it: the same requests to both, in turn, in one run.

Chat is measured in tokens per second and to the first token, embeddings in texts per second; the ratios are what
counts, the machine may be busy with other things. By default with the smallest model and one-sentence texts, where what
the engine adds weighs most; `--demo` takes the demo's chat model and texts as long as chunks are.
"""

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx2

from bench.record import record
from rag.engine import launch
from rag.engine.instance import LoadOptions, worker_spec
from rag.engine.library import Library
from rag.engine.places import models_folder
from rag.engine.process import start_worker

DEMO = "--demo" in sys.argv
CHAT = "qwen2.5-coder-0.5b-instruct" if DEMO else "smollm2-135m-instruct"
EMBED = "text-embedding-all-minilm-l6-v2"
ROUNDS = 7
EMBED_ROUNDS = 15
T = TypeVar("T")
SENTENCE = "the warranty of the device lasts two years from the day of purchase."
TEXTS = [f"Text {number}: " + " ".join([SENTENCE] * (8 if DEMO else 1)) for number in range(32)]
CHAT_BODY = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "Tell a long story about a lighthouse."}],
    "temperature": 0,
    # LM Studio's defaults, which the engine adds: said outright, so that the bare worker has the same work to do.
    "repeat_penalty": 1.1,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "max_tokens": 64,
    "stream": True,
}


@dataclass(frozen=True, slots=True)
class Chatted:
    """One streamed answer."""

    first_ms: float
    seconds: float
    tokens: int


async def chat(client: httpx2.AsyncClient) -> Chatted:
    """Stream one answer."""
    began = time.perf_counter()
    first = 0.0
    tokens = 0
    async with client.stream("POST", "/v1/chat/completions", json=CHAT_BODY) as reply:
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            if choices and choices[0]["delta"].get("content"):
                first = first or time.perf_counter()
                tokens += 1
    return Chatted((first - began) * 1000, time.perf_counter() - began, tokens)


async def embed(client: httpx2.AsyncClient) -> float:
    """Return how many texts per second one batch of them makes."""
    began = time.perf_counter()
    reply = await client.post("/v1/embeddings", json={"model": EMBED, "input": TEXTS})
    assert len(reply.json()["data"]) == len(TEXTS)
    return len(TEXTS) / (time.perf_counter() - began)


async def crowd(client: httpx2.AsyncClient) -> float:
    """Return how many tokens per second four answers make that are streamed at once."""
    began = time.perf_counter()
    four = await asyncio.gather(*(chat(client) for _ in range(4)))
    return sum(one.tokens for one in four) / (time.perf_counter() - began)


async def in_turn(
    work: Callable[[httpx2.AsyncClient], Awaitable[T]], ours: httpx2.AsyncClient, bare: httpx2.AsyncClient, number: int
) -> tuple[T, T]:
    """Do the work through the engine and without it, every other time the other way round."""
    if number % 2:
        direct = await work(bare)
        return await work(ours), direct
    return await work(ours), await work(bare)


async def measure(url: str) -> dict[str, object]:
    """Measure engine and bare workers in turn, so that a busy moment hits both."""
    library = Library((models_folder(),))
    workers = []
    for key in (CHAT, EMBED):
        model = library.find(key)
        assert model is not None, f"{key} has not been downloaded"
        workers.append(await start_worker(worker_spec(model, LoadOptions(), 0, False)))
    through = httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False)
    direct_chat, direct_embed = (worker.client for worker in workers)
    try:
        for client in (through, direct_chat):
            await chat(client)
        for client in (through, direct_embed):
            await embed(client)
        chats = [await in_turn(chat, through, direct_chat, number) for number in range(ROUNDS)]
        embeds = [await in_turn(embed, through, direct_embed, number) for number in range(EMBED_ROUNDS)]
        crowds = [(await chat(through), await crowd(through)) for _ in range(ROUNDS)]
    finally:
        await through.aclose()
        for worker in workers:
            await worker.stop()
    rates = [(ours.tokens / ours.seconds, bare.tokens / bare.seconds) for ours, bare in chats]
    together = [(four, four / (one.tokens / one.seconds)) for one, four in crowds]
    return {
        "rounds": {"chat": ROUNDS, "embeddings": EMBED_ROUNDS},
        "chat (tokens/s)": round(statistics.median(ours for ours, _ in rates), 1),
        "chat, ratio to the bare worker": round(statistics.median(ours / bare for ours, bare in rates), 3),
        "first token, added (ms)": round(statistics.median(ours.first_ms - bare.first_ms for ours, bare in chats), 1),
        "embeddings (texts/s)": round(statistics.median(ours for ours, _ in embeds), 1),
        "embeddings, ratio to the bare worker": round(statistics.median(ours / bare for ours, bare in embeds), 3),
        "four chats at once (tokens/s, all together)": round(statistics.median(four for four, _ in together), 1),
        "four chats at once, ratio to one": round(statistics.median(ratio for _, ratio in together), 2),
    }


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["RAG_STATE_DIR"] = state
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        url = launch.start("127.0.0.1", port).url
        try:
            for key in (CHAT, EMBED):
                load(url, key)
            record("engine-overhead-demo" if DEMO else "engine-overhead", asyncio.run(measure(url)))
        finally:
            launch.stop("127.0.0.1", port)


def load(url: str, key: str) -> None:
    """Have the engine fetch a model, where it is not there yet, and load it."""
    with httpx2.Client(base_url=f"{url}/api/v1/models", timeout=600, trust_env=False) as client:
        reply = client.post("/download", json={"model": key}).json()
        while reply["status"] == "downloading":
            time.sleep(0.5)
            reply = client.get(f"/download/status/{reply['job_id']}").json()
        assert client.post("/load", json={"model": key}).status_code == 200, reply


if __name__ == "__main__":
    main()
