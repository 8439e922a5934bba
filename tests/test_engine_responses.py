"""The engine's /v1/responses over real HTTP: its object, its events, going on from an earlier response."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from engine_fixture import CHAT, RunningEngine, engine
from engine_talk import ASKED, WEATHER, named

from rag.engine.responses_store import ResponseStore


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT) as running:
        assert running.post("/api/v1/models/load", model=CHAT, context_length=1024).status_code == 200
        yield running


def respond(running: RunningEngine, given: Any, **more: Any) -> httpx2.Response:
    body = {"model": CHAT, "input": given, "temperature": 0, "max_output_tokens": 12, **more}
    return running.post("/v1/responses", **body)


def test_response(shared: RunningEngine) -> None:
    """LM Studio's object, with its oddities."""
    reply = respond(shared, "Reply with one word: yes.", max_output_tokens=100, ttl=5).json()
    assert re.fullmatch(r"resp_[0-9a-f]{48}", reply["id"])
    (item,) = reply["output"]
    assert re.fullmatch(r"msg_[a-z0-9]{22}", item["id"])
    (part,) = item["content"]
    usage = reply["usage"]
    assert reply == {
        "id": reply["id"],
        "object": "response",
        "created_at": reply["created_at"],
        "completed_at": reply["completed_at"],
        "status": "completed",
        "incomplete_details": None,
        "model": CHAT,
        "previous_response_id": None,
        "instructions": None,
        "output": [
            {
                "id": item["id"],
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": part["text"], "annotations": [], "logprobs": []}],
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
        "temperature": 0,
        "reasoning": {"summary": None, "effort": None},
        "usage": {
            "input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
            "total_tokens": usage["input_tokens"] + usage["output_tokens"],
            "input_tokens_details": usage["input_tokens_details"],
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        "max_output_tokens": 100,
        "max_tool_calls": None,
        "store": True,
        "background": False,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }
    assert respond(shared, "Tell a story.", max_output_tokens=3).json()["incomplete_details"] == {
        "reason": "max_output_tokens"
    }


def test_response_goes_on(shared: RunningEngine) -> None:
    """By its id: what was said before counts, its instructions do not, and `store: false` forgets."""
    first = respond(shared, "My name is Ada.", instructions="You are terse. " * 10).json()
    second = respond(shared, "What is my name?", previous_response_id=first["id"]).json()
    bare = respond(shared, "What is my name?").json()
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > bare["usage"]["input_tokens"] + first["usage"]["output_tokens"]
    assert second["usage"]["input_tokens"] < first["usage"]["input_tokens"] + bare["usage"]["input_tokens"]
    as_items = [
        {"role": "user", "content": "My name is Ada."},
        *first["output"],
        {"role": "user", "content": [{"type": "input_text", "text": "What is my name?"}]},
    ]
    assert respond(shared, as_items).json()["usage"]["input_tokens"] == second["usage"]["input_tokens"]
    unstored = respond(shared, "x", store=False).json()
    assert unstored["store"] is False
    for unknown in (unstored["id"], "resp_0", 7):
        reply = respond(shared, "x", previous_response_id=unknown)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "previous_response_not_found")


def test_response_stream(shared: RunningEngine) -> None:
    told = named(respond(shared, "Say hello.", stream=True))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    kinds = [event["type"] for event in told]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        f"response.{told[-1]['response']['status']}",
    ]
    text = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
    assert text == told[-1]["response"]["output"][0]["content"][0]["text"]
    again = respond(shared, "And now?", previous_response_id=told[0]["response"]["id"])
    assert again.status_code == 200


def test_response_calls_a_tool(shared: RunningEngine) -> None:
    tools = [{"type": "function", **WEATHER["function"]}]  # type: ignore[dict-item]
    reply = respond(shared, ASKED, tools=tools, tool_choice="required", max_output_tokens=80).json()
    (call,) = reply["output"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
    assert set(json.loads(call["arguments"])) == {"city", "unit"}
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain, 9 C"}
    after = respond(shared, [result], previous_response_id=reply["id"], tools=tools)
    assert after.json()["status"] in ("completed", "incomplete")
    told = named(respond(shared, ASKED, tools=tools, tool_choice="required", max_output_tokens=80, stream=True))
    kinds = [event["type"] for event in told]
    assert kinds[2] == "response.output_item.added"
    assert kinds[-3:] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    pieces = [event["delta"] for event in told if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(pieces) == told[-3]["arguments"]


def test_response_logprobs(shared: RunningEngine) -> None:
    reply = respond(shared, "Hi", include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=3).json()
    logprobs = reply["output"][0]["content"][0]["logprobs"]
    assert len(logprobs) == 3
    assert list(logprobs[0]) == ["token", "logprob", "bytes", "top_logprobs"]
    assert len(logprobs[0]["top_logprobs"]) == 2
    assert "".join(one["token"] for one in logprobs) == reply["output"][0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (7, {}, "Invalid type for 'input'."),
        ([7], {}, "Invalid type for 'input'."),
        ([{"type": "wat"}], {}, "Invalid Responses API request"),
        ("x", {"instructions": 7}, "Invalid type for 'instructions'."),
        (
            "x",
            {"tools": [{"type": "web_search"}]},
            "Tools of type 'web_search' are not supported here: only functions.",
        ),
        ("x", {"reasoning": "low"}, "Invalid type for 'reasoning'."),
        ("x", {"top_logprobs": 21}, "'top_logprobs' must be between 0 and 20."),
    ],
)
def test_response_refused(shared: RunningEngine, given: Any, more: dict[str, Any], message: str) -> None:
    reply = respond(shared, given, **more)
    assert reply.status_code == 400
    assert (reply.json()["error"]["message"], reply.json()["error"]["type"]) == (message, "invalid_request_error")


def test_response_overflow(shared: RunningEngine) -> None:
    reply = respond(shared, "hello " * 2000)
    assert reply.status_code == 500
    error = reply.json()["error"]
    assert error.pop("message").startswith("The number of tokens to keep from the initial prompt is greater than")
    assert error == {"type": "internal_error", "param": None, "code": "unknown"}
    told = named(respond(shared, "hello " * 2000, stream=True))
    assert told[-1]["type"] == "error"
    assert told[-1]["message"].startswith("The number of tokens to keep")


def test_unknown_model_of_responses(shared: RunningEngine) -> None:
    assert shared.post("/api/v1/models/load", model=CHAT, context_length=256).status_code == 200
    reply = respond(shared, "x", model="nope")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "model_not_found")


def test_responses_are_bounded() -> None:
    """By number and by size; the oldest go first, and what is too large is not kept at all."""
    store = ResponseStore(most_responses=3, most_bytes=400)
    for name in "abcd":
        store.put(name, [{"role": "user", "content": name}])
    assert store.get("a") is None
    assert [store.get(name) is not None for name in "bcd"] == [True] * 3
    store.put("large", [{"role": "user", "content": "x" * 250}])
    assert store.get("b") is None
    assert store.get("large") is not None
    store.put("too large", [{"role": "user", "content": "x" * 500}])
    assert (store.get("too large"), store.get("large") is not None) == (None, True)
