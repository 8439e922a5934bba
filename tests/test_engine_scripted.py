"""What small models do not do when asked: a scripted worker does it, behind the engine's own routes."""

import json
import random
from pathlib import Path
from typing import Any

from engine_talk import ASKED, TIME, WEATHER, chunks, earlier_calls, named
from hypothesis import given
from hypothesis import strategies as st
from scripted_worker import PLAIN, WITH_TOOLS, requests, scripted_engine

from rag.engine.reading import OneCall
from rag.engine.spans import Spans


def test_scripted_calls_and_thoughts(tmp_path: Path) -> None:
    """What llama.cpp takes out of a model's text itself: thoughts, and two calls at once."""
    said = [
        {"reasoning_content": "Two"},
        {"reasoning_content": " cities."},
        {"content": "Let me look."},
        {"tool_calls": [{"index": 0, "id": "x", "type": "function", "function": {"name": "get_weather"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "y", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
            ]
        },
    ]
    with scripted_engine(tmp_path, [(said, "tool_calls")] * 3) as client:
        body = {"model": WITH_TOOLS, "messages": ASKED, "tools": [WEATHER, TIME]}
        reply = client.post("/v1/chat/completions", json=body).json()
        message = reply["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("Two cities.", "Let me look.")
        assert [call["function"]["name"] for call in message["tool_calls"]] == ["get_weather", "get_time"]
        assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"city":"Rome"}', "{}"]
        assert len({call["id"] for call in message["tool_calls"]}) == 2
        assert reply["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
        streamed = client.post("/v1/chat/completions", json={**body, "stream": True})
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(streamed)]
        assert deltas[0] == {"role": "assistant", "reasoning_content": "Two"}
        calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
        assert [call["index"] for call in calls] == [0, 0, 0, 1, 1]
        assert ["id" in call for call in calls] == [True, False, False, True, False]
        told = named(client.post("/v1/responses", json={"model": WITH_TOOLS, "input": "x", "stream": True}))
        assert [item["type"] for item in told[-1]["response"]["output"]] == [
            "reasoning",
            "message",
            "function_call",
            "function_call",
        ]
        assert told[-1]["response"]["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
        assert "response.reasoning_text.delta" in {event["type"] for event in told}
    asked = requests(tmp_path)[0]
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["get_weather", "get_time"]


def test_scripted_calls_in_the_default_form(tmp_path: Path) -> None:
    """Where the template knows no tools, they are told in the prompt, and calls are taken out of the text.

    A model of 135 million parameters closed its calls with the mark of a result; what is no call stays text.
    """
    call = ("[TOOL_REQ", 'UEST]{"name": "get_weather", "argu', 'ments": {"city": "Rome"}}')
    good = [{"content": piece} for piece in ("Sure. ", *call, "[END_TOOL_", "REQUEST]", *call, "[END_TOOL_RESULT]")]
    bad = [{"content": "[TOOL_REQUEST]get_weather(Rome)[END_TOOL_REQUEST] ok"}]
    body = {"model": PLAIN, "messages": [*earlier_calls("Oslo"), *ASKED], "tools": [WEATHER]}
    with scripted_engine(tmp_path, [(good, "stop"), (good, "stop"), (bad, "stop")]) as client:
        choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "Sure. ")
        functions = [call["function"] for call in choice["message"]["tool_calls"]]
        assert functions == [{"name": "get_weather", "arguments": '{"city": "Rome"}'}] * 2
        told = chunks(client.post("/v1/chat/completions", json={**body, "stream": True}))
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in told) == "Sure. "
        choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
        assert (choice["finish_reason"], choice["message"]["tool_calls"]) == ("stop", [])
        assert choice["message"]["content"] == "[TOOL_REQUEST]get_weather(Rome)[END_TOOL_REQUEST] ok"
    asked = requests(tmp_path)[0]
    assert "tools" not in asked
    assert [message["role"] for message in asked["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert '"name": "get_weather"' in asked["messages"][0]["content"]
    assert asked["messages"][2]["content"].startswith(
        '[TOOL_REQUEST]{"name": "get_weather", "arguments": {"city": "Oslo"'
    )
    assert asked["messages"][3]["content"] == "[TOOL_RESULT]sunny, 20 C[END_TOOL_RESULT]"


def test_scripted_line_separators(tmp_path: Path) -> None:
    """Characters that end lines for Python, and for httpx2, end none in an event stream."""
    odd = "a\u2028b\u2029c\x85d\x0be\x1cf"
    body = {"model": PLAIN, "messages": ASKED}
    with scripted_engine(tmp_path, [([{"content": odd}], "stop")] * 2) as client:
        assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == odd
        told = chunks(client.post("/v1/chat/completions", json={**body, "stream": True}))
        assert told[0]["choices"][0]["delta"]["content"] == odd


def test_scripted_think_tags_and_failures(tmp_path: Path) -> None:
    """Thoughts that llama.cpp left in the text are taken out; what breaks in the middle is told, not hidden."""
    thinking = [{"content": piece} for piece in ("<th", "ink>Hm", "m</thi", "nk>\n", "\nYes", " <think>.")]
    script: list[tuple[list[dict[str, Any]], str | None]] = [(thinking, "stop")] * 2
    script += [([{"content": "Ye"}], "error")] * 4 + [([{"content": "Ye"}], None)]
    body = {"model": PLAIN, "messages": ASKED}
    with scripted_engine(tmp_path, script) as client:
        message = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("Hmm", "Yes <think>.")
        streamed = client.post("/v1/chat/completions", json={**body, "stream": True})
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(streamed)]
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hmm"
        assert "".join(delta.get("content", "") for delta in deltas) == "Yes <think>."
        broken = client.post("/v1/chat/completions", json=body)
        assert (broken.status_code, broken.json()) == (500, {"error": "it broke"})
        broken = client.post("/v1/chat/completions", json={**body, "stream": True})
        assert broken.text.endswith('event: error\ndata: {"error":{"message":"it broke"}}\n\n')
        told = named(client.post("/v1/responses", json={"model": PLAIN, "input": "x", "stream": True}))
        assert (told[-1]["type"], told[-1]["message"]) == ("error", "it broke")
        told = named(client.post("/v1/messages", json={**body, "stream": True}))
        assert told[-1] == {"type": "error", "error": {"type": "api_error", "message": "it broke"}}
        cut_off = client.post("/v1/chat/completions", json=body)
        assert cut_off.status_code == 500


MARKS = st.lists(st.sampled_from(["<a>", "</a>", "<", "a", ">", "</", "x", " "]), max_size=12).map("".join)


@given(MARKS, st.booleans(), st.randoms(use_true_random=False))
def test_spans_do_not_depend_on_the_cutting(text: str, leading: bool, rng: random.Random) -> None:
    """A text in pieces gives the same spans as in one."""

    def read(pieces: list[str]) -> list[tuple[str, str]]:
        spans = Spans("<a>", "</a>", leading=leading)
        joined: list[tuple[str, str]] = []
        for kind, piece in [*(one for part in pieces for one in spans.feed(part)), *spans.rest()]:
            if joined and joined[-1][0] == kind != "closed":
                joined[-1] = (kind, joined[-1][1] + piece)
            else:
                joined.append((kind, piece))
        return joined

    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(4))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(pieces) == read([text])


@given(st.recursive(st.text('{}" a\\', max_size=4), lambda inner: st.dictionaries(st.text("a} ", max_size=2), inner)))
def test_one_call_gives_back_its_arguments(value: Any) -> None:
    """However deep the braces, and whatever stands in strings."""
    written = json.dumps({"name": "f", "arguments": {"v": value}}, indent=1)
    call = OneCall()
    events = [event for character in written for event in call.feed(character)] + call.rest()
    assert json.loads("".join(event.text for event in events[1:])) == {"v": value}  # type: ignore[union-attr]
