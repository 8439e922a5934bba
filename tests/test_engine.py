"""The engine over real HTTP with real small models: shapes, life cycle, faults."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT, EMBED) as running:
        yield running


@pytest.fixture
def fresh(shared: RunningEngine) -> RunningEngine:
    shared.unload_all()
    return shared


def vectors(running: RunningEngine, texts: str | list[str], model: str = EMBED) -> Any:
    reply = running.post("/v1/embeddings", model=model, input=texts)
    assert reply.status_code == 200, reply.text
    return np.array([item["embedding"] for item in reply.json()["data"]])


def chat(running: RunningEngine, text: str = "Say hello.", model: str = CHAT, **more: Any) -> httpx2.Response:
    return running.post(
        "/v1/chat/completions", model=model, messages=[{"role": "user", "content": text}], **{"max_tokens": 8, **more}
    )


def test_greeting_and_lists(shared: RunningEngine) -> None:
    assert shared.http.get("/lmstudio-greeting").json() == {"lmstudio": True}
    listed = shared.http.get("/v1/models").json()
    assert listed["object"] == "list"
    assert {"id": EMBED, "object": "model", "owned_by": "organization_owner"} in listed["data"]
    rows = shared.rows()
    assert rows[EMBED] | {"loaded_instances": []} == {
        "type": "embedding",
        "publisher": "sentence-transformers",
        "key": EMBED,
        "display_name": "All MiniLM L6 v2",
        "quantization": {"name": "Q8_0", "bits_per_weight": 8},
        "size_bytes": 25279168,
        "params_string": "22M",
        "loaded_instances": [],
        "max_context_length": 512,
        "format": "gguf",
    }
    assert rows[CHAT]["capabilities"] == {"vision": False, "trained_for_tool_use": False}
    assert rows[CHAT]["architecture"] == "llama"
    assert rows[CHAT]["max_context_length"] == 8192


def test_listing_is_fast(shared: RunningEngine) -> None:
    shared.rows()
    started = time.perf_counter()
    for _ in range(5):
        shared.rows()
    assert (time.perf_counter() - started) / 5 < 0.1


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nope"), ("GET", "/v1/embeddings"), ("POST", "/v1/rerank"), ("DELETE", "/v1/models")]
)
def test_unknown_routes_answer_200(shared: RunningEngine, method: str, path: str) -> None:
    reply = shared.http.request(method, path)
    assert reply.status_code == 200
    assert reply.json() == {"error": f"Unexpected endpoint or method. ({method} {path})"}


def test_embeddings(fresh: RunningEngine) -> None:
    """One unit vector per text, in order, the same alone and in a batch, close for what means the same."""
    texts = [
        "The warranty lasts two years.",
        "We repair the device for free within 24 months.",
        "Bananas are rich in potassium.",
        "Größe, naïve café — “quotes” and 深度学习",
    ]
    reply = fresh.post("/v1/embeddings", model=EMBED, input=texts, encoding_format="base64", dimensions=7).json()
    assert reply["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    assert (reply["model"], reply["object"]) == (EMBED, "list")
    assert [(item["index"], item["object"]) for item in reply["data"]] == [(i, "embedding") for i in range(4)]
    batch = np.array([item["embedding"] for item in reply["data"]])
    assert batch.shape == (4, 384)
    assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)
    singles = np.concatenate([vectors(fresh, text) for text in texts])
    assert np.allclose(batch, singles, atol=1e-5)
    similar, dissimilar = batch[0] @ batch[1], batch[0] @ batch[2]
    assert similar > 0.4 > 0.2 > dissimilar


def test_over_long_text_is_its_own_beginning(fresh: RunningEngine) -> None:
    """Cut silently at the context, with a warning in the log and nowhere else."""
    words = [f"word{i % 7} lamp" for i in range(600)]
    long = " ".join(words)
    # "word3 lamp" is three tokens; 170 of them and the two that open and close make 512.
    prefix = " ".join(words[:170])
    cut, whole, other = vectors(fresh, [long, prefix, " ".join(words[:100])])
    assert cut @ whole > 0.99999
    assert cut @ other < 0.9999
    assert re.search(r"Number of tokens in input string \(1802\) exceeds model context length \(512\)", fresh.log())
    dense = "a b c d e f g h " * 70  # few characters, many tokens: found out by the refusal
    assert np.allclose(vectors(fresh, [dense])[0], vectors(fresh, ["x", dense])[1], atol=1e-5)


@pytest.mark.parametrize("texts", [[1, 2], [["a"]], 7, {"a": 1}])
def test_embedding_input_is_strings(shared: RunningEngine, texts: Any) -> None:
    reply = shared.post("/v1/embeddings", model=EMBED, input=texts)
    assert (reply.status_code, reply.json()) == (
        400,
        {"error": "'input' field must be a string or an array of strings"},
    )


def test_small_inputs(fresh: RunningEngine) -> None:
    assert fresh.post("/v1/embeddings", model=EMBED).json() == {"error": "'input' field is required"}
    assert fresh.post("/v1/embeddings", model=EMBED, input=[]).json()["data"] == []
    assert np.linalg.norm(vectors(fresh, "")) == pytest.approx(1, abs=1e-5)


def test_chat_whole(fresh: RunningEngine) -> None:
    reply = chat(fresh, temperature=0).json()
    assert list(reply) == ["id", "object", "created", "model", "choices", "usage", "stats", "system_fingerprint"]
    assert re.fullmatch(r"chatcmpl-[a-z0-9]{21,25}", reply["id"])
    assert (reply["object"], reply["model"], reply["system_fingerprint"]) == ("chat.completion", CHAT, CHAT)
    assert reply["stats"] == {}
    (choice,) = reply["choices"]
    assert list(choice) == ["index", "message", "logprobs", "finish_reason"]
    assert choice["message"]["content"]
    assert choice["message"] | {"content": ""} == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "",
        "tool_calls": [],
    }
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


def test_chat_stream(fresh: RunningEngine) -> None:
    reply = chat(fresh, temperature=0, stream=True, stream_options={"include_usage": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    first = chunks[0]["choices"][0]
    assert first["delta"]["role"] == "assistant"
    assert first["delta"]["content"]
    assert all("role" not in chunk["choices"][0]["delta"] for chunk in chunks[1:-1])
    assert chunks[-2]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 8
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert text == chat(fresh, temperature=0).json()["choices"][0]["message"]["content"]
    assert '"usage"' not in chat(fresh, stream=True).text


def test_chat_options(fresh: RunningEngine) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": schema}}
    answer = chat(fresh, "Where is the Louvre?", response_format=form, max_tokens=60, temperature=0).json()
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["city"]
    seeded = [chat(fresh, seed=7, temperature=1.5).json()["choices"][0]["message"]["content"] for _ in range(2)]
    assert seeded[0] == seeded[1]
    stopped = chat(fresh, "Say: one two three", stop=["e", "a", "o", "i"], max_tokens=-1, temperature=0).json()
    assert stopped["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"messages": None}, "'messages' field is required"),
        ({"response_format": {"type": "json_object"}}, "'response_format.type' must be 'json_schema' or 'text'"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}
                ]
            },
            "'url' field must be a base64 encoded image.",
        ),
    ],
)
def test_chat_refuses_in_text(shared: RunningEngine, more: dict[str, Any], message: str) -> None:
    body = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], **more}
    reply = shared.post("/v1/chat/completions", **body)
    assert (reply.status_code, reply.json()) == (400, {"error": message})


def test_invalid_json(shared: RunningEngine) -> None:
    for path in ("/v1/embeddings", "/v1/chat/completions", "/api/v1/models/load"):
        for body in (b"{", b"[]", b"\xff"):
            assert shared.http.post(path, content=body).status_code == 400


def test_context_overflow(fresh: RunningEngine) -> None:
    assert fresh.post("/api/v1/models/load", model=CHAT, context_length=256).status_code == 200
    reply = chat(fresh, "hello " * 400)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("The number of tokens to keep from the initial prompt is greater than")
    streamed = chat(fresh, "hello " * 400, stream=True)
    assert streamed.status_code == 200
    assert streamed.text.startswith('event: error\ndata: {"error":{"message":"The number of tokens to keep')


def test_each_request_has_the_whole_context(fresh: RunningEngine) -> None:
    """Four requests at once that together exceed the context must not fail each other."""
    fresh.post("/api/v1/models/load", model=CHAT, context_length=128)
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(chat(fresh, "hello " * 60, max_tokens=4).status_code))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4


def test_just_in_time_and_auto_evict(fresh: RunningEngine) -> None:
    """One model that a request loaded, of either kind; a model that was loaded on purpose stays."""
    vectors(fresh, "a")
    assert fresh.loaded() == [EMBED]
    chat(fresh, max_tokens=1)
    assert fresh.loaded() == [CHAT]
    loaded = fresh.post("/api/v1/models/load", model=EMBED.upper(), context_length=128, echo_load_config=True).json()
    assert loaded.pop("load_time_seconds") > 0
    assert loaded == {
        "type": "embedding",
        "instance_id": EMBED,
        "status": "loaded",
        "load_config": {"context_length": 128},
    }
    assert set(fresh.loaded()) == {CHAT, EMBED}
    fresh.post("/api/v1/models/unload", instance_id=CHAT)
    chat(fresh, max_tokens=1)
    assert set(fresh.loaded()) == {CHAT, EMBED}


def test_load_again_makes_a_second_instance(fresh: RunningEngine) -> None:
    ids = [
        fresh.post("/api/v1/models/load", model=EMBED, context_length=context).json()["instance_id"]
        for context in (256, 9999)
    ]
    assert ids == [EMBED, f"{EMBED}:2"]
    instances = fresh.rows()[EMBED]["loaded_instances"]
    assert [instance["config"] for instance in instances] == [{"context_length": 256}, {"context_length": 512}]
    assert fresh.post("/v1/embeddings", model=ids[1], input="a").json()["model"] == ids[1]
    assert fresh.post("/api/v1/models/unload", instance_id=ids[0]).json() == {"instance_id": ids[0]}
    assert fresh.loaded() == [ids[1]]
    assert fresh.post("/v1/embeddings", model=EMBED, input="a").json()["model"] == ids[1]


def test_concurrent_requests_load_once(fresh: RunningEngine) -> None:
    threads = [threading.Thread(target=vectors, args=(fresh, f"text {i}")) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fresh.loaded() == [EMBED]


def test_unknown_names(fresh: RunningEngine) -> None:
    """Refused in an object while none or two are loaded, answered by the only one otherwise."""
    reply = chat(fresh, model="nope")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "model_not_found")
    fresh.post("/api/v1/models/load", model=CHAT, context_length=256)
    fresh.post("/api/v1/models/load", model=EMBED)
    assert chat(fresh, model="nope").json()["model"] == CHAT
    fresh.post("/api/v1/models/load", model=CHAT, context_length=256)
    reply = chat(fresh, model="nope")
    hint = "Please specify a valid downloaded model (e.g., google/gemma-3-1b)."
    assert reply.json()["error"] == {
        "message": f'Invalid model identifier "nope". {hint}',
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    wrong = fresh.post("/v1/embeddings", model=CHAT, input="a").json()["error"]
    assert wrong["message"] == f'Failed to load model "{CHAT}". Error: Model is not embedding.'


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "code"),
    [
        ("load", {"model": CHAT, "ttl": 9}, 400, "invalid_request", "unrecognized_keys"),
        ("load", {}, 400, "invalid_request", "missing_required_parameter"),
        ("load", {"model": CHAT, "context_length": "x"}, 400, "invalid_request", "invalid_type"),
        ("load", {"model": "nope"}, 404, "model_not_found", None),
        ("unload", {"model": CHAT}, 400, "invalid_request", "unrecognized_keys"),
        ("unload", {}, 400, "invalid_request", "missing_required_parameter"),
        ("unload", {"instance_id": "nope"}, 404, "model_not_found", None),
        ("download", {"model": "nope"}, 404, "model_not_found", None),
    ],
)
def test_native_errors(
    shared: RunningEngine, path: str, body: dict[str, Any], status: int, kind: str, code: str | None
) -> None:
    reply = shared.post(f"/api/v1/models/{path}", **body)
    assert (reply.status_code, reply.json()["error"]["type"], reply.json()["error"].get("code")) == (status, kind, code)


def test_download_of_what_is_there(shared: RunningEngine) -> None:
    assert shared.post("/api/v1/models/download", model=CHAT).json() == {"status": "already_downloaded"}
    unknown = shared.http.get("/api/v1/models/download/status/job_0")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "job_not_found")


def test_ttl(fresh: RunningEngine) -> None:
    """Honoured by the request that loads, and reset by use."""
    fresh.post("/v1/embeddings", model=EMBED, input="a", ttl=1)
    assert fresh.loaded() == [EMBED]
    for _ in range(4):
        time.sleep(0.4)
        vectors(fresh, "a")
    assert fresh.loaded() == [EMBED]
    deadline = time.monotonic() + 5
    while fresh.loaded() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert fresh.loaded() == []


def test_unload_while_answering(fresh: RunningEngine) -> None:
    fresh.post("/api/v1/models/load", model=CHAT)
    replies: list[httpx2.Response] = []
    thread = threading.Thread(target=lambda: replies.append(chat(fresh, "Tell a very long story.", max_tokens=-1)))
    thread.start()
    time.sleep(0.5)
    fresh.unload_all()
    thread.join()
    assert (replies[0].status_code, replies[0].json()) == (
        400,
        {"error": "Model was unloaded while the request was still in queue.."},
    )


def test_crash_of_a_worker(fresh: RunningEngine) -> None:
    """It costs the instance and its request; the next request loads the model again."""
    vectors(fresh, "a")
    (worker,) = psutil.Process(fresh.pid).children()
    replies: list[httpx2.Response] = []
    texts = ["many words " * 100] * 64
    thread = threading.Thread(target=lambda: replies.append(fresh.post("/v1/embeddings", model=EMBED, input=texts)))
    thread.start()
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    thread.join()
    assert replies[0].status_code == 400
    assert re.fullmatch(
        r"The model has crashed without additional information\. \(Exit code: -?\d+\)\.", replies[0].json()["error"]
    )
    assert fresh.loaded() == []
    vectors(fresh, "a")
    assert fresh.loaded() == [EMBED]


def test_hanging_up_cancels(fresh: RunningEngine) -> None:
    """Neither a whole answer nor a stream that nobody reads keeps the model busy."""
    fresh.post("/api/v1/models/load", model=CHAT)
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Tell a very long story."}], "max_tokens": -1}
    with pytest.raises(httpx2.ReadTimeout):
        fresh.http.post("/v1/chat/completions", json=body, timeout=0.7)
    with fresh.http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as reply:
        next(reply.iter_lines())
    (worker,) = psutil.Process(fresh.pid).children()
    deadline = time.monotonic() + 20
    while True:
        before = worker.cpu_times().user
        time.sleep(1)
        if worker.cpu_times().user - before < 0.3:
            break
        assert time.monotonic() < deadline, "the model still works on what nobody reads"
