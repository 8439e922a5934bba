"""Do the models stay: 100 questions while another program has a third model loaded, and 8 commands on a cold server.

Against the embedded engine with LM Studio's defaults, just-in-time loading and auto-evict on, where every program that
does not load explicitly has its models evicted at each step.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2

from bench.record import record
from ingest.pipeline import ingest
from rag.engine import launch
from rag.evaluation.datasets import read_questions
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings

RAG = "from rag.cli.app import main; main()"
DATA = Path(__file__).parents[1] / "data"
PORT, QUESTIONS, PROCESSES = 4319, 100, 8
EMBED, CHAT, THIRD = "text-embedding-all-minilm-l6-v2", "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAG_STATE_DIR"] = folder
        started = launch.start("127.0.0.1", PORT)
        try:
            settings = Settings(
                host=started.url, engine=False, embedding_model=EMBED, chat_model=CHAT, answer_tokens=24, top_k=2
            )
            log = Path(folder, f"engine-{PORT}.log")
            with httpx2.Client(base_url=started.url, timeout=300, trust_env=False) as other:
                for key in (EMBED, CHAT, THIRD):
                    _fetched(other, key)
                kb = Path(folder, "sample.kb")
                with KnowledgeBase(kb, settings=settings) as base:
                    ingest(DATA / "sample", into=base)
                figures = {
                    "questions": _questions(kb, settings, other, log),
                    "processes": _processes(kb, other, started),
                }
        finally:
            launch.stop("127.0.0.1", PORT)
    record("residency", figures)


def _questions(kb: Path, settings: Settings, other: httpx2.Client, log: Path) -> dict[str, Any]:
    asked = list(islice(cycle(q.question for q in read_questions(DATA / "questions.jsonl")), QUESTIONS))
    third, resident = 0, 0
    with KnowledgeBase(kb, settings=replace(settings, ttl_s=3600)) as base:
        base.ask(asked[0])
        before, began = _loads(log), time.perf_counter()
        for number, question in enumerate(asked):
            base.ask(question)
            if number % 10 == 5:  # the other program has its turn, and its model is unloaded behind our back again
                body = {"model": THIRD, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
                third += other.post("/v1/chat/completions", json=body).json()["model"] == THIRD
                other.post("/api/v1/models/unload", json={"instance_id": THIRD})
            resident += {EMBED, CHAT} <= set(_loaded(other))
        seconds = time.perf_counter() - began
        after = _loads(log)
    return {
        "asked": len(asked),
        "loads of ours after warm-up": sum(after.get(key, 0) - before.get(key, 0) for key in (EMBED, CHAT)),
        "loads of the third model": after.get(THIRD, 0) - before.get(THIRD, 0),
        "answers of the third model": third,
        "questions after which both were resident": resident,
        "seconds a question": round(seconds / len(asked), 2),
    }


def _processes(kb: Path, other: httpx2.Client, started: Any) -> dict[str, Any]:
    for instance_id in _loaded(other):
        other.post("/api/v1/models/unload", json={"instance_id": instance_id})
    environment = {
        **os.environ,
        "LMSTUDIO_HOST": started.url,
        "RAG_CHAT_MODEL": CHAT,
        "RAG_EMBEDDING_MODEL": EMBED,
        "RAG_KB": str(kb),
        "RAG_ANSWER_TOKENS": "24",
        "RAG_TOP_K": "2",
        "RAG_ENGINE": "0",
    }
    command = [sys.executable, "-c", RAG, "ask", "How long is the warranty?", "--json"]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    said = [process.communicate() for process in running]
    return {
        "started": PROCESSES,
        "succeeded": sum(process.returncode == 0 for process in running),
        "instances": sorted(_loaded(other)),
        "that said they load": sum("Loading" in err for _, err in said),
    }


def _loads(log: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key in re.findall(r" loaded (\S+)", log.read_text(encoding="utf-8")):
        counts[key] = counts.get(key, 0) + 1
    return counts


def _loaded(other: httpx2.Client) -> list[str]:
    rows = other.get("/api/v1/models").json()["models"]
    return [instance["id"] for row in rows for instance in row["loaded_instances"]]


def _fetched(other: httpx2.Client, key: str) -> None:
    reply = other.post("/api/v1/models/download", json={"model": key}).json()
    while reply["status"] == "downloading":
        time.sleep(0.5)
        reply = other.get(f"/api/v1/models/download/status/{reply['job_id']}").json()


if __name__ == "__main__":
    main()
