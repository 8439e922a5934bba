"""What blocking work in a thread yields, as it comes, until it ends or nobody waits for it any more."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TypeVar

log = logging.getLogger("rag.web")

T = TypeVar("T")

KEEP_ALIVE_S = 10.0  # a proxy closes what is silent for long, and loading a large model is

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

    def wait(self, seconds: float = 5.0) -> None:
        """Wait a little for what was stopped; a thread that waits for a model even then ends with the process."""
        until = time.monotonic() + seconds
        for thread in list(self.running):
            thread.join(max(0.0, until - time.monotonic()))
