"""/api/v0: OpenAI's forms with blocks about speed, model and runtime."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine
from native_engine import scripted_engine, write_model

ASK: dict[str, Any] = {"model": CHAT, "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT, EMBED) as running:
        yield running


@pytest.fixture
def fresh(shared: RunningEngine) -> RunningEngine:
    shared.unload_all()
    return shared


def test_models(fresh: RunningEngine) -> None:
    fresh.post("/api/v1/models/load", model=CHAT, context_length=512)
    listed = fresh.http.get("/api/v0/models").json()
    assert listed["object"] == "list"
    rows = {row["id"]: row for row in listed["data"]}
    assert rows[EMBED] == {
        "id": EMBED,
        "object": "model",
        "type": "embeddings",
        "publisher": "sentence-transformers",
        "arch": "bert",
        "compatibility_type": "gguf",
        "quantization": "Q8_0",
        "state": "not-loaded",
        "max_context_length": 512,
    }
    assert (rows[CHAT]["type"], rows[CHAT]["state"], rows[CHAT]["loaded_context_length"]) == ("llm", "loaded", 512)
    assert fresh.http.get(f"/api/v0/models/{CHAT.upper()}").json() == rows[CHAT]
    unknown = fresh.http.get("/api/v0/models/no/such")
    assert (unknown.status_code, unknown.json()) == (404, {"error": 'Model "no/such" not found'})


def test_keys_with_slashes_and_kinds(tmp_path: Path) -> None:
    for publisher in ("acme", "zeta"):
        write_model(tmp_path / f"models/{publisher}/Seer-GGUF/seer-Q4_0.gguf")
    write_model(tmp_path / "models/zeta/Seer-GGUF/mmproj-F16.gguf", "clip")
    with scripted_engine(tmp_path, [{"deltas": [{"content": "x"}]}]) as running:
        row = running.http.get("/api/v0/models/zeta/seer").json()
        assert (row["id"], row["type"], row["capabilities"]) == ("zeta/seer", "vlm", ["tool_use"])
        answer = running.http.post("/api/v0/chat/completions", json=ASK | {"model": "zeta/seer"}).json()
        assert (answer["model"], answer["stats"]["stop_reason"]) == ("zeta/seer", "eosFound")


def test_chat(fresh: RunningEngine) -> None:
    answer = fresh.post("/api/v0/chat/completions", **ASK, max_tokens=6).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 6
    assert answer["stats"]["stop_reason"] == "maxPredictedTokensReached"
    assert answer["stats"]["tokens_per_second"] > 1
    assert answer["stats"]["time_to_first_token"] > 0
    assert answer["model_info"] == {"arch": "llama", "quant": "Q4_1", "format": "gguf", "context_length": 4096}
    assert answer["runtime"]["supported_formats"] == ["gguf"]
    stopped = fresh.post("/api/v0/chat/completions", **ASK, max_tokens=60, stop=["e", "a", "o", "i"]).json()
    assert stopped["stats"]["stop_reason"] == "stopStringFound"


def test_chat_stream(fresh: RunningEngine) -> None:
    """Chunks as on /v1; the last one carries the blocks."""
    reply = fresh.post("/api/v0/chat/completions", **ASK, max_tokens=6, stream=True)
    frames = reply.text.removesuffix("\n\n").split("\n\n")
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
    assert ["stats" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {"stats", "model_info", "runtime"} <= set(chunks[-1])
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_completion(fresh: RunningEngine) -> None:
    answer = fresh.post("/api/v0/completions", model=CHAT, prompt="Once upon a", max_tokens=4).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"]
    assert {"stats", "model_info", "runtime"} <= set(answer)
    assert answer["stats"]["stop_reason"] == "maxPredictedTokensReached"


def test_embeddings(fresh: RunningEngine) -> None:
    answer = fresh.post("/api/v0/embeddings", model=EMBED, input=["a", "b"]).json()
    assert set(answer) == {"object", "data", "model", "usage"}
    assert [len(row["embedding"]) for row in answer["data"]] == [384, 384]


def test_ttl_counts_where_the_request_loads(fresh: RunningEngine) -> None:
    fresh.post("/api/v0/chat/completions", **ASK, max_tokens=1, ttl=1)
    assert fresh.loaded() == [CHAT]
    deadline = time.monotonic() + 10
    while fresh.loaded():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_errors_have_the_forms_of_v1(fresh: RunningEngine) -> None:
    assert fresh.post("/api/v0/chat/completions", model=CHAT).json() == {"error": "'messages' field is required"}
    assert fresh.loaded() == []
    assert fresh.post("/api/v0/completions", model=CHAT).json() == {"error": "'prompt' field is required"}
    assert fresh.post("/api/v0/embeddings", model=EMBED).json() == {"error": "'input' field is required"}
    unknown = fresh.post("/api/v0/chat/completions", **ASK | {"model": "nope"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "model_not_found")
    assert fresh.http.post("/api/v0/completions", content=b"[").status_code == 400
