"""/v1/responses: a request as a conversation, and its answer as part of the next one."""

from collections.abc import Sequence
from typing import Any

from rag.engine.chat import tool_choice
from rag.engine.conversation import Conversation, assistant_call, image_part
from rag.engine.events import Answer
from rag.engine.sampling import InvalidRequest, sampling
from rag.engine.tools import Tool, tool

INVALID_INPUT = "Invalid type for 'input'."
LOGPROBS = "message.output_text.logprobs"
MOST_TOP_LOGPROBS = 20


def conversation(body: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> Conversation:
    """Return what is asked, after what was said `earlier`. Raises InvalidRequest.

    Instructions hold for this answer alone: they are not among `earlier`. A JSON schema in `text.format` is not
    enforced, as in LM Studio.
    """
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise InvalidRequest("Invalid type for 'instructions'.", "instructions")
    opening = [{"role": "system", "content": instructions}] if instructions else []
    top = body.get("top_logprobs") or 0
    if not isinstance(top, int) or not 0 <= top <= MOST_TOP_LOGPROBS:
        raise InvalidRequest(f"'top_logprobs' must be between 0 and {MOST_TOP_LOGPROBS}.", "top_logprobs")
    include = body.get("include")
    return Conversation(
        messages=[*opening, *earlier, *messages(body.get("input"))],
        sampling=sampling(body, "max_output_tokens"),
        tools=_tools(body.get("tools")),
        tool_choice=tool_choice(body.get("tool_choice")),
        template=_template(body.get("reasoning")),
        top_logprobs=top if isinstance(include, list) and LOGPROBS in include else None,
    )


def _template(reasoning: Any) -> dict[str, Any]:
    if reasoning is None:
        return {}
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else False
    if effort is None:
        return {}
    if not isinstance(effort, str):
        raise InvalidRequest("Invalid type for 'reasoning'.", "reasoning")
    # Templates know one or the other, or neither.
    return {"enable_thinking": effort != "none", "reasoning_effort": effort}


def _tools(tools: Any) -> tuple[Tool, ...]:
    if tools is None:
        return ()
    if not isinstance(tools, list) or not all(isinstance(one, dict) for one in tools):
        raise InvalidRequest("Invalid type for 'tools'.", "tools")
    for one in tools:
        if one.get("type") != "function":
            raise InvalidRequest(f"Tools of type '{one.get('type')}' are not supported here: only functions.", "tools")
    return tuple(tool(one.get("name"), one.get("description"), one.get("parameters")) for one in tools)


def messages(given: Any) -> list[dict[str, Any]]:
    """Return the messages of `input`, which is a text or a list of items. Raises InvalidRequest."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise InvalidRequest(INVALID_INPUT, "input")
    told: list[dict[str, Any]] = []
    for item in given:
        _add(told, item)
    return told


def _add(told: list[dict[str, Any]], item: dict[str, Any]) -> None:
    kind = item.get("type", "message")
    if kind == "message" and isinstance(item.get("role"), str):
        role = "system" if item["role"] == "developer" else item["role"]
        told.append({"role": role, "content": _content(item.get("content"))})
    elif kind == "function_call" and isinstance(item.get("name"), str):
        call = assistant_call(item.get("call_id"), item["name"], str(item.get("arguments") or ""))
        if told and told[-1]["role"] == "assistant":
            told[-1] = {**told[-1], "tool_calls": [*told[-1].get("tool_calls", ()), call]}
        else:
            told.append({"role": "assistant", "content": "", "tool_calls": [call]})
    elif kind == "function_call_output" and "output" in item:
        told.append({"role": "tool", "tool_call_id": str(item.get("call_id")), "content": _content(item["output"])})
    elif kind != "reasoning":  # no model gets to see what it thought before an earlier answer
        raise InvalidRequest("Invalid Responses API request", "input")


def _content(content: Any) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(INVALID_INPUT, "input")
    parts = [_part(part) for part in content]
    # Some templates take no lists: where all is text, one text is enough.
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Any) -> dict[str, Any]:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_image"}:
            return image_part(part.get("image_url"))
        case _:
            raise InvalidRequest(INVALID_INPUT, "input")


def as_message(answer: Answer) -> dict[str, Any]:
    """Return an answer as a message of the conversation that goes on from it."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.calls:
        message["tool_calls"] = [assistant_call(call.id, call.name, call.arguments) for call in answer.calls]
    return message
