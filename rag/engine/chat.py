"""Chat completions in LM Studio's form: the request as a conversation, the answer whole and as a stream."""

import time
from collections.abc import AsyncIterator
from typing import Any

from rag.engine.conversation import Conversation, ToolChoice, chat_messages
from rag.engine.events import Answer, CallArguments, CallBegins, End, Event, PromptRead, Reasoning, Text, Usage
from rag.engine.ids import new_id
from rag.engine.sampling import InvalidRequest, sampling
from rag.engine.tools import chat_tools
from rag.web.sse import DONE, event

_TOOL_CHOICES: dict[str, ToolChoice] = {"none": "none", "auto": "auto", "required": "required"}


def conversation(body: dict[str, Any]) -> Conversation:
    """Return what is asked. Raises InvalidRequest where LM Studio refuses; keys that it ignores are left out."""
    return Conversation(
        messages=chat_messages(body.get("messages")),
        sampling=sampling(body, "max_tokens", "max_completion_tokens"),
        tools=chat_tools(body.get("tools")),
        tool_choice=tool_choice(body.get("tool_choice")),
        response_format=_response_format(body.get("response_format")),
    )


def tool_choice(choice: Any) -> ToolChoice:
    """Return the choice, `auto` where there is none. Raises InvalidRequest for OpenAI's object form."""
    if choice is None:
        return "auto"
    if not isinstance(choice, str) or choice not in _TOOL_CHOICES:
        kind = choice if isinstance(choice, str) else "object"
        message = f"Invalid tool_choice type: '{kind}'. Supported string values: none, auto, required"
        raise InvalidRequest(message, "tool_choice")
    return _TOOL_CHOICES[choice]


def _response_format(form: Any) -> dict[str, Any] | None:
    if form is None:
        return None
    wanted = form.get("type") if isinstance(form, dict) else None
    if wanted not in ("json_schema", "text"):
        raise InvalidRequest("'response_format.type' must be 'json_schema' or 'text'", "response_format")
    if wanted == "text":
        return None
    schema = form["json_schema"].get("schema") if isinstance(form.get("json_schema"), dict) else None
    if not isinstance(schema, dict):
        raise InvalidRequest("'response_format.json_schema.schema' field must be an object", "response_format")
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def completion(answer: Answer, instance_id: str) -> dict[str, Any]:
    """Return a whole answer."""
    return {
        "id": completion_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": instance_id,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": answer.content,
                    "reasoning_content": answer.reasoning,
                    "tool_calls": [
                        {
                            "id": call.id,
                            "type": "function",
                            "function": {"name": call.name, "arguments": call.arguments or "{}"},
                        }
                        for call in answer.calls
                    ],
                },
                "logprobs": None,
                "finish_reason": answer.end.finish_reason,
            }
        ],
        "usage": usage(answer.end.usage),
        "stats": {},
        "system_fingerprint": instance_id,
    }


def completion_id() -> str:
    """Return a new id in LM Studio's form."""
    return new_id("chatcmpl-", 21)


def usage(counted: Usage) -> dict[str, Any]:
    """Return token counts in LM Studio's form."""
    return {
        "prompt_tokens": counted.prompt,
        "completion_tokens": counted.completion,
        "total_tokens": counted.prompt + counted.completion,
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning},
    }


async def stream(events: AsyncIterator[Event], instance_id: str, include_usage: bool) -> AsyncIterator[bytes]:
    """Return an answer as chunks: the first carries the role and something of the answer, or is the end."""
    chunk = {
        "id": completion_id(),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": instance_id,
        "system_fingerprint": instance_id,
    }
    role: dict[str, Any] = {"role": "assistant"}
    async for told in events:
        if isinstance(told, End):
            yield event({**chunk, "choices": [_choice({}, told.finish_reason)]})
            if include_usage:
                yield event({**chunk, "choices": [], "usage": usage(told.usage)})
        elif delta := _delta(told):
            yield event({**chunk, "choices": [_choice({**role, **delta}, None)]})
            role = {}
    yield DONE


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _delta(told: Event) -> dict[str, Any] | None:
    match told:
        case Text():
            return {"content": told.text}
        case Reasoning():
            return {"reasoning_content": told.text}
        case CallBegins():
            function = {"name": told.name, "arguments": ""}
            return {"tool_calls": [{"index": told.index, "id": told.id, "type": "function", "function": function}]}
        case CallArguments():
            return {"tool_calls": [{"index": told.index, "function": {"arguments": told.text}}]}
        case PromptRead() | End():
            return None
