"""Chat completions: LM Studio's request to llama.cpp's, llama.cpp's answer and stream to LM Studio's."""

import json
import secrets
import string
from collections.abc import AsyncIterator
from typing import Any

from rag.engine.replies import text_refusal

_ID_ALPHABET = string.ascii_lowercase + string.digits
_SAMPLING_DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1.1}
_PASSED_ON = ("presence_penalty", "frequency_penalty", "logit_bias", "stop", "seed", "tools")
_TOOL_CHOICES = ("none", "auto", "required")


def completion_id() -> str:
    """Return a new id in LM Studio's form."""
    return "chatcmpl-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(21))


def tool_call_id() -> str:
    """Return a new tool call id: LM Studio's are decimal."""
    return str(secrets.randbelow(9 * 10**8) + 10**8)


def worker_request(body: dict[str, Any]) -> dict[str, Any]:
    """Return the request for the worker. Raises Refusal where LM Studio refuses; keys that it ignores are left out."""
    messages = body.get("messages")
    if messages is None:
        raise text_refusal("'messages' field is required")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise text_refusal("'messages' field must be an array of messages")
    for key in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"):
        if not isinstance(body.get(key), int | float | None):
            raise text_refusal(f"'{key}' field must be a number")
    request: dict[str, Any] = {"messages": [_message(message) for message in messages], "cache_prompt": True}
    for key, default in _SAMPLING_DEFAULTS.items():
        request[key] = default if body.get(key) is None else body[key]
    request |= {key: body[key] for key in _PASSED_ON if body.get(key) is not None}
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    if limit is not None and limit >= 0:
        request["max_tokens"] = int(limit)
    choice = body.get("tool_choice")
    if choice is not None:
        if choice not in _TOOL_CHOICES:
            kind = "object" if isinstance(choice, dict) else f"{choice}"
            raise text_refusal(f"Invalid tool_choice type: '{kind}'. Supported string values: none, auto, required")
        request["tool_choice"] = choice
    if (form := body.get("response_format")) is not None:
        wanted = form.get("type") if isinstance(form, dict) else None
        if wanted not in ("json_schema", "text"):
            raise text_refusal("'response_format.type' must be 'json_schema' or 'text'")
        if wanted == "json_schema":
            request["response_format"] = form
    if body.get("stream"):
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return request


def _message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else None
            if not (isinstance(url, str) and url.startswith(("data:image/png", "data:image/jpeg", "data:image/gif"))):
                raise text_refusal("'url' field must be a base64 encoded image.")
    return {**message, "role": "system"} if message.get("role") == "developer" else message


def completion(reply: dict[str, Any], instance_id: str, reasoning_tokens: int) -> dict[str, Any]:
    """Return llama.cpp's answer in LM Studio's form."""
    choice = reply["choices"][0]
    message = choice["message"]
    return {
        "id": completion_id(),
        "object": "chat.completion",
        "created": reply["created"],
        "model": instance_id,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": message.get("content") or "",
                    "reasoning_content": message.get("reasoning_content") or "",
                    "tool_calls": [
                        {"id": tool_call_id(), "type": "function", "function": _function(call["function"])}
                        for call in message.get("tool_calls") or ()
                    ],
                },
                "logprobs": None,
                "finish_reason": choice["finish_reason"],
            }
        ],
        "usage": usage(reply["usage"], reasoning_tokens),
        "stats": {},
        "system_fingerprint": instance_id,
    }


def usage(counted: dict[str, Any], reasoning_tokens: int) -> dict[str, Any]:
    """Return token counts in LM Studio's form."""
    return {
        "prompt_tokens": counted["prompt_tokens"],
        "completion_tokens": counted["completion_tokens"],
        "total_tokens": counted["total_tokens"],
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
    }


def _function(function: dict[str, Any]) -> dict[str, str]:
    return {"name": function["name"], "arguments": function["arguments"]}


async def stream(lines: AsyncIterator[str], instance_id: str, include_usage: bool) -> AsyncIterator[bytes]:
    """Turn llama.cpp's event stream into LM Studio's.

    llama.cpp opens with a chunk that has a role and no content; here the first chunk carries content, or the end.
    """
    head = {"id": completion_id(), "object": "chat.completion.chunk"}
    tail = {"model": instance_id, "system_fingerprint": instance_id}
    opened = False
    reasoning = 0
    async for line in lines:
        if not line.startswith("data: "):
            if line.startswith("error: "):
                yield error_event(json.loads(line[7:]).get("message", line[7:]))
            continue
        if line == "data: [DONE]":
            break
        chunk = json.loads(line[6:])
        if "error" in chunk:
            yield error_event(chunk["error"].get("message", str(chunk["error"])))
            continue
        base = {**head, "created": chunk["created"], **tail}
        if not chunk["choices"]:
            if include_usage:
                yield event({**base, "choices": [], "usage": usage(chunk["usage"], reasoning)})
            continue
        choice = chunk["choices"][0]
        delta = _delta(choice["delta"])
        if not delta and choice["finish_reason"] is None:
            continue
        reasoning += "reasoning_content" in delta
        if delta and not opened:
            delta = {"role": "assistant", **delta}
            opened = True
        written = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield event({**base, "choices": [written]})
    yield b"data: [DONE]\n\n"


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: delta[key] for key in ("content", "reasoning_content") if delta.get(key)}
    if calls := delta.get("tool_calls"):
        kept["tool_calls"] = [{**call, "id": tool_call_id()} if "id" in call else call for call in calls]
    return kept


def event(body: dict[str, Any]) -> bytes:
    """Return one event of a stream."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def error_event(message: str) -> bytes:
    """Return a failure that comes after the headers have gone out."""
    return b"event: error\n" + event({"error": {"message": message}})
