"""A real engine with real small models for all tests, and an environment that no user's settings leak into."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.cli.demo import MODELS
from rag.engine.launch import start, stop
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.http import Connection
from rag.lmstudio.models import download
from rag.settings import ENVIRONMENT, Settings

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """State goes to a folder of this run, settings come from the tests alone; model files stay in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        for variables in ENVIRONMENT.values():
            for variable in variables:
                patch.delenv(variable, raising=False)
        patch.setenv("RAG_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setenv("RAG_CONFIG", "")
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        # Nothing but the engine is to be reached, whatever proxy the machine has.
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """`host:port` of a running engine that has the demo models. The first run on a machine downloads them."""
    port = free_port()
    start("127.0.0.1", port, idle_seconds=600)
    try:
        with Connection(Settings(host=f"127.0.0.1:{port}")) as connection:
            for key in MODELS.values():
                assert [progress.status for progress in download(connection, key)][-1] in (
                    "completed",
                    "already_downloaded",
                )
        yield f"127.0.0.1:{port}"
    finally:
        stop("127.0.0.1", port)


@pytest.fixture(scope="session")
def settings(engine: str) -> Settings:
    """Settings that name the engine and the demo models."""
    return Settings(host=engine, embedding_model=MODELS["embedding"], chat_model=MODELS["llm"], engine=False)


@pytest.fixture
def kb(tmp_path: Path, settings: Settings) -> Iterator[KnowledgeBase]:
    """An empty place for a knowledge base."""
    with KnowledgeBase(tmp_path / "notes.kb", settings=settings) as base:
        yield base


@pytest.fixture(scope="session")
def sample_kb(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[KnowledgeBase]:
    """The sample documents, ingested once."""
    from ingest.pipeline import ingest

    with KnowledgeBase(tmp_path_factory.mktemp("sample") / "sample.kb", settings=settings) as base:
        report = ingest(SAMPLE, into=base)
        assert report.failed == 0
        yield base


@pytest.fixture
def command_environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """What a command needs to find the engine, and nothing of the user's own."""
    return {
        **os.environ,
        "LMSTUDIO_HOST": settings.host,
        "RAG_EMBEDDING_MODEL": settings.embedding_model or "",
        "RAG_CHAT_MODEL": settings.chat_model or "",
        "RAG_KB": str(tmp_path / "notes.kb"),
        "NO_COLOR": "1",
    }
