"""Whether a request brings a token that this engine knows, told as LM Studio tells it."""

import logging

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.engine.replies import Refusal, native_refusal
from rag.engine.token_store import Token, TokenStore, well_formed
from rag.errors import EngineError

log = logging.getLogger("rag.engine")

OPEN_PATHS = frozenset({"/lmstudio-greeting"})  # LM Studio's own tools ask for it before they have a token

MISSING = (
    "An LM Studio API token is required to make requests to this server, but none was provided using the "
    "Authorization header using the 'Bearer' scheme (i.e., 'Authorization: Bearer $LM_API_TOKEN'). "
    "Learn more at: https://lmstudio.ai/docs/developer/core/authentication."
)
_SHOWN = 10
_LONGEST = 64


def demand(request: Request, permission: str, plugin: str) -> None:
    """Raise Refusal, LM Studio's 403, where the request's token may not use the plugin.

    An engine that wants no tokens has no permissions to look at either.
    """
    token: Token | None = request.scope.get("state", {}).get("token")
    if token is not None and permission not in token.permissions:
        message = (
            f"Permission denied to use plugin '{plugin}'. Ensure that the server configuration allows plugin usage "
            "and, if using an API token, it has the necessary permissions."
        )
        error = {"message": message, "type": "invalid_request", "param": "integrations", "code": None}
        raise Refusal(403, {"error": error})


class Auth:
    """Lets requests through that bring a known token, and answers 401 to all others. Writes no token to the log."""

    def __init__(self, app: ASGIApp, store: TokenStore) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        given = _given(scope)
        token = self._find(given) if given is not None else None
        if token is None:
            what, message = _complaint(given)
            log.warning("refused with 401: %s", what)
            refusal = native_refusal(401, "invalid_request", message, "invalid_api_key")
            await JSONResponse(refusal.body, status_code=401)(scope, receive, send)
            return
        scope.setdefault("state", {})["token"] = token
        await self._app(scope, receive, send)

    def _find(self, given: str) -> Token | None:
        try:
            return self._store.find(given)
        except EngineError as exc:
            log.error("%s", exc)
            return None


def _given(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.casefold() == "bearer" and value.strip():
        return value.strip()
    if scope["path"].startswith("/v1/messages"):
        return headers.get("x-api-key", "").strip() or None
    return None


def _complaint(given: str | None) -> tuple[str, str]:
    if given is None:
        return "no token", MISSING
    shown = given[:_SHOWN] + "*" * (len(given[:_LONGEST]) - _SHOWN)
    if well_formed(given):
        return "unknown token", f"Invalid LM Studio API token provided: {shown}. Ensure you are using a valid token."
    return "malformed token", f"Malformed LM Studio API token provided: {shown}. Ensure you are using a valid token."
