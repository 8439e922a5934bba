"""The forms of an error in LM Studio's API families, and JSON bodies in and out."""

import json
import logging
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from rag.engine.faults import Fault, LoadFailed, NothingLoaded, UnknownModel, WorkerRefused

log = logging.getLogger("rag.engine")

CONTEXT_OVERFLOW = (
    "The number of tokens to keep from the initial prompt is greater than the context length. "
    "Try to load the model with a larger context length, or provide a shorter input"
)


class Refusal(Exception):
    """An answer with an error status and a body in the form of the route's family."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


def text_refusal(message: str, status: int = 400) -> Refusal:
    """Return form A: {"error": "text"}."""
    return Refusal(status, {"error": message})


def openai_refusal(message: str, code: str | None, status: int = 400) -> Refusal:
    """Return form B, OpenAI's error object."""
    error = {"message": message, "type": "invalid_request_error", "param": "model", "code": code}
    return Refusal(status, {"error": error})


def native_refusal(status: int, kind: str, message: str, code: str | None = None, param: str | None = None) -> Refusal:
    """Return form C, of /api/v1."""
    error = {"type": kind, "message": message, "code": code, "param": param}
    return Refusal(status, {"error": {key: value for key, value in error.items() if value is not None}})


def family_refusal(path: str, status: int, message: str) -> Refusal:
    """Return a refusal in the form of the family that a path belongs to, for what no route has decided."""
    if path.startswith("/v1/messages"):
        usual = "api_error" if status >= 500 else "invalid_request_error"
        kind = {408: "timeout_error", 413: "request_too_large"}.get(status, usual)
        return Refusal(status, {"type": "error", "error": {"type": kind, "message": message}})
    if path.startswith("/api/v1/"):
        return native_refusal(status, "internal_error" if status >= 500 else "invalid_request", message)
    return text_refusal(message, status)


def openai_fault(fault: Fault, *, embeddings: bool = False) -> Refusal:
    """Return how /v1 tells a fault. Embeddings say in plain text that nothing is loaded, chat in an object."""
    if isinstance(fault, NothingLoaded):
        return text_refusal(str(fault)) if embeddings else openai_refusal(str(fault), None)
    if isinstance(fault, UnknownModel | LoadFailed):
        return openai_refusal(str(fault), "model_not_found")
    if isinstance(fault, WorkerRefused):
        return text_refusal(CONTEXT_OVERFLOW if fault.overflow else str(fault), 400 if fault.status < 500 else 500)
    return text_refusal(str(fault))


def native_fault(fault: Fault) -> Refusal:
    """Return how /api/v1 tells a fault."""
    if isinstance(fault, UnknownModel | NothingLoaded):
        return native_refusal(404, "model_not_found", str(fault))
    if isinstance(fault, LoadFailed):
        return native_refusal(500, "model_load_failed", str(fault))
    return native_refusal(500, "internal_error", str(fault), "unknown")


async def json_object(request: Request) -> dict[str, Any] | None:
    """Return the body where it is a JSON object, else None.

    Half a surrogate pair is JSON, but no text: it becomes a question mark, as nothing that follows could write it.
    """
    raw = await request.body()
    try:
        body = json.loads(raw, parse_constant=_no_json)
        if b"\\ud" in raw or b"\\uD" in raw:
            body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        log.error("received request for %s with invalid JSON", request.url.path)
        return None
    return body if isinstance(body, dict) else None


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def as_response(refusal: Refusal) -> JSONResponse:
    """Return the refusal as an HTTP answer, and log it."""
    log.warning("refused with %d: %s", refusal.status, json.dumps(refusal.body, ensure_ascii=False)[:500])
    return JSONResponse(refusal.body, status_code=refusal.status)
