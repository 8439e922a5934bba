"""An answer as the events of /v1/messages; a whole message is put together out of the same blocks."""

import json
from collections.abc import Iterator
from typing import Any

from rag.engine.events import Answer, CallArguments, CallBegins, End, Event, PromptRead, Reasoning, Text, Usage
from rag.engine.ids import new_id

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def message(answer: Answer, instance_id: str) -> dict[str, Any]:
    """Return a whole answer."""
    content: list[dict[str, Any]] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": ""})
    if answer.content or not answer.calls:
        content.append({"type": "text", "text": answer.content})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _object(call.arguments)}
        for call in answer.calls
    ]
    return {**_empty(instance_id), "content": content, **_stop(answer.end), "usage": _usage(answer.end.usage)}


class MessageEvents:
    """Turns an answer's events into Anthropic's. One content block is open at a time."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id
        self._started = False
        self._blocks = 0
        self._open: str | None = None

    def add(self, told: Event) -> Iterator[dict[str, Any]]:
        """Yield what an event of the answer becomes: the first opens the message, the last closes it."""
        if not self._started:
            self._started = True
            usage = _usage(Usage(prompt=told.tokens if isinstance(told, PromptRead) else 0))
            yield {"type": "message_start", "message": {**_empty(self._instance_id), "usage": usage}}
        match told:
            case Reasoning():
                yield from self._switch("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                yield self._delta({"type": "thinking_delta", "thinking": told.text})
            case Text():
                yield from self._switch("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": told.text})
            case CallBegins():
                block = {"type": "tool_use", "id": told.id, "name": told.name, "input": {}}
                yield from self._switch(f"tool_use {told.index}", block)
            case CallArguments():
                yield self._delta({"type": "input_json_delta", "partial_json": told.text})
            case End():
                yield from self._switch(None, {})
                yield {"type": "message_delta", "delta": _stop(told), "usage": _usage(told.usage)}
                yield {"type": "message_stop"}
            case PromptRead():
                pass

    def _switch(self, to: str | None, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self._open == to:
            return
        if self._open is not None:
            yield {"type": "content_block_stop", "index": self._blocks}
            self._blocks += 1
        self._open = to
        if to is not None:
            yield {"type": "content_block_start", "index": self._blocks, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._blocks, "delta": delta}


def _empty(instance_id: str) -> dict[str, Any]:
    return {
        "id": new_id("msg_", 22),
        "type": "message",
        "role": "assistant",
        "model": instance_id,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {},
    }


def _stop(end: End) -> dict[str, Any]:
    if end.stop_sequence is not None and end.finish_reason == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": end.stop_sequence}
    return {"stop_reason": _STOP_REASONS[end.finish_reason], "stop_sequence": None}


def _usage(counted: Usage) -> dict[str, int]:
    return {"input_tokens": counted.prompt, "output_tokens": counted.completion}


def _object(arguments: str) -> dict[str, Any]:
    """Return a call's arguments; those of a call that was cut off are none."""
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
