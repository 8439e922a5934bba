"""The engine's /v1/messages over real HTTP: Anthropic's form of answers, streams, tools and errors."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from engine_fixture import CHAT, RunningEngine, engine
from engine_talk import ASKED, named
from scripted_worker import WITH_TOOLS, requests, scripted_engine

WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME = {"name": "get_time", "input_schema": {"type": "object", "properties": {}, "additionalProperties": False}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT) as running:
        assert running.post("/api/v1/models/load", model=CHAT, context_length=1024).status_code == 200
        yield running


def ask(running: RunningEngine, messages: Any = ASKED, **more: Any) -> httpx2.Response:
    body = {"model": CHAT, "max_tokens": 60, "temperature": 0, "messages": messages, **more}
    return running.post("/v1/messages", **body)


def test_message(shared: RunningEngine) -> None:
    reply = ask(shared, max_tokens=4).json()
    assert re.fullmatch(r"msg_[a-z0-9]{22}", reply["id"])
    assert reply == {
        "id": reply["id"],
        "type": "message",
        "role": "assistant",
        "model": CHAT,
        "content": [{"type": "text", "text": reply["content"][0]["text"]}],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "usage": {"input_tokens": reply["usage"]["input_tokens"], "output_tokens": 4},
    }
    ended = ask(shared, [{"role": "user", "content": "Reply with one word: yes."}], max_tokens=200).json()
    assert (ended["stop_reason"], ended["stop_sequence"]) == ("end_turn", None)


def test_system_and_blocks(shared: RunningEngine) -> None:
    """Blocks mean what the text means that they make; thoughts of earlier answers are left out."""
    as_text = ask(shared, system="Be brief.").json()
    blocks = [{"role": "user", "content": [{"type": "text", "text": ASKED[0]["content"]}]}]
    as_blocks = ask(shared, blocks, system=[{"type": "text", "text": "Be brief."}]).json()
    assert as_blocks["usage"] == as_text["usage"]
    assert as_blocks["content"] == as_text["content"]
    said = {"type": "text", "text": "Sunny."}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": ""}

    def tokens(*content: dict[str, Any]) -> Any:
        messages = [*ASKED, {"role": "assistant", "content": list(content)}, {"role": "user", "content": "Sure?"}]
        return ask(shared, messages, max_tokens=1).json()["usage"]["input_tokens"]

    assert tokens(thought, said) == tokens(said)


def test_stream(shared: RunningEngine) -> None:
    told = named(ask(shared, stream=True))
    kinds = [event["type"] for event in told]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * (len(kinds) - 5),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    whole = ask(shared).json()
    assert told[0]["message"]["usage"] == {"input_tokens": whole["usage"]["input_tokens"], "output_tokens": 0}
    assert told[0]["message"]["content"] == []
    assert told[1] == {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert "".join(event["delta"]["text"] for event in told[2:-3]) == whole["content"][0]["text"]
    assert told[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": whole["usage"],
    }


def test_stop_sequences(shared: RunningEngine) -> None:
    """Which one it was is told, whole and streamed."""
    reply = ask(shared, stop_sequences=["zzz", ",", "."]).json()
    assert reply["stop_reason"] == "stop_sequence"
    assert reply["stop_sequence"] in (",", ".")
    assert reply["stop_sequence"] not in reply["content"][0]["text"]
    delta = named(ask(shared, stop_sequences=["zzz", ",", "."], stream=True))[-2]["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": reply["stop_sequence"]}


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_tools(shared: RunningEngine, choice: dict[str, str]) -> None:
    tools = [WEATHER] if choice["type"] == "any" else [TIME, WEATHER]
    reply = ask(shared, tools=tools, tool_choice=choice).json()
    (use,) = reply["content"]
    assert (reply["stop_reason"], use["type"], use["name"]) == ("tool_use", "tool_use", "get_weather")
    assert list(use["input"]) == ["city"]
    told = named(ask(shared, tools=tools, tool_choice=choice, stream=True))
    assert told[1]["content_block"] == {
        "type": "tool_use",
        "id": told[1]["content_block"]["id"],
        "name": "get_weather",
        "input": {},
    }
    pieces = [event["delta"] for event in told if event["type"] == "content_block_delta"]
    assert {piece["type"] for piece in pieces} == {"input_json_delta"}
    assert json.loads("".join(piece["partial_json"] for piece in pieces)) == use["input"]
    result = [{"type": "tool_result", "tool_use_id": use["id"], "content": [{"type": "text", "text": "rain"}]}]
    messages = [*ASKED, {"role": "assistant", "content": reply["content"]}, {"role": "user", "content": result}]
    assert ask(shared, messages, tools=tools).json()["content"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"messages": []}, "messages: Field required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages: role must be 'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages: content must be a string or a list of blocks"),
        (
            {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
            "messages: content blocks of type 'document' are not supported",
        ),
        ({"max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"system": 7}, "system: Input should be a string or a list of text blocks"),
        ({"tools": [{"type": "web_search_20250305"}]}, "tools: only tools with an input_schema, not 'web_search_"),
        ({"tools": [TIME], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice: there is no tool 'x'"),
        ({"tools": [TIME], "tool_choice": "any"}, "tool_choice: must have a type of auto, any, tool or none"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}
                ]
            },
            "'url' field must be a base64 encoded image.",
        ),
    ],
)
def test_refused(shared: RunningEngine, more: dict[str, Any], message: str) -> None:
    reply = ask(shared, **{"messages": ASKED, **more})
    assert reply.status_code == 400
    body = reply.json()
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["error"]["message"].startswith(message)


def test_faults(shared: RunningEngine) -> None:
    """What fails in the engine is a 500 `api_error`, inside a stream an event."""
    long = [{"role": "user", "content": "hello " * 2000}]
    reply = ask(shared, long)
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "api_error"
    assert reply.json()["error"]["message"].startswith("The number of tokens to keep")
    (told,) = named(ask(shared, long, stream=True))
    assert told == reply.json()
    shared.unload_all()
    unknown = ask(shared, model="nope")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    assert ask(shared, max_tokens=1).json()["model"] == CHAT
    counted = shared.post("/v1/messages/count_tokens", model=CHAT, messages=ASKED)
    assert counted.json() == {"error": "Unexpected endpoint or method. (POST /v1/messages/count_tokens)"}


def test_scripted_blocks(tmp_path: Path) -> None:
    """Thoughts, text and two calls are a block each, in this order; the worker gets it all in its own form."""
    said = [
        {"reasoning_content": "Hm."},
        {"content": "Let me look."},
        {"tool_calls": [{"index": 0, "id": "x", "type": "function", "function": {"name": "get_time"}}]},
        {"tool_calls": [{"index": 1, "id": "y", "type": "function", "function": {"name": "get_weather"}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": '{"city":"Rome"}'}}]},
    ]
    result = {"type": "tool_result", "tool_use_id": "7", "content": "noon"}
    history = [
        *ASKED,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "7", "name": "get_time", "input": {}}]},
        {"role": "user", "content": [result, {"type": "text", "text": "So?"}]},
    ]
    body = {"model": WITH_TOOLS, "max_tokens": 9, "messages": history, "tools": [TIME, WEATHER]}
    with scripted_engine(tmp_path, [(said, "tool_calls")] * 2) as client:
        reply = client.post("/v1/messages", json=body).json()
        assert [block["type"] for block in reply["content"]] == ["thinking", "text", "tool_use", "tool_use"]
        assert [block.get("input") for block in reply["content"]] == [None, None, {}, {"city": "Rome"}]
        assert reply["stop_reason"] == "tool_use"
        told = named(client.post("/v1/messages", json={**body, "stream": True}))
    starts = [event for event in told if event["type"] == "content_block_start"]
    assert [(event["index"], event["content_block"]["type"]) for event in starts] == [
        (0, "thinking"),
        (1, "text"),
        (2, "tool_use"),
        (3, "tool_use"),
    ]
    assert [event["index"] for event in told if event["type"] == "content_block_stop"] == [0, 1, 2, 3]
    asked = requests(tmp_path)[0]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "tool", "user"]
    assert asked[1]["tool_calls"][0]["function"] == {"name": "get_time", "arguments": "{}"}
    assert (asked[2]["content"], asked[2]["tool_call_id"], asked[3]["content"]) == ("noon", "7", "So?")
