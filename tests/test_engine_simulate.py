"""Each fault on request, as a client sees it; and none of them where none was asked for."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine

from rag.engine.fault_list import FAULT_KINDS, fault_help, read_faults
from rag.engine.simulate import Simulation
from rag.errors import UsageProblem

GONE = "Model was unloaded while the request was still in queue.."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@contextmanager
def faulty(folder: Path, *faults: str) -> Iterator[RunningEngine]:
    with engine(folder, CHAT, EMBED, faults=faults) as running:
        yield running


def chat(running: RunningEngine, **more: Any) -> httpx2.Response:
    messages = [{"role": "user", "content": "Say hello."}]
    return running.post("/v1/chat/completions", model=CHAT, messages=messages, **{"max_tokens": 8, **more})


def embed(running: RunningEngine, *texts: str) -> httpx2.Response:
    return running.post("/v1/embeddings", model=EMBED, input=list(texts))


def vectors(reply: httpx2.Response) -> Any:
    return np.array([row["embedding"] for row in reply.json()["data"]])


def test_names_and_numbers() -> None:
    """A fault is its name, or its name and a number; what is neither is refused with the names there are."""
    assert read_faults(["slow-load", "crash-once=3", "cut-silently"]) == {
        "slow-load": 5,
        "crash-once": 3,
        "cut-silently": 32,
    }
    for wrong in ("nope", "slow-load=x", "slow-load=-1", "slow-load=nan"):
        with pytest.raises(UsageProblem):
            read_faults([wrong])
    assert [line.split("[")[0] for line in fault_help().splitlines()] == [kind.name for kind in FAULT_KINDS]
    assert not Simulation({})


def test_slow_load(folder: Path) -> None:
    with faulty(folder, "slow-load=1.5") as running:
        loaded = running.post("/api/v1/models/load", model=EMBED).json()
        assert loaded["load_time_seconds"] >= 1.5
        with pytest.raises(httpx2.ReadTimeout):
            running.http.post(
                "/v1/chat/completions", json={"model": CHAT, "messages": [], "max_tokens": 1}, timeout=0.5
            )


def test_crash_once(folder: Path) -> None:
    """The request fails, the instance is gone from the list, the next request succeeds."""
    with faulty(folder, "crash-once") as running:
        running.post("/api/v1/models/load", model=EMBED)
        reply = embed(running, "a")
        assert reply.status_code == 400
        assert reply.json()["error"].startswith("The model has crashed without additional information. (Exit code: ")
        assert running.loaded() == []
        assert embed(running, "a").status_code == 200


def test_refuse_load(folder: Path) -> None:
    with faulty(folder, "refuse-load=2") as running:
        refused = running.post("/api/v1/models/load", model=CHAT)
        assert (refused.status_code, refused.json()["error"]["type"]) == (500, "model_load_failed")
        assert "insufficient system resources" in refused.json()["error"]["message"]
        asked = chat(running)
        assert (asked.status_code, asked.json()["error"]["code"]) == (400, "model_not_found")
        assert running.loaded() == []
        assert chat(running).status_code == 200


def test_evict_in_queue(folder: Path) -> None:
    with faulty(folder, "evict-in-queue") as running:
        running.post("/api/v1/models/load", model=EMBED)
        reply = embed(running, "a")
        assert (reply.status_code, reply.json()) == (400, {"error": GONE})
        assert running.loaded() == []
        assert embed(running, "a").status_code == 200


def test_cut_silently(folder: Path) -> None:
    """The list says one context, the vectors follow another."""
    words = "the warranty of this lamp lasts for two years and covers all of its parts".split()
    with faulty(folder, "cut-silently=4") as running:
        whole, cut, other = vectors(embed(running, " ".join(words), " ".join(words[:4]), " ".join(words[:3])))
        assert whole @ cut > 0.9999
        assert whole @ other < 0.99
        assert running.rows()[EMBED]["loaded_instances"][0]["config"] == {"context_length": 512}


def test_wrong_type(folder: Path) -> None:
    with engine(folder, faults=["wrong-type"]) as running:
        assert running.rows()[EMBED]["type"] == "llm"
        reply = embed(running, "a").json()["error"]
        assert reply["message"] == f'Failed to load model "{EMBED}". Error: Model is not embedding.'


def test_wrong_batches(folder: Path) -> None:
    """Rows in another order, and the last one missing; each row's index is still its own."""
    texts = ("one lamp", "two bananas", "three warranties")
    with faulty(folder, "shuffled-batch=1", "short-batch=2") as running:
        both, short, good = (embed(running, *texts).json()["data"] for _ in range(3))
        assert [row["index"] for row in both] == [1, 0]
        assert [row["index"] for row in short] == [0, 1]
        assert [row["index"] for row in good] == [0, 1, 2]
        for row in both + short:
            assert np.allclose(row["embedding"], good[row["index"]]["embedding"], atol=1e-5)


def test_wrong_model(folder: Path) -> None:
    """All that names a model names another one: whole answers, and each event of a stream."""
    with faulty(folder, "wrong-model=3") as running:
        assert embed(running, "a").json()["model"] == "another-model"
        answer = chat(running).json()
        assert (answer["model"], answer["system_fingerprint"]) == ("another-model", "another-model")
        events = chat(running, stream=True).text.split("\n\n")[:-2]
        assert {json.loads(event.removeprefix("data: "))["model"] for event in events} == {"another-model"}
        assert chat(running).json()["model"] == CHAT


