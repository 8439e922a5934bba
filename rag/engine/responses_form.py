"""The response object of /v1/responses and its output items."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rag.engine.events import Usage
from rag.engine.ids import new_id, response_id
from rag.engine.sampling import DEFAULTS


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a response before its answer."""

    body: dict[str, Any]
    """The request."""
    model: str
    id: str = field(default_factory=response_id)
    created: int = field(default_factory=lambda: int(time.time()))

    def response(
        self,
        status: str,
        output: Sequence[dict[str, Any]] = (),
        usage: Usage | None = None,
        incomplete: str | None = None,
        error: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the response object, with LM Studio's oddities.

        `top_p` is false where the request has none, and `frequency_penalty` is the penalty of repetition.
        """
        asked = self.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "model": self.model,
            "previous_response_id": asked.get("previous_response_id"),
            "instructions": asked.get("instructions"),
            "output": list(output),
            "error": error,
            "tools": asked.get("tools") or [],
            "tool_choice": asked.get("tool_choice") or "auto",
            "truncation": asked.get("truncation") or "auto",
            "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
            "text": asked.get("text") or {"format": {"type": "text"}},
            "top_p": _given(asked, "top_p", default=False),
            "presence_penalty": _given(asked, "presence_penalty", default=0),
            "frequency_penalty": _given(asked, "repeat_penalty", default=DEFAULTS["repeat_penalty"]),
            "top_logprobs": asked.get("top_logprobs") or 0,
            "temperature": _given(asked, "temperature", default=DEFAULTS["temperature"]),
            "reasoning": {"summary": None, "effort": (asked.get("reasoning") or {}).get("effort")},
            "usage": None if usage is None else _usage(usage),
            "max_output_tokens": asked.get("max_output_tokens"),
            "max_tool_calls": None,
            "store": asked.get("store") is not False,
            "background": False,
            "service_tier": "default",
            "metadata": asked.get("metadata") or {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }


def _given(asked: dict[str, Any], key: str, *, default: float | bool) -> Any:
    return default if asked.get(key) is None else asked[key]


def _usage(counted: Usage) -> dict[str, Any]:
    return {
        "input_tokens": counted.prompt,
        "output_tokens": counted.completion,
        "total_tokens": counted.prompt + counted.completion,
        "input_tokens_details": {"cached_tokens": counted.cached},
        "output_tokens_details": {"reasoning_tokens": counted.reasoning},
    }


def message_item(item_id: str, status: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return an answer's text as an output item."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": list(parts)}


def text_part(text: str, logprobs: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the one part of a message item."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [told_logprob(one) for one in logprobs]}


def told_logprob(one: dict[str, Any]) -> dict[str, Any]:
    """Return one token's log probability with its alternatives, without llama.cpp's token ids."""
    kept = {"token": one["token"], "logprob": one["logprob"], "bytes": one["bytes"]}
    if "top_logprobs" in one:
        kept["top_logprobs"] = [told_logprob(other) for other in one["top_logprobs"]]
    return kept


def reasoning_item(item_id: str, status: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what was thought as an output item."""
    return {"id": item_id, "type": "reasoning", "status": status, "summary": [], "content": list(parts)}


def call_item(item_id: str, status: str, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """Return a tool call as an output item."""
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def item_id(kind: str) -> str:
    """Return a new id for an item: `msg`, `rs` or `fc`."""
    return new_id(f"{kind}_", 22)
