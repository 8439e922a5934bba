"""Figures for Prometheus. The only door to prometheus_client."""

import time
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.types import Answer

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The figures of one service, in a registry of its own. No question, name or text of a document is in them.

    Where several processes serve they keep them in files of a `shared` folder, and each tells the sum of all.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("rag_requests", "Requests that were answered.", labels, registry=self._registry)
        self.seconds = Histogram(
            "rag_request_seconds",
            "Time to the end of an answer, streams included.",
            ("route",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self.running = Gauge(
            "rag_requests_running",
            "Requests that are being answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.waiting = Gauge(
            "rag_asks_waiting",
            "Questions that wait for their turn.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.answers = Counter("rag_answers", "Answers by how they ended.", ("outcome",), registry=self._registry)
        self.citations = Counter(
            "rag_citations", "Citations by what their check found.", ("status",), registry=self._registry
        )
        self.documents = Counter(
            "rag_ingested", "Documents of uploads by what became of them.", ("status",), registry=self._registry
        )

    def answered(self, answer: Answer) -> None:
        """Count an answer and its citations."""
        self.answers.labels("abstained" if answer.abstained else answer.cut.value if answer.cut else "answered").inc()
        for citation in answer.citations:
            self.citations.labels(citation.status.value).inc()

    def text(self) -> bytes:
        """All figures as Prometheus reads them."""
        if self._shared is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(together)


def forget_process(shared: Path, pid: int) -> None:
    """A process has ended: what it was doing is done by nobody now, what it had done stays counted."""
    mark_process_dead(pid, path=str(shared))  # type: ignore[no-untyped-call]


class Measured:
    """Counts and times requests by their route, so that a name in a path makes no figure of its own."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.running.inc()
        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.running.dec()
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
            self._metrics.requests.labels(method, route, str(status or "broken off")).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
