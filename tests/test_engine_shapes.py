"""Every body beside the recorded or documented one of LM Studio: the same keys, the same kinds of values, none more.

The examples are those of the reference notes on LM Studio's API, section 1. A key that may be missing is in OPTIONAL,
a value that may be null as well is in NULLABLE, one that may be anything is null in the example.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine
from hub_server import hub_server
from native_engine import scripted_engine, write_model

HELLO = [{"role": "user", "content": "Say hello."}]
SHORT = {"model": CHAT, "max_tokens": 4, "temperature": 0}
CHAT_BODY = {**SHORT, "messages": HELLO}
NATIVE_BODY = {"model": CHAT, "input": "Say hello.", "max_output_tokens": 4}

USAGE = {"prompt_tokens": 29, "completion_tokens": 4, "total_tokens": 33}
V0_BLOCKS = {
    "stats": {
        "tokens_per_second": 51.4,
        "time_to_first_token": 0.111,
        "generation_time": 0.954,
        "stop_reason": "eosFound",
    },
    "model_info": {"arch": "granite", "quant": "Q4_K_M", "format": "gguf", "context_length": 4096},
    "runtime": {"name": "llama.cpp", "version": "1.3.0", "supported_formats": ["gguf"]},
}
MESSAGE = {"role": "assistant", "content": "x", "reasoning_content": "", "tool_calls": []}
COMPLETION = {
    "id": "chatcmpl-dx8aw6ddyd8umd88bd29t",
    "object": "chat.completion",
    "created": 1790036033,
    "model": "google/gemma-3-1b",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "length"}],
    "usage": {**USAGE, "completion_tokens_details": {"reasoning_tokens": 0}},
    "stats": {},
    "system_fingerprint": "google/gemma-3-1b",
}
TEXT_COMPLETION = {
    "id": "cmpl-p9rtxv6fky2v9k8jrd8cc",
    "object": "text_completion",
    "created": 1731990488,
    "model": "granite-3.0-2b-instruct",
    "choices": [{"index": 0, "text": " to find", "logprobs": None, "finish_reason": "length"}],
    "usage": USAGE,
    "stats": {},
}
EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "embedding": [0.0148], "index": 0}],
    "model": "text-embedding-nomic-embed-text-v1.5",
    "usage": {"prompt_tokens": 0, "total_tokens": 0},
}
RESPONSE = {
    "id": "resp_a2123cbfea65c23a7713f6dc6d0954d1027020ded8d1ba29",
    "object": "response",
    "created_at": 1773948909,
    "completed_at": 1773948909,
    "status": "completed",
    "incomplete_details": None,
    "model": "google/gemma-3-1b",
    "previous_response_id": None,
    "instructions": None,
    "output": [
        {
            "id": "msg_5jhhghb7uvi2wz4dx2d58n",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Received.", "annotations": [], "logprobs": []}],
        }
    ],
    "error": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "auto",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": False,
    "presence_penalty": 0,
    "frequency_penalty": 1.1,
    "top_logprobs": 0,
    "temperature": 0.8,
    "reasoning": {"summary": None, "effort": None},
    "usage": {
        "input_tokens": 17,
        "output_tokens": 2,
        "total_tokens": 19,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "x"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
NATIVE_STATS = {
    "input_tokens": 15,
    "total_output_tokens": 3,
    "reasoning_output_tokens": 0,
    "tokens_per_second": 372.6,
    "time_to_first_token_seconds": 0.119,
    "model_load_time_seconds": 2.1,
}
NATIVE_CHAT = {
    "model_instance_id": "google/gemma-3-1b",
    "output": [{"type": "message", "content": "Hi."}],
    "stats": NATIVE_STATS,
    "response_id": "resp_02b2017dbc06c12bfc353a2ed6c2b802f8cc682884bb5716",
}
LLM_CONFIG = {
    "context_length": 4096,
    "eval_batch_size": 512,
    "parallel": 4,
    "flash_attention": True,
    "num_experts": 8,
    "offload_kv_cache_to_gpu": True,
}
LLM_ROW = {
    "type": "llm",
    "publisher": "google",
    "key": "google/gemma-4-26b-a4b",
    "display_name": "Gemma 4 26B A4B",
    "architecture": "gemma4",
    "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
    "size_bytes": 17990911801,
    "params_string": "26B-A4B",
    "loaded_instances": [{"id": "google/gemma-4-26b-a4b", "config": LLM_CONFIG}],
    "max_context_length": 262144,
    "format": "gguf",
    "capabilities": {
        "vision": True,
        "trained_for_tool_use": True,
        "reasoning": {"allowed_options": ["off", "on"], "default": "on"},
    },
    "description": None,
    "variants": ["google/gemma-4-26b-a4b@q4_k_m"],
    "selected_variant": "google/gemma-4-26b-a4b@q4_k_m",
}
EMBEDDING_ROW = {
    "type": "embedding",
    "publisher": "nomic-ai",
    "key": "text-embedding-nomic-embed-text-v1.5",
    "display_name": "Nomic Embed Text v1.5",
    "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
    "size_bytes": 84106624,
    "params_string": "22M",
    "loaded_instances": [{"id": "text-embedding-nomic-embed-text-v1.5", "config": {"context_length": 2048}}],
    "max_context_length": 2048,
    "format": "gguf",
    "variants": ["x@q4_k_m"],
    "selected_variant": "x@q4_k_m",
}
LOADED = {
    "type": "llm",
    "instance_id": "openai/gpt-oss-20b",
    "load_time_seconds": 9.099,
    "status": "loaded",
    "load_config": {key: value for key, value in LLM_CONFIG.items() if key != "parallel"},
}
V0_ROW = {
    "id": "qwen2-vl-7b-instruct",
    "object": "model",
    "type": "vlm",
    "publisher": "mlx-community",
    "arch": "qwen2_vl",
    "compatibility_type": "mlx",
    "quantization": "4bit",
    "state": "not-loaded",
    "max_context_length": 32768,
    "capabilities": ["tool_use"],
    "loaded_context_length": 4096,
}
V1_MODELS = {"data": [{"id": "a", "object": "model", "owned_by": "organization_owner"}], "object": "list"}
TEXT_ERROR = {"error": "'messages' field is required"}
OPENAI_ERROR = {"error": {"message": "x", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
NATIVE_ERROR = {"error": {"type": "invalid_request", "message": "x", "code": "y", "param": "z"}}
ANTHROPIC_ERROR = {"type": "error", "error": {"type": "api_error", "message": "x"}}
JOB = {
    "job_id": "job_493c7c9ded",
    "status": "downloading",
    "total_size_bytes": 2279145003,
    "downloaded_bytes": 948,
    "bytes_per_second": 7834.7,
    "estimated_completion": "2025-10-07T00:21:47.030Z",
    "started_at": "2025-10-03T15:33:23.496Z",
    "completed_at": "2025-10-03T15:43:12.102Z",
}

OPTIONAL = {
    "response_id",
    "model_load_time_seconds",
    "num_experts",  # of mixtures of experts
    "reasoning",
    "variants",
    "selected_variant",
    "load_config",
    "capabilities",  # v0: only where there are any
    "loaded_context_length",
    "code",
    "param",
    "downloaded_bytes",
    "bytes_per_second",
    "estimated_completion",
    "completed_at",
}

NULLABLE = {"params_string"}

CASES: list[tuple[str, str, dict[str, Any] | None, int, Any]] = [
    ("GET", "/lmstudio-greeting", None, 200, {"lmstudio": True}),
    ("GET", "/no/such/route", None, 200, TEXT_ERROR),
    ("GET", "/v1/models", None, 200, V1_MODELS),
    ("POST", "/v1/chat/completions", CHAT_BODY, 200, COMPLETION),
    ("POST", "/v1/chat/completions", {"model": CHAT}, 400, TEXT_ERROR),
    ("POST", "/v1/completions", {**SHORT, "prompt": "Once"}, 200, TEXT_COMPLETION),
    ("POST", "/v1/embeddings", {"model": EMBED, "input": ["a", "b"]}, 200, EMBEDDINGS),
    ("POST", "/v1/embeddings", {"model": CHAT, "input": "a"}, 400, OPENAI_ERROR),
    ("POST", "/v1/embeddings", {"model": EMBED, "input": [1]}, 400, TEXT_ERROR),
    ("POST", "/v1/responses", {"model": CHAT, "input": "Hi", "temperature": 0}, 200, RESPONSE),
    ("POST", "/v1/messages", CHAT_BODY, 200, ANTHROPIC),
    ("POST", "/v1/messages", {**SHORT, "messages": 1}, 400, ANTHROPIC_ERROR),
    ("POST", "/api/v1/chat", NATIVE_BODY, 200, NATIVE_CHAT),
    ("POST", "/api/v1/chat", {**NATIVE_BODY, "store": False}, 200, NATIVE_CHAT),
    ("POST", "/api/v1/chat", {**NATIVE_BODY, "ttl": 1}, 400, NATIVE_ERROR),
    ("POST", "/api/v1/chat", {**NATIVE_BODY, "model": "nope"}, 404, NATIVE_ERROR),
    ("GET", "/api/v1/models", None, 200, {"models": [LLM_ROW, EMBEDDING_ROW]}),
    ("POST", "/api/v1/models/load", {"model": CHAT, "context_length": 256}, 200, LOADED),
    (
        "POST",
        "/api/v1/models/load",
        {"model": EMBED, "echo_load_config": True},
        200,
        LOADED | {"load_config": {"context_length": 1}},
    ),
    ("POST", "/api/v1/models/load", {"model": CHAT, "context_length": 256, "echo_load_config": True}, 200, LOADED),
    ("POST", "/api/v1/models/load", {"model": CHAT, "ttl": 3}, 400, NATIVE_ERROR),
    ("GET", "/api/v1/models", None, 200, {"models": [LLM_ROW, EMBEDDING_ROW]}),
    ("POST", "/api/v1/models/unload", {"instance_id": CHAT}, 200, {"instance_id": "google/gemma-3-1b"}),
    ("POST", "/api/v1/models/unload", {}, 400, NATIVE_ERROR),
    ("POST", "/api/v1/models/download", {"model": CHAT}, 200, {"status": "already_downloaded"}),
    ("GET", "/api/v1/models/download/status/job_0", None, 404, NATIVE_ERROR),
    ("GET", "/api/v0/models", None, 200, {"object": "list", "data": [V0_ROW]}),
    ("GET", f"/api/v0/models/{CHAT}", None, 200, V0_ROW),
    ("POST", "/api/v0/chat/completions", CHAT_BODY, 200, COMPLETION | V0_BLOCKS),
    ("POST", "/api/v0/completions", {**SHORT, "prompt": "Once"}, 200, TEXT_COMPLETION | V0_BLOCKS),
    ("POST", "/api/v0/embeddings", {"model": EMBED, "input": "a"}, 200, EMBEDDINGS),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT, EMBED) as running:
        yield running


def differences(actual: Any, example: Any, where: str = "") -> list[str]:
    """Where a body has not the shape of an example."""
    if example is None:
        return []
    if isinstance(example, dict):
        if not isinstance(actual, dict):
            return [f"{where}: {actual!r} is no object"]
        found = [f"{where}.{key}: unknown" for key in actual.keys() - example.keys()]
        found += [f"{where}.{key}: missing" for key in example.keys() - actual.keys() - OPTIONAL]
        for key in actual.keys() & example.keys():
            if actual[key] is None and key in NULLABLE:
                continue
            found += differences(actual[key], example[key], f"{where}.{key}")
        return found
    if isinstance(example, list):
        if not isinstance(actual, list):
            return [f"{where}: {actual!r} is no array"]
        found = []
        for at, item in enumerate(actual):
            tried = [differences(item, one, f"{where}[{at}]") for one in example] or [[f"{where}: not empty"]]
            found += min(tried, key=len)
        return found
    return [] if kind(actual) == kind(example) else [f"{where}: {actual!r} is no {kind(example)}"]


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "example"), CASES, ids=[f"{at}-{case[1]}" for at, case in enumerate(CASES)]
)
def test_bodies(
    shared: RunningEngine, method: str, path: str, body: dict[str, Any] | None, status: int, example: Any
) -> None:
    reply = shared.http.request(method, path, json=body)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert differences(reply.json(), example) == []


def test_the_comparison_sees_differences() -> None:
    """Unknown and missing keys, wrong kinds, at any depth."""
    example = {"a": [{"b": 1, "c": "x"}], "d": None}
    assert differences({"a": [{"b": 2.5, "c": "y"}], "d": [1]}, example) == []
    assert differences({"a": [{"b": True, "c": "y"}], "d": 1}, example) == [".a[0].b: True is no number"]
    assert differences({"a": [{"b": 1}], "e": 1, "d": 1}, example) == [".e: unknown", ".a[0].c: missing"]


def test_rows_with_all_that_a_model_can_have(tmp_path: Path) -> None:
    """Variants, reasoning settings and a vision half are told in LM Studio's words."""
    for name in ("seer-Q8_0", "seer-Q4_K_M"):
        write_model(tmp_path / f"models/acme/Seer-GGUF/{name}.gguf", block_count=1)
    write_model(tmp_path / "models/acme/Seer-GGUF/mmproj-F16.gguf", "clip")
    with scripted_engine(tmp_path, [{"deltas": [{"content": "x"}]}]) as running:
        (row,) = running.http.get("/api/v1/models").json()["models"]
    assert differences(row, LLM_ROW) == []
    assert LLM_ROW.keys() - row.keys() == set()
    assert set(row["capabilities"]) == {"vision", "trained_for_tool_use", "reasoning"}


