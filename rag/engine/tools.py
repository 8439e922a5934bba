"""Tools that a model may call: told in its own form where its template knows one, else in LM Studio's default form."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rag.engine.sampling import InvalidRequest

REQUEST, END_REQUEST = "[TOOL_REQUEST]", "[END_TOOL_REQUEST]"
_RESULT, _END_RESULT = "[TOOL_RESULT]", "[END_TOOL_RESULT]"
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client offers."""

    name: str
    description: str | None
    parameters: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        """Return it in the form of chat completions, which templates expect."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        kept = {key: value for key, value in function.items() if value is not None}
        return {"type": "function", "function": kept}


def tool(name: Any, description: Any, parameters: Any) -> Tool:
    """Return a tool out of a request's fields. Raises InvalidRequest."""
    if not isinstance(name, str) or not name:
        raise InvalidRequest("A tool needs a 'name'.", "tools")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(f"The parameters of tool '{name}' must be a JSON schema.", "tools")
    return Tool(name, description if isinstance(description, str) else None, parameters or _NO_PARAMETERS)


def chat_tools(tools: Any) -> tuple[Tool, ...]:
    """Return the tools of a chat completion request. Raises InvalidRequest."""
    if tools is None:
        return ()
    if not isinstance(tools, list) or not all(
        isinstance(one, dict) and isinstance(one.get("function"), dict) for one in tools
    ):
        raise InvalidRequest("'tools' field must be an array of functions", "tools")
    functions = [one["function"] for one in tools]
    return tuple(tool(one.get("name"), one.get("description"), one.get("parameters")) for one in functions)


def call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """Return the JSON schema of one call of one of the tools.

    llama.cpp's own `tool_choice: required` binds nothing where it does not recognise the template's form of a call.
    """
    return {
        "$defs": {f"tool{i}": _moved(one.parameters, f"#/$defs/tool{i}") for i, one in enumerate(tools)},
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": one.name}, "arguments": {"$ref": f"#/$defs/tool{i}"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for i, one in enumerate(tools)
        ],
    }


def _moved(schema: Any, place: str) -> Any:
    """Return a schema whose references to its own root point to where the schema stands now."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for key, value in schema.items()
    }


def in_default_form(messages: Sequence[dict[str, Any]], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return the conversation for a template that knows nothing of tools: they, calls and results become text."""
    told = [_as_text(message) for message in messages]
    if not tools:
        return told
    listed = "\n".join(json.dumps(one.shown()["function"], ensure_ascii=False) for one in tools)
    example = f'{REQUEST}{{"name": "tool_name", "arguments": {{"parameter": "value"}}}}{END_REQUEST}'
    prompt = f"You can call tools. To call one, write exactly:\n{example}\nThese are the tools:\n{listed}"
    if told and told[0].get("role") == "system" and isinstance(told[0].get("content"), str):
        return [{**told[0], "content": f"{told[0]['content']}\n\n{prompt}"}, *told[1:]]
    return [{"role": "system", "content": prompt}, *told]


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("role") == "tool":
        return {"role": "user", "content": f"{_RESULT}{plain_text(message.get('content'))}{_END_RESULT}"}
    if not (calls := message.get("tool_calls")):
        return message
    written = "".join(
        f'{REQUEST}{{"name": {json.dumps(call["function"]["name"])}, '
        f'"arguments": {call["function"]["arguments"] or "{}"}}}{END_REQUEST}'
        for call in calls
    )
    return {"role": message["role"], "content": plain_text(message.get("content")) + written}


def plain_text(content: Any) -> str:
    """Return a message's content as one text: what is not text in it is left out."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
