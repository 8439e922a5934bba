"""A conversation that wants an answer, whichever API it came by, and the worker's task that it becomes."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rag.engine.sampling import InvalidRequest
from rag.engine.tools import Tool, call_schema, in_default_form

ToolChoice = Literal["none", "auto", "required"]
Reading = Literal["verbatim", "plain", "tool_requests", "one_call"]
"""How calls and thoughts stand in the text: not at all; taken out by llama.cpp; in the default form; it is one call."""

_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif);base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What to answer, and how. Messages, tools and the format are in the form of chat completions."""

    messages: Sequence[dict[str, Any]]
    sampling: dict[str, Any]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    response_format: dict[str, Any] | None = None
    template: dict[str, Any] = field(default_factory=dict)
    """Variables for the chat template."""
    top_logprobs: int | None = None
    """Report each token's log probability, and this many alternatives."""
    count_prompt: bool = False
    """Report the prompt's tokens before the answer."""
    tell_stop: bool = False
    """Report which stop sequence ended the answer."""


@dataclass(frozen=True, slots=True)
class Task:
    """A request to a worker, and how to read tool calls out of the text that comes back."""

    path: str
    body: dict[str, Any]
    reading: Reading
    count_prompt: bool = False


def chat_task(conversation: Conversation, knows_tools: bool) -> Task:
    """Return the worker's task; `knows_tools` is whether the model's template has a form for tools.

    `required` becomes a grammar in place of any other format, `none` keeps the tools from the model.
    """
    tools = () if conversation.tool_choice == "none" else conversation.tools
    forced = bool(tools) and conversation.tool_choice == "required"
    body: dict[str, Any] = {
        "messages": list(conversation.messages) if knows_tools else in_default_form(conversation.messages, tools),
        **conversation.sampling,
        "cache_prompt": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if tools and knows_tools:
        body["tools"] = [tool.shown() for tool in tools]
    if forced:
        form = {"name": "call", "strict": True, "schema": call_schema(tools)}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    elif conversation.response_format is not None:
        body["response_format"] = conversation.response_format
    if conversation.template:
        body["chat_template_kwargs"] = conversation.template
    if conversation.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": conversation.top_logprobs}
    if conversation.count_prompt:
        body["timings_per_token"] = True
    if conversation.tell_stop:
        body["verbose"] = True
    reading: Reading = "one_call" if forced else "tool_requests" if tools and not knows_tools else "plain"
    return Task("/v1/chat/completions", body, reading, conversation.count_prompt)


def chat_messages(messages: Any) -> list[dict[str, Any]]:
    """Return the messages of a chat completion request for the worker. Raises InvalidRequest."""
    if messages is None:
        raise InvalidRequest("'messages' field is required", "messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidRequest("'messages' field must be an array of messages", "messages")
    return [_message(message) for message in messages]


def _message(message: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(message.get("role"), str):
        raise InvalidRequest("Each message in 'messages' must have a 'role'", "messages")
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "image_url":
            image = part.get("image_url")
            check_image(image.get("url") if isinstance(image, dict) else image)
    kept: dict[str, Any] = {key: message[key] for key in ("role", "content", "tool_call_id", "name") if key in message}
    if calls := message.get("tool_calls"):
        kept["tool_calls"] = [_call(call) for call in calls] if isinstance(calls, list) else []
    if kept.get("role") == "developer":
        kept["role"] = "system"
    if content is None:
        kept["content"] = ""
    return kept


def _call(call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("A message's 'tool_calls' must be calls of functions.", "messages")
    arguments = function.get("arguments")
    return assistant_call(call.get("id"), function["name"], arguments if isinstance(arguments, str) else "{}")


def assistant_call(call_id: Any, name: str, arguments: str) -> dict[str, Any]:
    """Return one call of an assistant's message.

    Arguments that are not JSON, such as those of a call that was cut off, become a JSON string: llama.cpp parses them.
    """
    try:
        json.loads(arguments or "{}")
    except ValueError:
        arguments = json.dumps(arguments)
    return {"id": str(call_id or ""), "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}


def image_part(url: Any) -> dict[str, Any]:
    """Return an image for a message's content. Raises InvalidRequest."""
    check_image(url)
    return {"type": "image_url", "image_url": {"url": url}}


def check_image(url: Any) -> None:
    """Raise InvalidRequest for what is not a PNG, JPEG or GIF as a base64 data URL."""
    opening = _IMAGE.match(url) if isinstance(url, str) else None
    try:
        if opening is None or not base64.b64decode(url[opening.end() :], validate=True):
            raise ValueError
    except ValueError as exc:
        raise InvalidRequest("'url' field must be a base64 encoded image.", "messages") from exc