def test_download_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    with hub_server({"thinker-Q8_0.gguf": b"GGUF" * 1000}) as hub, scripted_engine(tmp_path, []) as running:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.slow.set()
        job = running.http.post("/api/v1/models/download", json={"model": "acme/Thinker-GGUF"}).json()
        assert differences(job, JOB) == []
        address = f"/api/v1/models/download/status/{job['job_id']}"
        running_job = running.http.get(address).json()
        assert differences(running_job, JOB) == []
        assert {"bytes_per_second", "downloaded_bytes"} <= set(running_job)
        hub.slow.clear()
        while (done := running.http.get(address).json())["status"] == "downloading":
            pass
        assert differences(done, JOB) == []
        assert done.keys() == JOB.keys() - {"bytes_per_second", "estimated_completion"}


NATIVE_STREAM = (
    r"chat\.start (model_load\.start (model_load\.progress )+model_load\.end )?"
    r"prompt_processing\.start (prompt_processing\.progress )*prompt_processing\.end "
    r"message\.start (message\.delta )+message\.end chat\.end"
)
RESPONSES_STREAM = (
    r"response\.created response\.in_progress response\.output_item\.added response\.content_part\.added "
    r"(response\.output_text\.delta )+response\.output_text\.done response\.content_part\.done "
    r"response\.output_item\.done response\.completed"
)
ANTHROPIC_STREAM = (
    r"message_start content_block_start (ping )?(content_block_delta )+content_block_stop message_delta message_stop"
)


