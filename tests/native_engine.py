"""The real engine around a scripted worker: what small models do not do reliably, told by a test word for word."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import httpx2
import numpy as np
from app_thread import running

from rag.engine.app import Front, build_app
from rag.engine.downloads import Downloads
from rag.engine.instances import Instances, Policy
from rag.engine.library import Library
from rag.engine.process import WorkerProcess
from rag.engine.worker import WorkerSpec

WORKER = Path(__file__).with_name("native_worker.py")
MODEL = "thinker-1b"
TEMPLATE = "{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}{% endif %}"


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    """An engine in a thread of this process."""

    http: httpx2.Client
    folder: Path

    def chat(self, text: Any = "Go.", **more: Any) -> httpx2.Response:
        """Ask the native API."""
        return self.http.post("/api/v1/chat", json={"model": MODEL, "input": text, **more})

    def events(self, text: Any = "Go.", **more: Any) -> list[dict[str, Any]]:
        """Ask the native API for a stream and return its events, whose names stand in their data too."""
        reply = self.chat(text, stream=True, **more)
        assert reply.headers["content-type"].startswith("text/event-stream"), reply.text
        events = []
        for frame in reply.text.removesuffix("\n\n").split("\n\n"):
            name, data = frame.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            events.append(event)
        return events

    def asked(self) -> list[Any]:
        """Return what the worker was asked, request by request."""
        path = self.folder / "asked.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write_model(path: Path, architecture: str = "llama", template: str = TEMPLATE, **numbers: Any) -> None:
    """Write a GGUF file with a real header and next to no weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(4096)
    for key, number in numbers.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        if isinstance(number, list):
            writer.add_array(name, number)
        else:
            writer.add_uint32(name, number)
    writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", np.zeros((10, 20), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def scripted_engine(folder: Path, script: list[dict[str, Any]], **policy: Any) -> Iterator[ScriptedEngine]:
    """Serve an engine whose models, those below `folder`/models, all answer as the script says."""
    models = folder / "models"
    if not models.exists():
        write_model(models / "acme/thinker-GGUF/thinker-1b-Q4_K_M.gguf")
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")

    async def start(_: WorkerSpec) -> WorkerProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(WORKER),
            str(folder / "script.json"),
            str(folder / "asked.jsonl"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        address = json.loads(await process.stdout.readline())["address"]
        return WorkerProcess(process, httpx2.AsyncClient(base_url=address, timeout=30, trust_env=False))

    instances = Instances(Library((models,)), Policy(**policy), start)
    app = build_app(instances, Downloads(models), Front(), 0, lambda: None)
    with (
        running(app, log_config=None, timeout_graceful_shutdown=2) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        yield ScriptedEngine(client, folder)
