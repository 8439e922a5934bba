"""The MCP server over HTTP, for this machine's own programs, or for whoever has the token."""

import socket

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from rag.mcp_server.server import KnowledgeServer
from rag.web.guard import OwnPagesOnly, TokenDemanded
from rag.web.limits import Limits
from rag.web.serving import serve_until_ended

_MOST_BODY_BYTES = 1 << 20
_INVALID_REQUEST = -32600


def guarded(app: ASGIApp, host: str, token: str | None) -> ASGIApp:
    """The application behind what keeps others out: the token, or without one the names of this machine."""
    bounded = Limits(app, _refuse, _MOST_BODY_BYTES)
    return TokenDemanded(bounded, token, _refuse) if token else OwnPagesOnly(bounded, host, _refuse)


def serve_http(server: KnowledgeServer, listener: socket.socket, host: str, token: str | None) -> None:
    """Serve until Ctrl-C, which is raised again, or a termination."""
    serve_until_ended(guarded(server.http_app(), host, token), listener, server.end)


def _refuse(_: str, status: int, message: str) -> Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": _INVALID_REQUEST, "message": message}}
    return JSONResponse(error, status_code=status)
