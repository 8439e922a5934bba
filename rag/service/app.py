"""The application: routes, what stands before them, and what is open to everybody."""

import importlib.metadata
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import Depends, FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

import rag.errors as errors
from rag.lmstudio.http import Connection
from rag.lmstudio.models import server_kind
from rag.service import conversation_routes, document_routes, kb_routes, lmstudio_routes, openai_routes, problems
from rag.service.api_page import api_page
from rag.service.desk import Desk, TheDesk
from rag.service.guard import SafeHeaders, is_open
from rag.service.metrics import CONTENT_TYPE, Measured
from rag.service.options import ServiceOptions
from rag.settings import Settings
from rag.web.guard import OwnPagesOnly, TokenDemanded
from rag.web.limits import Limits

PAGE = Path(__file__).parent / "page"
mimetypes.add_type("text/javascript", ".js")  # which Windows may say is plain text, and no browser would run that


class HealthForm(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyForm(BaseModel):
    """Whether a question could be answered now; each part is `ok` or says what is the matter."""

    ready: bool
    knowledge_base: str
    model_server: str


class _Bounded:
    """Bounds what a client may send: little, but for uploads."""

    def __init__(self, app: ASGIApp, options: ServiceOptions) -> None:
        self._usual = Limits(app, problems.refuse, options.most_body_bytes)
        self._upload = Limits(app, problems.refuse, options.most_upload_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        uploads = scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", document_routes.PATH)
        await (self._upload if uploads else self._usual)(scope, receive, send)


def build_app(settings: Settings, options: ServiceOptions) -> FastAPI:
    """Assemble the application. Without a token it serves this machine alone, so it must be bound to loopback."""
    desk = Desk(settings, options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.end()
        await run_in_threadpool(desk.close)

    who: dict[str, Any] = {"refuse": problems.refuse, "is_open": is_open}
    guard = Middleware(TokenDemanded, token=options.token, **who) if options.token else None
    app = FastAPI(
        title="lmstudio-rag",
        summary="Ask your own documents on your own machine, with citations that have been checked.",
        version=importlib.metadata.version("lmstudio-rag"),
        lifespan=lifespan,
        docs_url=None,  # it loads its scripts from elsewhere
        redoc_url=None,
        responses=problems.ALWAYS,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if options.token else [],
        middleware=[
            Middleware(Measured, metrics=desk.metrics),
            Middleware(SafeHeaders),
            guard or Middleware(OwnPagesOnly, host=options.host, **who),
            Middleware(_Bounded, options=options),
        ],
    )
    app.state.desk = desk
    problems.install(app)
    for room in (kb_routes, document_routes, conversation_routes, openai_routes, lmstudio_routes):
        app.include_router(room.router)
    app.add_api_route("/health", health, tags=["service"], summary="Whether the service runs")
    app.add_api_route(
        "/ready",
        ready,
        tags=["service"],
        summary="Whether a question could be answered",
        responses={503: {"model": ReadyForm}},
    )
    app.add_api_route("/metrics", metrics, tags=["service"], summary="Figures for Prometheus", response_class=_Text)
    app.add_api_route("/", index, include_in_schema=False)
    app.add_api_route("/docs", lambda: HTMLResponse(api_page(app.openapi())), include_in_schema=False)
    app.mount("/page", StaticFiles(directory=PAGE))
    return app


class _Text(Response):
    media_type = "text/plain"


def health() -> HealthForm:
    """The process answers; of models and documents `/ready` tells."""
    return HealthForm()


def ready(desk: TheDesk, response: Response) -> ReadyForm:
    """Looks at the knowledge base and the model server, and starts nothing. 503 where one of them is not there."""
    parts = {"knowledge_base": "ok", "model_server": "ok"}
    try:
        _ = desk.kb.store.identity
    except errors.RagError as exc:
        parts["knowledge_base"] = str(exc)
    try:
        with Connection(desk.settings) as connection:
            server_kind(connection)
    except errors.RagError as exc:
        parts["model_server"] = str(exc)
    is_ready = set(parts.values()) == {"ok"}
    response.status_code = 200 if is_ready else 503
    return ReadyForm(ready=is_ready, **parts)


def metrics(desk: TheDesk) -> Response:
    """Requests, times, answers, citations and uploads; no words of anybody."""
    return Response(desk.metrics.text(), media_type=CONTENT_TYPE)


def index() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html", media_type="text/html")
