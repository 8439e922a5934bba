"""A real engine with real small models for all tests, and an environment that no user's settings leak into."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_fixture import engine
from service_fixture import RunningService, running_service

from bench.s3_server import S3, s3
from rag.cli.demo import MODELS
from rag.knowledge_base import KnowledgeBase
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
        # A shell has what it runs in the background ignore Ctrl-C, and so would all that the tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    """Settings for a running engine that has the demo models. The first run on a machine downloads them."""
    with engine(Path(os.environ["RAG_STATE_DIR"]), *MODELS.values(), idle_seconds=900) as running:
        host = f"127.0.0.1:{running.port}"
        yield Settings(host=host, embedding_model=MODELS["embedding"], chat_model=MODELS["llm"], engine=False)


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


@pytest.fixture(scope="session")
def object_storage() -> Iterator[S3]:
    """An S3 server; each test takes a path of its own in its bucket."""
    with s3() as running:
        yield running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """`rag serve` over real HTTP, with a few documents, and models that say what a test tells them to."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running
