"""Bodies of /api/v1: strict objects. What is not known, missing or of the wrong kind is refused, and named."""

import math
from typing import Any

from fastapi import Request

from rag.engine.replies import Refusal, json_object, native_refusal


async def strict_body(request: Request, known: set[str] | frozenset[str]) -> dict[str, Any]:
    """Return the request's body, a JSON object with no other keys than `known`. Raises Refusal."""
    body = await json_object(request)
    if body is None:
        raise native_refusal(400, "invalid_request", "The request's body must be a JSON object.", "invalid_json")
    refuse_unknown(body, known)
    return body


def refuse_unknown(body: dict[str, Any], known: set[str] | frozenset[str], where: str = "") -> None:
    """Raise Refusal where the object has other keys than `known`."""
    if unknown := [key for key in body if key not in known]:
        names = ", ".join(f"'{key}'" for key in unknown)
        message = f"Unrecognized key(s) in object: {names}"
        raise native_refusal(400, "invalid_request", message, "unrecognized_keys", where or None)


def required_text(body: dict[str, Any], key: str, where: str = "") -> str:
    """Return a field that has to be there and a string. Raises Refusal."""
    if body.get(key) is None:
        message = f"Missing required field '{where}{key}'"
        raise native_refusal(400, "invalid_request", message, "missing_required_parameter", f"{where}{key}")
    value = optional_text(body, key, where)
    assert value is not None
    return value


def optional_text(body: dict[str, Any], key: str, where: str = "") -> str | None:
    """Return a field that, where it is there, is a string. Raises Refusal."""
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{where}{key}", "a string")
    return value


def optional_switch(body: dict[str, Any], key: str) -> bool | None:
    """Return a field that, where it is there, is true or false. Raises Refusal."""
    value = body.get(key)
    if key in body and not isinstance(value, bool):
        raise invalid(key, "true or false")
    return value


def optional_number(body: dict[str, Any], key: str, least: float = -math.inf, most: float = math.inf) -> float | None:
    """Return a field that, where it is there, is a number within bounds. Raises Refusal."""
    value = body.get(key)
    if key not in body:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number:
        raise invalid(key, "a number")
    assert isinstance(value, int | float)
    if not least <= value <= most:
        expected = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
        raise native_refusal(400, "invalid_request", f"'{key}' must be {expected}", "invalid_value", key)
    return value


def optional_count(body: dict[str, Any], key: str, least: int = 1) -> int | None:
    """Return a field that, where it is there, is a whole number of at least `least`. Raises Refusal."""
    value = optional_number(body, key, least)
    if value is None:
        return None
    if value != int(value):
        raise invalid(key, "a whole number")
    return int(value)


def invalid(key: str, expected: str) -> Refusal:
    """Return the refusal of a value of the wrong kind."""
    return native_refusal(400, "invalid_request", f"'{key}' must be {expected}", "invalid_type", key)
