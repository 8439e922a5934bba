"""What went wrong, as HTTP tells it: a status, and one form of body on every route, which is OpenAI's."""

import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import rag.errors as errors
from rag.web.sse import json_bytes

log = logging.getLogger("rag.service")

CLIENT_GONE = 499

# The nearest ancestor in the tree of errors counts.
_STATUS: dict[type[errors.RagError], int] = {
    errors.RagError: 500,
    errors.UsageProblem: 400,
    errors.SourceNotFound: 404,
    errors.MissingExtra: 501,
    errors.ServerError: 502,
    errors.ServerUnreachable: 503,
    errors.NotSupported: 501,
    errors.ModelNotFound: 404,
    errors.ModelLoadFailed: 503,
    errors.NotEnoughMemory: 507,
    errors.ContextOverflow: 400,
    errors.OutOfTime: 504,
    errors.KnowledgeBaseError: 500,
    errors.KnowledgeBaseMissing: 404,
    errors.KnowledgeBaseBusy: 409,
    errors.IdentityMismatch: 409,
    errors.DocumentNotFound: 404,
    errors.VersionNotFound: 404,
    errors.ParseError: 415,
    errors.EngineError: 503,
}


_CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    415: "unsupported_format",
}


class Problem(BaseModel):
    """What happened, to what, and what to do next."""

    message: str = Field(description="One sentence or two for a person.")
    type: str = Field(description="`invalid_request_error`, or `server_error` where asking again may help.")
    code: str = Field(description="For a program: `document_not_found`, `server_unreachable`, `too_many_questions` …")
    param: str | None = Field(None, description="The field of the request that cannot be, where one alone is at fault.")


class ProblemBody(BaseModel):
    """Every answer with a status of 400 or more."""

    error: Problem


class Refused(HTTPException):
    """What the service itself will not do now, or not at all; `code` is what a program knows it by."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.problem = problem(status, message, code)


class SafeJson(JSONResponse):
    """JSON that can always be sent, whatever a document holds."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json_bytes(content)


def status_of(exc: errors.RagError) -> int:
    """The HTTP status that tells an error."""
    return next(_STATUS[kind] for kind in type(exc).__mro__ if kind in _STATUS)


def problem_of(exc: errors.RagError | Refused) -> Problem:
    """An error as its body tells it."""
    if isinstance(exc, Refused):
        return exc.problem
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(exc).__name__).lower()
    return problem(status_of(exc), str(exc), code)


def problem(status: int, message: str, code: str = "", param: str | None = None) -> Problem:
    """A body for a status, which has a code of its own where none is given."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code = code or _CODES.get(status, "internal_error" if status >= 500 else "bad_request")
    return Problem(message=message, type=kind, code=code, param=param)


def refuse(path: str, status: int, message: str) -> Response:
    """A refusal before any route was reached, whatever the `path`."""
    return _response(status, problem(status, message))


def told(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these statuses."""
    return {status: {"model": ProblemBody, "description": HTTPStatus(status).phrase} for status in statuses}


ALWAYS = told(401, 403, 408, 413, 422)
KNOWLEDGE = told(400, 404, 409)
MODELS = told(400, 404, 501, 502, 503, 504, 507)


def install(app: FastAPI) -> None:
    """Have the application tell its errors so."""
    app.add_exception_handler(errors.RagError, _rag_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)


def _response(status: int, told: Problem, headers: Any = None) -> Response:
    return SafeJson({"error": told.model_dump()}, status_code=status, headers=headers)


async def _rag_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, errors.RagError)
    return _response(status_of(exc), problem_of(exc))


async def _invalid(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    found = [(".".join(map(str, one["loc"][1:])) or str(one["loc"][0]), one["msg"]) for one in exc.errors()[:5]]
    message = "; ".join(f"{name}: {what}" for name, what in found)
    return _response(422, problem(422, message, "invalid_value", found[0][0] if len(found) == 1 else None))


async def _http(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    found = exc.problem if isinstance(exc, Refused) else problem(exc.status_code, exc.detail)
    return _response(exc.status_code, found, exc.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _failed(request: Request, exc: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=exc)
    return _response(500, problem(500, "An error in the service, which its log tells of. Please report it."))
