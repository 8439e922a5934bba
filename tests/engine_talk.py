"""What tests of the engine say to it, and how they read its streams."""

import json
from typing import Any

import httpx2

QWEN = "qwen2.5-coder-0.5b-instruct"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
TIME = {"type": "function", "function": {"name": "get_time"}}
ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]


def chunks(reply: httpx2.Response) -> list[dict[str, Any]]:
    """Return the chunks of a stream that ends as it should."""
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""], reply.text
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def named(reply: httpx2.Response) -> list[dict[str, Any]]:
    """Return the events of a stream whose events have names, the same as their types."""
    told = []
    for block in reply.text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        told.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {told[-1]['type']}"
    return told


def earlier_calls(*cities: str) -> list[dict[str, Any]]:
    """Return a conversation in which the weather of each city was asked for, by a tool call, and told."""
    told: list[dict[str, Any]] = []
    for number, city in enumerate(cities):
        function = {"name": "get_weather", "arguments": json.dumps({"city": city, "unit": "c"})}
        told += [
            {"role": "user", "content": f"What is the weather in {city}?"},
            {"role": "assistant", "tool_calls": [{"id": str(number), "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": str(number), "content": "sunny, 20 C"},
            {"role": "assistant", "content": f"It is sunny in {city}, 20 C."},
        ]
    return told
