"""/v1/messages, Anthropic's form: a request as a conversation."""

import json
from typing import Any

from rag.engine.conversation import Conversation, ToolChoice, assistant_call, image_part
from rag.engine.sampling import InvalidRequest, sampling, stop_sequences
from rag.engine.tools import Tool, tool

_TOOL_CHOICES: dict[str, ToolChoice] = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}


def conversation(body: dict[str, Any]) -> Conversation:
    """Return what is asked. Raises InvalidRequest."""
    told = body.get("messages")
    if not isinstance(told, list) or not told or not all(isinstance(message, dict) for message in told):
        raise InvalidRequest("messages: Field required", "messages")
    system = body.get("system")
    opening = [] if system is None else [{"role": "system", "content": _system(system)}]
    if (most := body.get("max_tokens")) is not None and (not isinstance(most, int) or most < 1):
        raise InvalidRequest("max_tokens: must be at least 1", "max_tokens")
    chosen = sampling({key: value for key, value in body.items() if key != "stop"}, "max_tokens")
    stops = stop_sequences("stop_sequences", body.get("stop_sequences"))
    if stops:
        chosen["stop"] = stops
    tools, choice = _tools(body.get("tools"), body.get("tool_choice"))
    return Conversation(
        messages=[*opening, *(one for message in told for one in _messages(message))],
        sampling=chosen,
        tools=tools,
        tool_choice=choice,
        template=_template(body.get("thinking")),
        count_prompt=True,
        tell_stop=bool(stops),
    )


def _template(thinking: Any) -> dict[str, Any]:
    if not isinstance(thinking, dict):
        return {}
    return {"enable_thinking": thinking.get("type") != "disabled"}


def _tools(tools: Any, choice: Any) -> tuple[tuple[Tool, ...], ToolChoice]:
    if tools is None:
        return (), "auto"
    if not isinstance(tools, list) or not all(isinstance(one, dict) for one in tools):
        raise InvalidRequest("tools: Input should be a valid list", "tools")
    if foreign := next((one for one in tools if "input_schema" not in one), None):
        raise InvalidRequest(f"tools: only tools with an input_schema, not '{foreign.get('type')}'", "tools")
    offered = tuple(tool(one.get("name"), one.get("description"), one["input_schema"]) for one in tools)
    if choice is None:
        return offered, "auto"
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in _TOOL_CHOICES:
        raise InvalidRequest("tool_choice: must have a type of auto, any, tool or none", "tool_choice")
    if kind == "tool":
        offered = tuple(one for one in offered if one.name == choice.get("name"))
        if not offered:
            raise InvalidRequest(f"tool_choice: there is no tool '{choice.get('name')}'", "tool_choice")
    return offered, _TOOL_CHOICES[kind]


def _system(system: Any) -> str:
    if isinstance(system, str):
        return system
    if not isinstance(system, list):
        raise InvalidRequest("system: Input should be a string or a list of text blocks", "system")
    return "\n\n".join(_text(block) for block in system)


def _text(block: Any) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case _:
            raise InvalidRequest("Only text blocks are allowed here.", "messages")


def _messages(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a message for the worker. Results of tools are messages of their own, and come first."""
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        raise InvalidRequest("messages: role must be 'user' or 'assistant'", "messages")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list):
        raise InvalidRequest("messages: content must be a string or a list of blocks", "messages")
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for block in content:
        match block:
            case {"type": "text", "text": str(text)}:
                parts.append({"type": "text", "text": text})
            case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
                parts.append(image_part(f"data:{kind};base64,{data}"))
            case {"type": "image", "source": {"type": "url", "url": url}}:
                parts.append(image_part(url))
            case {"type": "tool_use", "id": call_id, "name": str(name)}:
                calls.append(assistant_call(call_id, name, json.dumps(block.get("input") or {}, ensure_ascii=False)))
            case {"type": "tool_result", "tool_use_id": call_id}:
                results.append({"role": "tool", "tool_call_id": call_id, "content": _result(block.get("content"))})
            case {"type": "thinking" | "redacted_thinking"}:
                pass  # no model gets to see what it thought before an earlier answer
            case _:
                kind = block.get("type") if isinstance(block, dict) else None
                raise InvalidRequest(f"messages: content blocks of type '{kind}' are not supported", "messages")
    told: dict[str, Any] = {"role": role, "content": _joined(parts)}
    if calls:
        told["tool_calls"] = calls
    return [*results, told] if parts or calls or not results else results


def _joined(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _result(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequest("messages: a tool result is a string or a list of blocks", "messages")
    return "\n".join(_text(block) for block in content)
