"""The request of POST /api/v1/chat: read, checked, and put into llama.cpp's words."""

from dataclasses import dataclass
from typing import Any

from rag.engine.conversation import Conversation, ToolChoice, image_part
from rag.engine.integrations import Integration, read_integrations
from rag.engine.library import Model
from rag.engine.native_body import (
    invalid,
    optional_count,
    optional_number,
    optional_switch,
    optional_text,
    refuse_unknown,
    required_text,
)
from rag.engine.replies import Refusal, native_refusal
from rag.engine.sampling import DEFAULTS, InvalidRequest
from rag.engine.tools import Tool

KEYS = frozenset(
    "model input system_prompt integrations stream temperature top_p top_k min_p repeat_penalty max_output_tokens "
    "reasoning context_length store previous_response_id".split()
)
REASONING = ("off", "low", "medium", "high", "on")

Message = dict[str, Any]

_ITEM_KEYS = {"message": {"type", "content"}, "text": {"type", "content"}, "image": {"type", "data_url"}}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is wanted of the model."""

    model: str
    content: str | list[dict[str, Any]]
    """The user's message: text, or text and images in OpenAI's parts, as llama.cpp takes them."""
    system_prompt: str | None
    sampling: dict[str, float]
    max_output_tokens: int | None
    reasoning: str | None
    context_length: int | None
    integrations: tuple[Integration, ...]
    previous_response_id: str | None
    store: bool
    stream: bool


def read_request(body: dict[str, Any]) -> ChatRequest:
    """Return the checked request. Raises Refusal that names what is wrong with which field."""
    refuse_unknown(body, KEYS)
    model = required_text(body, "model")
    if body.get("input") is None:
        message = "Missing required field 'input'"
        raise native_refusal(400, "invalid_request", message, "missing_required_parameter", "input")
    given = {key: optional_number(body, key, 0, 1) for key in ("temperature", "top_p", "min_p")}
    given["top_k"] = optional_count(body, "top_k", 0)
    given["repeat_penalty"] = optional_number(body, "repeat_penalty", 0)
    reasoning = optional_text(body, "reasoning")
    if reasoning is not None and reasoning not in REASONING:
        expected = ", ".join(f"'{setting}'" for setting in REASONING)
        message = f"Invalid reasoning setting '{reasoning}'. Expected one of: {expected}."
        raise native_refusal(400, "invalid_request", message, "invalid_value", "reasoning")
    previous = optional_text(body, "previous_response_id")
    if previous is not None and not previous.startswith("resp_"):
        message = "'previous_response_id' must start with 'resp_'"
        raise native_refusal(400, "invalid_request", message, "invalid_value", "previous_response_id")
    store = optional_switch(body, "store")
    return ChatRequest(
        model=model,
        content=_content(body["input"]),
        system_prompt=optional_text(body, "system_prompt"),
        sampling=dict(DEFAULTS) | {key: value for key, value in given.items() if value is not None},
        max_output_tokens=optional_count(body, "max_output_tokens"),
        reasoning=reasoning,
        context_length=optional_count(body, "context_length"),
        integrations=read_integrations(body.get("integrations")),
        previous_response_id=previous,
        store=store is not False,
        stream=bool(optional_switch(body, "stream")),
    )


def _content(given: Any) -> str | list[dict[str, Any]]:
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        message = "'input' must be a string or an array of message and image items"
        raise native_refusal(400, "invalid_request", message, "invalid_union", "input")
    parts = [_part(item, f"input[{place}].") for place, item in enumerate(given)]
    if all(part["type"] == "text" for part in parts):
        # Plain text where it can be: not every model's template knows parts.
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _part(item: dict[str, Any], where: str) -> dict[str, Any]:
    kind = item.get("type")
    if kind not in _ITEM_KEYS:
        message = f"'{where}type' must be 'message' or 'image'"
        raise native_refusal(400, "invalid_request", message, "invalid_union", "input")
    refuse_unknown(item, _ITEM_KEYS[kind], "input")
    if kind != "image":
        return {"type": "text", "text": required_text(item, "content", where)}
    url = required_text(item, "data_url", where)
    try:
        return image_part(url)
    except InvalidRequest as exc:
        raise invalid(f"{where}data_url", "a base64 encoded PNG, JPEG or GIF image (data:image/png;base64,…)") from exc


def check_reasoning(request: ChatRequest, model: Model) -> None:
    """Raise Refusal where the model does not know the setting that is asked for."""
    if request.reasoning is not None and request.reasoning not in model.reasoning:
        settings = ", ".join(f"'{setting}'" for setting in REASONING if setting in model.reasoning) or "none"
        message = (
            f"Reasoning setting '{request.reasoning}' is not supported by model '{model.key}'. "
            f"Supported settings: {settings}."
        )
        raise native_refusal(400, "invalid_request", message, "invalid_value", "reasoning")


def conversation(
    request: ChatRequest, messages: list[Message], tools: tuple[Tool, ...], tool_choice: ToolChoice
) -> Conversation:
    """Return what is to be answered next."""
    sampling: dict[str, Any] = dict(request.sampling)
    if request.max_output_tokens is not None:
        sampling["max_tokens"] = request.max_output_tokens
    template: dict[str, Any] = {}
    if request.reasoning in ("on", "off"):
        template["enable_thinking"] = request.reasoning == "on"
    elif request.reasoning is not None:
        template["reasoning_effort"] = request.reasoning
    return Conversation(messages, sampling, tools, tool_choice, template=template)


def unknown_response(response_id: str) -> Refusal:
    """Return the refusal of a conversation that is not, or no longer, remembered."""
    message = (
        f"No stored response '{response_id}'. It was made with \"store\": false, was dropped for newer ones, "
        "or the server has been restarted since. Send the conversation again."
    )
    return native_refusal(400, "invalid_request", message, "previous_response_not_found", "previous_response_id")
