"""Time to the first word of an answer, beyond what the model server itself takes for the same prompt.

    python -m bench.first_token [--chunks 10000] [--questions 60]

The chat model is scripted and answers at once, and a question's vector is given, so that what is left is ours: search,
packing, the request and the reading of what comes. Each question is asked in turn with the bare request of its prompt.
Milliseconds.
"""

import argparse
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

import httpx2

from bench.latency import Synthetic, build
from bench.record import record
from bench.service import CHAT, MODELS, running
from rag.answer import Said, answer_stream
from rag.knowledge_base import ANSWER_FLOOR
from rag.lmstudio.chat import ChatModel
from rag.packing import prompt
from rag.search.options import SearchOptions
from rag.search.retrieve import retrieve
from rag.settings import Settings
from rag.store.upkeep import tidy

_WARM = 5


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=60)
    arguments = parser.parse_args()
    made = Synthetic(seed=11)
    ours: list[float] = []
    bare: list[float] = []
    searches: list[float] = []
    with tempfile.TemporaryDirectory() as folder, running([sys.executable, "-c", MODELS]) as port:
        store = build(Path(folder) / "kb", arguments.chunks)
        tidy(store)
        host = f"127.0.0.1:{port}"
        settings = Settings(host=host, chat_model=CHAT, engine=False, ttl_s=-1)
        options = SearchOptions(limit=settings.top_k, floor=ANSWER_FLOOR)
        with closing(ChatModel(settings)) as model, httpx2.Client(base_url=f"http://{host}", trust_env=False) as http:
            for number in range(_WARM + arguments.questions):
                question, vector = made.question(), made.vectors(1)[0]
                began = time.perf_counter()
                hits = retrieve(store, question, vector, options)
                found = time.perf_counter()
                # Of made-up texts none resembles the question enough for the model to be asked.
                alike = [replace(hit, similarity=0.8, text=f"{question} {hit.text}") for hit in hits]
                resumed = time.perf_counter()
                with closing(answer_stream(question, alike, model, answer_tokens=settings.answer_tokens)) as events:
                    assert isinstance(next(events), Said)
                    heard = time.perf_counter()
                alone = _bare(http, prompt(question, alike))
                if number >= _WARM:
                    searches.append((found - began) * 1000)
                    ours.append((found - began + heard - resumed) * 1000)
                    bare.append(alone * 1000)
    beyond = sorted(mine - server for mine, server in zip(ours, bare, strict=True))
    record(
        "first_token",
        {
            "chunks": arguments.chunks,
            "questions": arguments.questions,
            "search, p50 (ms)": round(median(searches), 1),
            "first word of ours, p50 (ms)": round(median(ours), 1),
            "of the bare request, p50 (ms)": round(median(bare), 1),
            "beyond the server's own, p50 (ms)": round(median(beyond), 1),
            "beyond the server's own, p95 (ms)": round(beyond[int(len(beyond) * 0.95)], 1),
        },
    )


def _bare(http: httpx2.Client, text: str) -> float:
    """Seconds to the first word of a plain request."""
    body = {"model": CHAT, "messages": [{"role": "user", "content": text}], "stream": True}
    began = time.perf_counter()
    with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        for line in reply.iter_lines():
            if '"content"' in line:
                return time.perf_counter() - began
    raise RuntimeError("the server said nothing")


if __name__ == "__main__":
    main()
