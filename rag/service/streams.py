"""From threads to clients: what blocking work yields, as it comes, until it ends or nobody listens any more."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

import rag.errors as errors
from rag.service.problems import Refused, problem_of
from rag.web.sse import event

log = logging.getLogger("rag.service")

T = TypeVar("T")

KEEP_ALIVE_S = 10.0  # a proxy closes what is silent for long, and loading a large model is
_GRACE_S = 5.0

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is being waited for: "Loading qwen3-4b …"."""

    message: str


class Silence:
    """Nothing has come for KEEP_ALIVE_S."""


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing more will come, because of the failure if there is one."""

    failure: Exception | None


def tell(message: str) -> None:
    """Take a notice: to the log, and to the client whose work this is."""
    log.info("%s", message)
    if listener := _listener.get():
        listener(message)


class _Stopped(BaseException):
    """Nobody listens any more. It unwinds the work as an interrupt would; no handler of errors may stop it."""


Put = Callable[[T], None]


@dataclass(frozen=True, slots=True)
class _Work:
    """How to stop what a thread does, and how to tell the client who waits for it."""

    stop: threading.Event
    tell: Callable[[_End], None]


class Threads:
    """The threads that work for clients. They end when their client has gone, and all of them with the service."""

    def __init__(self) -> None:
        self.running: dict[threading.Thread, _Work] = {}

    def run(
        self, work: Callable[[Put[T]], None], *, to_the_end: bool = False, ended: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[T | Notice | Silence, None]:
        """Start `work` in a thread; the generator yields what it puts and the notices meanwhile, and raises as it does.

        When the generator is closed, the next thing that is put ends the work, unless it is to go on `to_the_end`.
        `ended` is called, in the event loop, when the work has ended.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[T | Notice | _End] = asyncio.Queue()
        stop = threading.Event()

        def send(item: T | Notice | _End) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody listens
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def put(item: T) -> None:
            if stop.is_set():
                raise _Stopped
            send(item)

        def body() -> None:
            _listener.set(lambda message: send(Notice(message)))
            failure: Exception | None = None
            try:
                work(put)
            except _Stopped:
                pass
            except Exception as exc:  # noqa: BLE001  a boundary: it is raised again where somebody waits for it
                failure = exc
            finally:
                self.running.pop(threading.current_thread(), None)
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(ended)
                send(_End(failure))

        thread = threading.Thread(target=copy_context().run, args=(body,), daemon=True, name="work for a client")
        self.running[thread] = _Work(stop, send)
        thread.start()

        async def items() -> AsyncGenerator[T | Notice | Silence, None]:
            try:
                while True:
                    try:
                        item = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
                    except TimeoutError:
                        yield Silence()
                        continue
                    if not isinstance(item, _End):
                        yield item
                    elif item.failure is not None:
                        raise item.failure
                    else:
                        return
            finally:
                if not to_the_end:
                    stop.set()

        return items()

    def stop(self, why: Exception) -> None:
        """Let all that runs end at its next step, and tell the clients at once."""
        for work in list(self.running.values()):
            work.stop.set()
            work.tell(_End(why))

    def wait(self) -> None:
        """Wait a little for what was stopped; a thread that waits for a model even then ends with the process."""
        until = time.monotonic() + _GRACE_S
        for thread in list(self.running):
            thread.join(max(0.0, until - time.monotonic()))


async def outcome(request: Request, items: AsyncGenerator[T, None]) -> T:
    """The last item, for a client that wants nothing else. Raises ClientDisconnect where it has hung up meanwhile."""
    gone, last = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(_last(items))
    try:
        await asyncio.wait({last, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not last.done():
            raise ClientDisconnect
        return last.result()
    finally:
        gone.cancel()
        last.cancel()
        with suppress(asyncio.CancelledError):
            await last


async def _last(items: AsyncGenerator[T, None]) -> T:
    async with aclosing(items):
        async for item in items:
            found = item
    return found


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def event_stream(
    events: AsyncGenerator[bytes, None], last: Callable[[errors.RagError | Refused], bytes]
) -> StreamingResponse:
    """Server-sent events; an error that comes in the midst of them is told as `last` does, for the headers are out."""

    async def told() -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            try:
                async for one in events:
                    yield one
            except (errors.RagError, Refused) as exc:
                log.warning("%s", exc)
                yield last(exc)
            except Exception:
                log.exception("a stream failed")
                yield last(errors.RagError("An error in the service, which its log tells of. Please report it."))

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(told(), media_type="text/event-stream", headers=headers)


COMMENT = b": \n\n"  # which clients pass over


def error_event(exc: errors.RagError | Refused) -> bytes:
    """The last event of a stream that failed."""
    return event({"error": problem_of(exc).model_dump()}, "error")
