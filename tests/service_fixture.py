"""The service over real HTTP: a few documents, and a model server that says what a test tells it to."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from app_thread import running
from lmstudio_server import OTHER, FakeLMStudio, lm_studio

from ingest.pipeline import ingest
from rag.knowledge_base import KnowledgeBase
from rag.service.app import build_app
from rag.service.desk import Desk
from rag.service.options import ServiceOptions
from rag.settings import Settings

MANUAL = Path(__file__).parents[1] / "data" / "sample" / "manuals" / "brisa-4-manual.pdf"
QUESTION = "What torque do the mast clamp bolts need?"
SAYS = "The mast clamp bolts need 9 Nm."
NOTES = {
    "clamp.md": f"# Clamp\n\n{SAYS} Tighten them in turn.\n",
    "prices.md": "# Prices\n\nThe steel cover costs 3.50 EUR. <script>alert(1)</script>\n",
}


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that answers at `url`; `docs` is the folder that was ingested."""

    url: str
    http: httpx2.Client
    desk: Desk
    lm: FakeLMStudio
    docs: Path

    def ask(self, **body: Any) -> list[tuple[str, Any]]:
        """The events of a streamed answer."""
        return events(self.http.post("/api/kb/ask", json={"question": QUESTION, "stream": True, **body}).text)


def events(stream: str) -> list[tuple[str, Any]]:
    """Server-sent events as names and what they say; comments are left out."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        if fields:
            found.append((fields.get("event", ""), json.loads(fields["data"]) if fields["data"] != "[DONE]" else None))
    return found


@contextmanager
def served(settings: Settings, **options: Any) -> Iterator[tuple[str, Desk]]:
    """The service in a thread: its address, and what its requests share."""
    app = build_app(settings, ServiceOptions(**options))
    with running(app, timeout_graceful_shutdown=1) as port:
        yield f"http://127.0.0.1:{port}", app.state.desk


@contextmanager
def running_service(folder: Path, **options: Any) -> Iterator[RunningService]:
    """A service with a knowledge base in `folder`."""
    docs = folder / "docs"
    docs.mkdir()
    for name, text in NOTES.items():
        (docs / name).write_text(text, encoding="utf-8")
    shutil.copy(MANUAL, docs / "manual.pdf")
    images = folder / "images"
    images.mkdir()
    with lm_studio() as lm:
        lm.says = SAYS
        lm.rows[OTHER].vision = True
        settings = replace(lm.settings, kb=folder / "notes.kb", ttl_s=-1)
        with KnowledgeBase(settings=settings) as base:
            assert ingest(docs, into=base).failed == 0
        with (
            served(settings, images=(images,), **options) as (url, desk),
            httpx2.Client(base_url=url, timeout=60, trust_env=False) as http,
        ):
            yield RunningService(url, http, desk, lm, docs)
