"""Who may use the service: this machine's own programs and its own page, or whoever has the token."""

import hmac
import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.service.problems import refuse
from rag.web.names import OwnNames, host_name

log = logging.getLogger("rag.service")

# What holds nothing of anybody's: the page asks for the token itself, and a supervisor has none.
_OPEN = ("/", "/health", "/docs", "/openapi.json")
_OPEN_BELOW = "/page/"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SafeHeaders:
    """Tells browsers to run, frame and guess nothing. A route that has set one of these headers keeps its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, marked if scope["type"] == "http" else send)


class TokenDemanded:
    """Lets through who brings the token, as `Authorization: Bearer …`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in _OPEN or scope["path"].startswith(_OPEN_BELOW):
            await self._app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._token):
            await self._app(scope, receive, send)
            return
        log.warning("refused with 401: %s", "another token" if given else "no token")
        message = "This service demands its token: send the header `Authorization: Bearer …`."
        response = refuse(scope["path"], 401, message)
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)


class OwnPagesOnly:
    """Refuses, where no token protects, what a page of another site sends through the browser of whoever sits here.

    A page can make its own name resolve to this machine: then the Host header has a name that is not ours. Any other
    request of a page to another site carries where it comes from, unless it follows a link, which may lead to our page.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = OwnNames(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        objection = self._objection(scope) if scope["type"] == "http" else None
        if objection is None:
            await self._app(scope, receive, send)
            return
        log.warning("refused with 403: %s", objection)
        await refuse(scope["path"], 403, objection)(scope, receive, send)

    def _objection(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._names.has(name := host_name(host)):
            return f"This service does not go by the name '{name}'. To reach it from elsewhere, start it with a token."
        origin = headers.get("origin")
        if origin is not None and origin.casefold() not in (f"http://{host}".casefold(), f"https://{host}".casefold()):
            return f"Pages of '{origin}' may not use this service."
        follows_link = scope["method"] == "GET" and (scope["path"] in _OPEN or scope["path"].startswith(_OPEN_BELOW))
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not follows_link:
            return "Pages of other sites may not use this service."
        return None
