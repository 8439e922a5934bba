"""What a page in a browser may do with the engine: everything with CORS on, nothing across origins without it."""

import logging
from urllib.parse import urlsplit

from fastapi import Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.web.names import OwnNames, host_name

log = logging.getLogger("rag.engine")

_ANY = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
_PREFLIGHT = {**_ANY, "Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE"}


class OpenToBrowsers:
    """CORS on: every answer may be read by every page, and each pre-flight question is answered with yes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_ANY)
            await send(message)

        await self._app(scope, receive, marked)


class ClosedToBrowsers:
    """CORS off: pre-flight questions get LM Studio's answers, and a loopback engine refuses foreign pages.

    A page can get round the browser's rules in two ways. Its own name can be made to resolve to 127.0.0.1 (DNS
    rebinding): then the Host header has that name, which is not one of ours. Or it can send, without asking first, a
    request whose answer it may not read: then the browser says that the request crosses sites, and it is not of the
    type application/json, for which the browser would have asked.
    """

    def __init__(self, app: ASGIApp, host: str, guarded: bool) -> None:
        self._app = app
        self._names = OwnNames(host)
        self._guarded = guarded
        """Whether to refuse at all: bound to loopback, and no token that would prove more than a name does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._objection(scope) if self._guarded else None
        if refused is not None:
            log.warning("refused with 403: %s", refused)
            await JSONResponse({"error": refused}, status_code=403)(scope, receive, send)
        elif scope["method"] == "OPTIONS" and scope["path"] == "/v1/chat/completions":
            # LM Studio hands the pre-flight question to the route, which misses the body (lmstudio-bug-tracker#443).
            await JSONResponse({"error": "'messages' field is required"}, status_code=400)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        if not self._names.has(name := host_name(headers.get("host", ""))):
            return (
                f"This server does not go by the name '{name}'. It listens on this machine alone; to reach it "
                "through another name start it with --auth, or with --host and the address to listen on."
            )
        origin = headers.get("origin", "null")
        blind = scope["method"] == "POST" and not headers.get("content-type", "").startswith("application/json")
        if blind and headers.get("sec-fetch-site") == "cross-site" and not self._is_our_page(origin):
            return f"Pages of '{origin}' may not use this server. Start it with --cors to let all pages use it."
        return None

    def _is_our_page(self, origin: str) -> bool:
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        return page.scheme in ("http", "https") and self._names.has((page.hostname or "").casefold())
