"""One short answer of a chat model in a form that JSON Schema describes, within a time."""

import time
from collections.abc import Mapping
from typing import Any

import rag.errors as errors
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.schemas import in_form, response_format

_ROOM = 1024  # tokens: the form ends an answer long before, unless a model thinks first


def formed(model: ChatModel, prompt: str, schema: Mapping[str, Any], until: float) -> Any:
    """The model's answer as parsed JSON; the same prompt has the same answer, as far as the server can do that.

    `until` is a time of `time.monotonic`. A model that is not loaded is loaded first. Raises BadReply where the answer
    is not JSON, OutOfTime where it is not there in time, or another ServerError. That it fits the schema is the
    caller's to check: not every server holds a model to it.
    """
    model.reserve(model.scale.price(prompt) + model.scale.frame + _ROOM)
    text, reasoning, finish = "", "", None
    left = until - time.monotonic()
    if left <= 0:
        raise errors.OutOfTime("There was no time left to ask.")
    messages = [{"role": "user", "content": prompt}]
    asked = response_format(schema)
    deltas = model.stream(messages, max_tokens=_ROOM, temperature=0, response_format=asked, timeout_s=left)
    for delta in deltas:
        text = delta.text if delta.again else text + delta.text
        reasoning += delta.reasoning
        finish = delta.finish_reason
        if finish is None and time.monotonic() > until:
            raise errors.OutOfTime(f"{model.model.key} was still writing when its {left:.0f} seconds were over.")
    if finish == "length":
        raise errors.BadReply(f"{model.model.key} was cut at {_ROOM} tokens, before its answer was complete.")
    return in_form(text if text.strip() else reasoning, schema)  # thinking models may put it there
