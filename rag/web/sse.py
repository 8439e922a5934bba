"""Server-sent events, and JSON that can always be sent."""

import json
from typing import Any

DONE = b"data: [DONE]\n\n"


def json_bytes(body: Any) -> bytes:
    """Return JSON as UTF-8. Half a surrogate pair, which JSON can escape and UTF-8 cannot hold, becomes `?`."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def event(body: dict[str, Any], name: str | None = None) -> bytes:
    """Return one event of a stream, with its name where the API family names events."""
    named = b"" if name is None else f"event: {name}\n".encode()
    return named + b"data: " + json_bytes(body) + b"\n\n"


def error_event(message: str) -> bytes:
    """Return a failure that comes after the headers have gone out."""
    return event({"error": {"message": message}}, "error")
