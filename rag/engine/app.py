"""The engine's HTTP application: routes, the forms of errors, one log line per request."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.engine import legacy_routes, messages_routes, native_routes, openai_routes
from rag.engine.auth import Auth
from rag.engine.browsers import ClosedToBrowsers, OpenToBrowsers
from rag.engine.downloads import Downloads
from rag.engine.instances import Instances
from rag.engine.native_chat_routes import chat_router
from rag.engine.replies import Refusal, as_response, family_refusal
from rag.engine.responses_routes import responses_router
from rag.engine.simulate import Simulated, Simulation
from rag.engine.token_store import TokenStore
from rag.engine.upstream import ClientGone
from rag.web.limits import MOST_BODY_BYTES, LimitReached, Limits
from rag.web.names import is_loopback

log = logging.getLogger("rag.engine")

SWEEP_SECONDS = 0.25


@dataclass(slots=True)
class Activity:
    """When there was last a request, and how many are being answered."""

    running: int = 0
    last: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Front:
    """What stands between the network and the routes."""

    host: str = "127.0.0.1"
    """The address that is listened on."""
    tokens: TokenStore | None = None
    """Whose tokens are demanded; None: no token is looked at."""
    cors: bool = False
    most_body_bytes: int = MOST_BODY_BYTES
    simulation: Simulation | None = None

    def stages(self, activity: Activity) -> list[Middleware]:
        """Return the stages that a request passes, in this order."""
        guarded = self.tokens is None and is_loopback(self.host)
        stages = [Middleware(RequestLog, activity=activity), Middleware(ExpressHeaders)]
        if self.cors:
            stages.append(Middleware(OpenToBrowsers))
        else:
            stages.append(Middleware(ClosedToBrowsers, host=self.host, guarded=guarded))
        if self.tokens is not None:
            stages.append(Middleware(Auth, store=self.tokens))
        stages.append(Middleware(Limits, refuse=_limited, most_body_bytes=self.most_body_bytes))
        if self.simulation is not None:
            stages.append(Middleware(Simulated, simulation=self.simulation))
        return stages


def build_app(
    instances: Instances, downloads: Downloads, front: Front, idle_seconds: float, leave: Callable[[], None]
) -> FastAPI:
    """Assemble the application; it calls `leave` once after `idle_seconds` without requests and work (0: never)."""
    activity = Activity()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(instances.library.models)  # the first look reads every header
        sweeping = asyncio.create_task(_sweep(instances, downloads, activity, idle_seconds, leave))
        yield
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
        await asyncio.gather(instances.unload_all(), asyncio.to_thread(downloads.close))

    app = FastAPI(
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=front.stages(activity),
    )
    app.state.instances = instances
    app.state.downloads = downloads
    app.include_router(openai_routes.router)
    app.include_router(responses_router())
    app.include_router(messages_routes.router)
    app.include_router(native_routes.router)
    app.include_router(chat_router())
    app.include_router(legacy_routes.router)
    app.add_api_route("/lmstudio-greeting", greeting, methods=["GET"])
    app.add_exception_handler(HTTPException, _unexpected)
    app.add_exception_handler(LimitReached, _limit_reached)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ClientGone, _client_gone)
    app.add_exception_handler(Exception, _failed)
    return app


def greeting() -> dict[str, bool]:
    """Say that an LM Studio, or what speaks like one, lives here."""
    return {"lmstudio": True}


async def _unexpected(request: Request, _: Exception) -> Response:
    # LM Studio answers 200 to what it does not know; clients have to be tested against that.
    message = f"Unexpected endpoint or method. ({request.method} {request.url.path})"
    log.error("%s. Returning 200 anyway", message)
    return JSONResponse({"error": message})


def _limited(path: str, status: int, message: str) -> Response:
    return as_response(family_refusal(path, status, message))


async def _limit_reached(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, LimitReached)
    return _limited(request.url.path, exc.status_code, exc.detail)


async def _refused(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refusal)
    return as_response(exc)


async def _client_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


async def _failed(request: Request, exc: Exception) -> Response:
    return as_response(family_refusal(request.url.path, 500, f"Internal error. {type(exc).__name__}: {exc}"))


async def _sweep(
    instances: Instances, downloads: Downloads, activity: Activity, idle_seconds: float, leave: Callable[[], None]
) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await instances.sweep()
        except Exception:  # the sweep's boundary: one that fails must not be the last
            log.exception("the search for idle models failed")
        if not idle_seconds:
            continue
        if activity.running or instances.busy() or downloads.busy():
            activity.last = time.monotonic()
        elif time.monotonic() - activity.last >= idle_seconds:
            log.info("no request for %g s: leaving", idle_seconds)
            leave()
            return


class RequestLog:
    """Counts requests and logs each with its status and time, without touching the body: streams pass as they are."""

    def __init__(self, app: ASGIApp, activity: Activity) -> None:
        self._app = app
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._activity.running += 1
        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            status = 0
        finally:
            self._activity.running -= 1
            self._activity.last = time.monotonic()
            milliseconds = (self._activity.last - started) * 1000
            # As it was sent, percent signs and all: decoded, a path could bring line breaks into the log.
            path = scope["raw_path"].decode("latin-1")
            log.info("%s %s %s %.0f ms", scope["method"], path, status or "broken off", milliseconds)


class ExpressHeaders:
    """Adds the headers by which LM Studio's Express server shows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Powered-By"] = "Express"
                if headers.get("content-type") == "application/json":
                    headers["content-type"] = "application/json; charset=utf-8"
            await send(message)

        await self._app(scope, receive, marked)