@pytest.mark.parametrize(
    ("path", "body", "order"),
    [
        ("/api/v1/chat", NATIVE_BODY, NATIVE_STREAM),
        ("/v1/responses", {"model": CHAT, "input": "Hi", "temperature": 0}, RESPONSES_STREAM),
        ("/v1/messages", CHAT_BODY, ANTHROPIC_STREAM),
    ],
)
def test_order_of_named_events(shared: RunningEngine, path: str, body: dict[str, Any], order: str) -> None:
    """Every event has its type in its data as well."""
    named = [frame.split("\n") for frame in frames(shared.post(path, **body, stream=True))]
    assert re.fullmatch(order, " ".join(name.removeprefix("event: ") for name, _ in named))
    assert all(json.loads(data[6:])["type"] == name.removeprefix("event: ") for name, data in named)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/api/v0/chat/completions"])
def test_order_of_chunks(shared: RunningEngine, path: str) -> None:
    """Content from the first chunk on, a chunk that says why it ended, the counts where they were asked for, DONE."""
    body = {**CHAT_BODY, "prompt": "Once", "stream": True, "stream_options": {"include_usage": True}}
    told = frames(shared.post(path, **body))
    assert told[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in told[:-1]]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["length"]
    first = chunks[0]["choices"][0]
    assert first.get("text") or first["delta"]["content"]
    if path.startswith("/v1/"):
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 4


def frames(reply: httpx2.Response) -> list[str]:
    assert reply.headers["content-type"].startswith("text/event-stream"), reply.text
    return reply.text.removesuffix("\n\n").split("\n\n")