def test_empty_stream(folder: Path) -> None:
    with faulty(folder, "empty-stream=1") as running:
        events = chat(running, stream=True, stream_options={"include_usage": True}).text.split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
        assert [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]] == [{}]
        assert '"content"' in chat(running, stream=True).text


def test_error_in_stream(folder: Path) -> None:
    """Status 200, some events, then an error and no more."""
    with faulty(folder, "error-in-stream=1") as running:
        reply = chat(running, stream=True)
        assert reply.status_code == 200
        *_, first, second, error, rest = reply.text.split("\n\n")
        assert first.startswith("data: {")
        assert second.startswith("data: {")
        assert error.startswith('event: error\ndata: {"error": {"message": "The model has crashed')
        assert rest == ""
        assert chat(running, stream=True).text.endswith("data: [DONE]\n\n")


def test_disconnect_mid_stream(folder: Path) -> None:
    """The connection breaks after what had been sent; the model is free for the next request."""
    with faulty(folder, "disconnect-mid-stream=1") as running:
        got: list[bytes] = []
        with (
            pytest.raises(httpx2.RemoteProtocolError),
            running.http.stream("POST", "/v1/chat/completions", json=_stream_body(200)) as reply,
        ):
            got.extend(reply.iter_raw())
        assert b"".join(got).count(b"\n\n") <= 2
        assert chat(running, stream=True).text.endswith("data: [DONE]\n\n")


def test_200_error(folder: Path) -> None:
    with faulty(folder, "200-error=2") as running:
        for path, reply in (("/v1/embeddings", embed(running, "a")), ("/v1/chat/completions", chat(running))):
            assert reply.status_code == 200
            assert reply.json() == {"error": f"Unexpected endpoint or method. (POST {path})"}
        assert embed(running, "a").json()["data"]


def test_n_ctx_overflow(folder: Path) -> None:
    """As for a prompt that is too long: whole and in a stream. Embeddings are not touched."""
    with faulty(folder, "n_ctx-overflow=2") as running:
        whole = chat(running)
        text = "The number of tokens to keep from the initial prompt is greater than the context length."
        assert (whole.status_code, whole.json()["error"].startswith(text)) == (400, True)
        streamed = chat(running, stream=True)
        assert (streamed.status_code, streamed.text.startswith("event: error")) == (200, True)
        assert embed(running, "a").status_code == 200
        assert chat(running).status_code == 200


def families(running: RunningEngine, stream: bool) -> dict[str, httpx2.Response]:
    """The same question to every family that answers questions."""
    messages = [{"role": "user", "content": "Say hello."}]
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": messages, "max_tokens": 8},
        "/v1/completions": {"prompt": "One, two,", "max_tokens": 8},
        "/v1/responses": {"input": "Say hello.", "max_output_tokens": 8},
        "/v1/messages": {"messages": messages, "max_tokens": 8},
        "/api/v1/chat": {"input": "Say hello.", "max_output_tokens": 8},
        "/api/v0/chat/completions": {"messages": messages, "max_tokens": 8},
    }
    return {path: running.post(path, model=CHAT, stream=stream, **body) for path, body in bodies.items()}


def test_errors_in_streams_of_all_families(folder: Path) -> None:
    """Each family's own form of an error in a stream, under status 200."""
    with faulty(folder, "error-in-stream") as running:
        replies = families(running, stream=True)
        errors = {}
        for path, reply in replies.items():
            assert reply.status_code == 200, (path, reply.text)
            name, data = reply.text.rstrip().split("\n")[-2:]
            assert name == "event: error", path
            errors[path] = json.loads(data.removeprefix("data: "))
        assert errors["/v1/messages"]["error"]["type"] == "api_error"
        assert errors["/api/v1/chat"]["type"] == "error"
        assert errors["/api/v1/chat"]["error"]["type"] == "internal_error"
        assert all(
            "The model has crashed without additional information." in error["error"]["message"]
            for error in errors.values()
        )


def test_overflow_in_all_families(folder: Path) -> None:
    """A string, an object with 500, or the family's own: as LM Studio tells a prompt that is too long."""
    with faulty(folder, "n_ctx-overflow") as running:
        replies = families(running, stream=False)
        statuses = {path: reply.status_code for path, reply in replies.items()}
        assert statuses == {
            "/v1/chat/completions": 400,
            "/v1/completions": 400,
            "/v1/responses": 500,
            "/v1/messages": 500,
            "/api/v1/chat": 500,
            "/api/v0/chat/completions": 400,
        }
        assert all("greater than the context length" in reply.text for reply in replies.values())


def test_wrong_model_in_all_families(folder: Path) -> None:
    with faulty(folder, "wrong-model") as running:
        for path, reply in families(running, stream=False).items():
            answer = reply.json()
            assert "another-model" in (answer.get("model"), answer.get("model_instance_id")), path


def test_hanging_up_still_cancels(folder: Path) -> None:
    """With a fault in the way, a client that leaves is noticed all the same."""
    with faulty(folder, "error-in-stream=0") as running:
        running.post("/api/v1/models/load", model=CHAT)
        with pytest.raises(httpx2.ReadTimeout):
            running.http.post("/v1/chat/completions", json={**_stream_body(-1), "stream": False}, timeout=0.7)
        deadline = time.monotonic() + 20
        while "broken off" not in running.log() and " 499 " not in running.log():
            assert time.monotonic() < deadline, "the engine still works on what nobody waits for"
            time.sleep(0.1)


def _stream_body(tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Tell a very long story."}]
    return {"model": CHAT, "messages": messages, "max_tokens": tokens, "stream": True}
