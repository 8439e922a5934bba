"""Who may use a server of ours: this machine's own programs and its own pages, or whoever has the token."""

import hmac
import logging
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.web.limits import Refuse
from rag.web.names import OwnNames, host_name

log = logging.getLogger("rag.web")

IsOpen = Callable[[str], bool]  # whether what stands at a path holds nothing of anybody's


def _nothing(_: str) -> bool:
    return False


class TokenDemanded:
    """Lets through who brings the token, as `Authorization: Bearer …`."""

    def __init__(self, app: ASGIApp, token: str, refuse: Refuse, is_open: IsOpen = _nothing) -> None:
        self._app = app
        self._refuse = refuse
        self._is_open = is_open
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._token):
            await self._app(scope, receive, send)
            return
        log.warning("refused with 401: %s", "another token" if given else "no token")
        message = "This service demands its token: send the header `Authorization: Bearer …`."
        response = self._refuse(scope["path"], 401, message)
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)


class OwnPagesOnly:
    """Refuses, where no token protects, what a page of another site sends through the browser of whoever sits here.

    A page can make its own name resolve to this machine: then the Host header has a name that is not ours. Any other
    request of a page to another site carries where it comes from, unless it follows a link, which may lead to our page.
    """

    def __init__(self, app: ASGIApp, host: str, refuse: Refuse, is_open: IsOpen = _nothing) -> None:
        self._app = app
        self._refuse = refuse
        self._is_open = is_open
        self._names = OwnNames(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        objection = self._objection(scope) if scope["type"] == "http" else None
        if objection is None:
            await self._app(scope, receive, send)
            return
        log.warning("refused with 403: %s", objection)
        await self._refuse(scope["path"], 403, objection)(scope, receive, send)

    def _objection(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._names.has(name := host_name(host)):
            return f"This service does not go by the name '{name}'. To reach it from elsewhere, start it with a token."
        origin = headers.get("origin")
        if origin is not None and origin.casefold() not in (f"http://{host}".casefold(), f"https://{host}".casefold()):
            return f"Pages of '{origin}' may not use this service."
        follows_link = scope["method"] == "GET" and self._is_open(scope["path"])
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not follows_link:
            return "Pages of other sites may not use this service."
        return None
