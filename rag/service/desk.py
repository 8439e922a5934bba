"""What all requests share: the knowledge base, the model server, who may ask now, who ingests, and the figures."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.client import LMStudio
from rag.service.metrics import Metrics
from rag.service.options import ServiceOptions
from rag.service.problems import Refused
from rag.service.turn import Turn
from rag.settings import Settings
from rag.web.threads import Notice, Put, Silence, Threads, tell

T = TypeVar("T")


class Desk:
    """One knowledge base and one model server, for all requests."""

    def __init__(self, settings: Settings, options: ServiceOptions) -> None:
        self.options = options
        self.settings = settings
        self.kb = KnowledgeBase(settings=settings, notify=tell)
        self.lm = LMStudio(settings=settings, notify=tell)
        self.chat = self.kb.chat_model  # made here, not by the first two threads that want it
        self.threads = Threads()
        self.metrics = Metrics(options.shared)
        self.ingesting = Turn(options.shared)
        self._free = asyncio.Semaphore(options.asks_at_once)
        self._waiting = 0
        self._ending = False

    def _refuse_if_full(self) -> None:
        if self._waiting >= self.options.asks_waiting:
            message = f"{self._waiting} questions are waiting already. Ask again in a moment."
            raise Refused(503, message, "too_many_questions", {"Retry-After": "10"})

    def in_turn(self, work: Callable[[Put[T]], None]) -> AsyncGenerator[T | Notice | Silence, None]:
        """What `work` puts, as soon as it has its turn among what asks a model; notices tell of the waiting.

        Raises Refused, a 503, where so many wait that another one would wait too long.
        """
        self._refuse_if_full()
        return self._in_turn(work)

    async def _in_turn(self, work: Callable[[Put[T]], None]) -> AsyncGenerator[T | Notice | Silence, None]:
        self._waiting += 1
        self.metrics.waiting.set(self._waiting)
        try:
            if self._free.locked():
                yield Notice(f"Waiting for {self.options.asks_at_once + self._waiting - 1} other questions.")
            await self._free.acquire()
            if self._ending:
                raise _ending()
        finally:
            self._waiting -= 1
            self.metrics.waiting.set(self._waiting)
        # The turn ends with the work, which may go on for a moment after its client has gone.
        async with aclosing(self.threads.run(work, ended=self._free.release)) as items:
            async for item in items:
                yield item

    def end(self) -> None:
        """Tell everybody who waits for an answer that none will come. For the event loop's thread."""
        self._ending = True
        for _ in range(self._waiting):
            self._free.release()
        self.threads.stop(_ending())

    def close(self) -> None:
        """Wait a little for what runs, and let go of the connections."""
        self.threads.wait()
        self.kb.close()
        self.lm.close()


def _ending() -> Refused:
    return Refused(503, "The service is ending. Ask again when it is back.", "service_ending", {"Retry-After": "30"})


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(_desk)]
