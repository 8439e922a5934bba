"""Files read in processes of their own, so that a crash or a hang in a reader is a figure and not the end of a run."""

import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from rag.errors import EmptyDocument, ParseError, UnreadableDocument, UnsupportedFormat


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of one file.

    `outcome` is "ok", "empty", "encrypted", "damaged", "unsupported", "image-only" (a scan, and nothing reads it), or
    what must never be: "error" (an exception that is no ParseError), "crash" (the process died), "hang" (it was ended
    after the time limit). `texts` are the file's documents, `page` is the last page that a piece stands on.
    """

    outcome: str
    reason: str = ""
    texts: tuple[str, ...] = ()
    page: int = 0
    seconds: float = 0.0


NEVER = frozenset({"error", "crash", "hang"})


def read_files(
    paths: Iterable[Path], *, processes: int = 2, seconds: float = 60.0, memory: int = 4 << 30
) -> Iterator[tuple[Path, Reading]]:
    """Each file with what came of reading it, in the order given.

    A file may take `seconds` and a process `memory` bytes of address space (where the system can limit that).
    """
    idle: SimpleQueue[_Worker] = SimpleQueue()
    workers = [_Worker(seconds, memory) for _ in range(processes)]
    for worker in workers:
        idle.put(worker)

    def read(path: Path) -> tuple[Path, Reading]:
        worker = idle.get()
        try:
            return path, worker.read(path)
        finally:
            idle.put(worker)

    try:
        with ThreadPoolExecutor(processes) as threads:
            waiting: deque[Future[tuple[Path, Reading]]] = deque()
            for path in paths:  # a bounded number ahead: the files may be made as they are asked for
                waiting.append(threads.submit(read, path))
                if len(waiting) > 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """One process that reads files, and its successor where it dies."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._talk, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._memory), daemon=True)
        self._process.start()
        theirs.close()
        self._talk.recv()  # it is up: importing is no part of any file's time

    def read(self, path: Path) -> Reading:
        self._talk.send(path)
        try:
            if self._talk.poll(self._seconds):
                reading: Reading = self._talk.recv()
                return reading
            reading = Reading("hang", f"longer than {self._seconds:g} s", seconds=self._seconds)
        except (EOFError, OSError):
            self._process.join(10)
            reading = Reading("crash", f"exit code {self._process.exitcode}")
        self.end()
        self._start()
        return reading

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._talk.close()


def _serve(talk: Connection, memory: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    from ingest.parse import read_all

    talk.send(None)
    while True:
        try:
            path = talk.recv()
        except EOFError:
            return
        started = time.perf_counter()
        reading = _read(read_all, path)
        talk.send(Reading(reading.outcome, reading.reason, reading.texts, reading.page, time.perf_counter() - started))


def _read(read_all: Callable[..., Iterator[object]], path: Path) -> Reading:
    from rag.types import Document

    try:
        found = list(read_all(path, path.name))
    except ParseError as exc:
        return Reading(_class(exc), str(exc))
    except Exception as exc:  # noqa: BLE001 - whatever comes out here is what we look for
        return Reading("error", f"{type(exc).__name__}: {exc}"[:500])
    documents = [one for one in found if isinstance(one, Document)]
    if not documents:
        return Reading("damaged", "; ".join(str(one) for one in found)[:500])
    pages = (piece.page or 0 for document in documents for piece in document.pieces)
    return Reading("ok", texts=tuple(document.text for document in documents), page=max(pages, default=0))


def _class(error: ParseError) -> str:
    if isinstance(error, EmptyDocument):
        return "empty"
    if isinstance(error, UnsupportedFormat):
        return "unsupported"
    if isinstance(error, UnreadableDocument):
        said = str(error).lower()
        return "encrypted" if "encrypted" in said or "password" in said else "damaged"
    return "image-only" if type(error).__name__ == "NeedsOcr" else "damaged"
