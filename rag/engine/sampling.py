"""How tokens are chosen: a request's fields, checked, with LM Studio's defaults for those that are left out."""

import math
from collections.abc import Mapping
from typing import Any

from rag.engine.faults import Fault

DEFAULTS: Mapping[str, float] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "repeat_penalty": 1.1,
}
_NUMBERS = (*DEFAULTS, "presence_penalty", "frequency_penalty")
_MOST_TOKENS = 2**31 - 1
_WHOLE_NUMBERS = ("top_k", "seed")


class InvalidRequest(Fault):
    """The request is not what the API takes; `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def sampling(body: Mapping[str, Any], *limits: str) -> dict[str, Any]:
    """Return a request's sampling fields for the worker. Raises InvalidRequest.

    `limits` name the fields that may limit the answer's tokens: the first that is there counts, a negative one is none.
    """
    chosen: dict[str, Any] = dict(DEFAULTS)
    for key in (*_NUMBERS, "seed"):
        if body.get(key) is not None:
            chosen[key] = _number(key, body[key])
    for key in limits:
        if body.get(key) is not None:
            most = int(_number(key, body[key]))
            if most >= 0:
                chosen["max_tokens"] = min(most, _MOST_TOKENS)
            break
    if stops := stop_sequences("stop", body.get("stop")):
        chosen["stop"] = stops
    if (bias := body.get("logit_bias")) is not None:
        if not isinstance(bias, dict):
            raise InvalidRequest("'logit_bias' field must be an object", "logit_bias")
        chosen["logit_bias"] = {key: _number("logit_bias", value) for key, value in bias.items()}
    return chosen


def stop_sequences(key: str, value: Any) -> list[str]:
    """Return the texts at which to stop; empty ones are left out, llama.cpp would stop at once."""
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise InvalidRequest(f"'{key}' field must be a string or an array of strings", key)
    return [stop for stop in stops if stop]


def _number(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidRequest(f"'{key}' field must be a number", key)
    return int(value) if key in _WHOLE_NUMBERS else value
