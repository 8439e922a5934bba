"""A real engine for tests: own state folder, free port, small real models that are fetched once per machine."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from rag.engine import launch
from rag.engine.catalogue import demo_model
from rag.engine.places import models_folder

CHAT = "smollm2-135m-instruct"
EMBED = "text-embedding-all-minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that answers at `url`."""

    url: str
    port: int
    pid: int
    state: Path
    http: httpx2.Client

    def post(self, path: str, **body: Any) -> httpx2.Response:
        """Send a JSON body."""
        return self.http.post(path, json=body)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the model list by key."""
        return {row["key"]: row for row in self.http.get("/api/v1/models").json()["models"]}

    def loaded(self) -> list[str]:
        """Return the ids of all loaded instances."""
        return [instance["id"] for row in self.rows().values() for instance in row["loaded_instances"]]

    def unload_all(self) -> None:
        """Leave no instance."""
        for instance_id in self.loaded():
            self.post("/api/v1/models/unload", instance_id=instance_id)

    def log(self) -> str:
        """Return the whole log."""
        return (self.state / f"engine-{self.port}.log").read_text(encoding="utf-8", errors="replace")

    def fetch(self, *keys: str) -> None:
        """Download the models that are not there yet; raises where that fails."""
        for key in keys:
            reply = self.post("/api/v1/models/download", model=key).json()
            while reply["status"] == "downloading":
                time.sleep(0.2)
                reply = self.http.get(f"/api/v1/models/download/status/{reply['job_id']}").json()
            if reply["status"] == "failed":
                raise RuntimeError(reply["error"])


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def state_folder(folder: Path) -> Iterator[None]:
    """Let the engine keep its state in `folder` meanwhile."""
    before = os.environ.get("RAG_STATE_DIR")
    os.environ["RAG_STATE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAG_STATE_DIR"]
        else:
            os.environ["RAG_STATE_DIR"] = before


@contextmanager
def engine(state: Path, *models: str, **options: Any) -> Iterator[RunningEngine]:
    """Start an engine with its state in `state`, fetch `models`, stop it at the end."""
    port = free_port()
    with state_folder(state):
        started = launch.start("127.0.0.1", port, **options)
        assert started.pid is not None
        try:
            with httpx2.Client(base_url=started.url, timeout=120, trust_env=False) as client:
                running = RunningEngine(started.url, port, started.pid, state, client)
                running.fetch(*models)
                yield running
        finally:
            launch.stop("127.0.0.1", port)


def model_file(key: str) -> Path:
    """Return where the engine keeps a demo model."""
    model = demo_model(key)
    assert model is not None
    return models_folder() / model.file
