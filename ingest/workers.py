"""Processes that read files, watched: a crash, a hang or a hunger for memory costs one file and one process."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

import psutil

import rag.errors as errors
from ingest.frames import (
    Answer,
    FileDone,
    Job,
    Picture,
    Task,
    length_of_next,
    packed_job,
    packed_task,
    packed_words,
    receive,
    send,
    unpacked,
)

_WATCH_S = 0.1
_AHEAD_FILES = 8  # tasks that a process has before it, so that it need not wait for us between small files
_AHEAD_BYTES = 64 * 1024
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ingest.worker import main; main()"
_FREE_BYTES = 4096  # the end of a file must come through, however much is under way: documents wait for it
_MOST = 8
_WORTH_A_PROCESS = 512 * 1024  # bytes of files; starting one costs as much as reading these
_MANY_FILES = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost: seconds of silence, more of them for large files, and megabytes of memory.

    A file of several documents has the time for each of them. A process that has grown to `worn_megabytes` is replaced
    after its file.
    """

    seconds: float = 60.0
    seconds_per_megabyte: float = 6.0
    megabytes: int = 1024
    worn_megabytes: int = 320

    def seconds_for(self, size: int) -> float:
        """The time for a file of so many bytes."""
        return self.seconds + self.seconds_per_megabyte * size / 1e6


class Budget:
    """Bytes that may be under way at once. A single thing that is larger than all of it may pass alone."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._changed = threading.Condition()
        self._closed = False

    def take(self, amount: int) -> None:
        """Wait for room."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._taken or self._taken + amount <= self._total)
            self._taken += amount

    def give(self, amount: int) -> None:
        """Give room back."""
        with self._changed:
            self._taken -= amount
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody pass."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Died(Exception):
    """A reading process ended in the middle of a file; the message says of what, in words for the file's outcome."""


def workers_for(tasks: list[Task], wanted: int | None) -> int:
    """How many processes the tasks are worth, at most one a processor."""
    if wanted is not None:
        return max(1, min(wanted, len(tasks)))
    worth = max(sum(task.size for task in tasks) // _WORTH_A_PROCESS, len(tasks) // _MANY_FILES)
    return max(1, min(os.cpu_count() or 1, _MOST, worth, len(tasks)))


@dataclass(slots=True)
class Process:
    """One process, which job it was told, and since when it owes us an answer."""

    popen: "subprocess.Popen[bytes]"
    limits: Limits
    job: Job | None = None
    base_rss: int = 0
    owes_since: float | None = None
    allowed_s: float = 0.0
    killed_for: str = ""
    answered: bool = False

    @classmethod
    def start(cls, limits: Limits) -> "Process":
        """A new process, which has not been told its job."""
        # Without -P the folder that the user stands in would come first, and a file json.py there would be run.
        command = [sys.executable, "-P", "-c", _START, json.dumps(sys.path)]
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",
        )
        return cls(popen, limits)

    @property
    def input(self) -> BinaryIO:
        assert self.popen.stdin is not None
        return self.popen.stdin  # type: ignore[return-value]

    @property
    def output(self) -> BinaryIO:
        assert self.popen.stdout is not None
        return self.popen.stdout  # type: ignore[return-value]

    def learn(self, job: Job) -> None:
        """Tell it its job, once."""
        if self.job is None:
            self.job = job
            self.tell(packed_job(job))

    def tell(self, data: bytes) -> None:
        """Send a message. A process that has ended is noticed when it is listened to."""
        with suppress(OSError):
            send(self.input, data)

    def answers(self, task: Task, budget: Budget) -> Iterator[tuple[Answer | Picture, int]]:
        """What it says about a file, with the bytes taken from the budget for it. Raises Died."""
        self.allowed_s = self.limits.seconds_for(task.size)
        while True:
            self.owes_since = time.monotonic()
            try:
                length = length_of_next(self.output)
                self.owes_since = None
                if length is None:
                    raise Died(self._cause())
                held = length if length > _FREE_BYTES else 0
                budget.take(held)
                try:
                    data = receive(self.output, length)
                    if data is None:
                        raise Died(self._cause())
                    answer = unpacked(data)
                except BaseException:
                    budget.give(held)
                    raise
            except (ValueError, TypeError, KeyError, IndexError, OSError) as exc:
                self.kill(f"the reader answered nonsense ({type(exc).__name__})")
                raise Died(self.killed_for) from exc
            finally:
                self.owes_since = None
            self.answered = True
            yield answer, held
            if isinstance(answer, FileDone):
                return

    def check(self) -> None:
        """Kill it where it is over a limit."""
        since = self.owes_since
        if since is not None and time.monotonic() - since > self.allowed_s:
            self.kill(f"the reader took longer than {self.allowed_s:.0f} s")
        elif since is not None and self.rss() > self.limits.megabytes << 20:
            self.kill(f"the reader needed more than {self.limits.megabytes} MB")

    def rss(self) -> int:
        """Bytes of memory that it holds now; 0 where it has ended."""
        try:
            return int(psutil.Process(self.popen.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def kill(self, reason: str = "") -> None:
        """End it at once, with whatever it has started."""
        self.killed_for = self.killed_for or reason
        with suppress(OSError):
            if os.name == "posix" and self.popen.poll() is None:
                os.killpg(self.popen.pid, 9)
        self.popen.kill()

    def close(self) -> None:
        """End it and wait until it has."""
        self.kill()
        for stream in (self.popen.stdin, self.popen.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        self.popen.wait()

    def _cause(self) -> str:
        code = self.popen.wait()
        return self.killed_for or f"the reader crashed ({_named(code)})"


def _named(code: int) -> str:
    import signal

    if code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


Listener = Callable[[Task, Answer, int], None]


@dataclass(slots=True)
class Readers:
    """A few reading processes, each served by a thread of ours.

    `start` may be called before the job is known: processes take a while to come up. `on_answer` is called from the
    threads with a task, what was said about it, and the bytes of the budget that it holds; every task ends with a
    FileDone. `on_end` is called once, when all files are done, with None or the error that ended it. `look` is asked,
    from these threads as well, what a picture shows that a process has met; the process has no time to lose meanwhile.
    Processes of a former run are taken from `idle`, and put there at the end; without such a list they end.
    """

    limits: Limits
    budget: Budget
    on_answer: Listener
    on_end: Callable[[BaseException | None], None]
    look: Callable[[bytes], str] = lambda picture: ""
    idle: list[Process] | None = None
    _ready: list[Process] = field(default_factory=list)
    _all: list[Process] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _serving: int = 0

    def start(self, count: int) -> None:
        """Start the processes."""
        self._ready = [self._taken() or self._new() for _ in range(count)]

    def read(self, tasks: Iterable[Task], job: Job) -> None:
        """Read the files, in any order; returns at once."""
        source = iter(tasks)
        self._serving = len(self._ready)
        self._threads = [
            threading.Thread(target=self._serve, args=(process, source, job), daemon=True) for process in self._ready
        ]
        self._threads.append(threading.Thread(target=self._watch, daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End all processes, whatever they do."""
        self._stopped.set()
        self.budget.close()
        with self._lock:
            processes = list(self._all)
        for process in processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        for process in processes:
            process.close()

    def _taken(self) -> Process | None:
        while self.idle:
            process = self.idle.pop()
            if process.popen.poll() is None:
                with self._lock:
                    self._all.append(process)
                return process
            process.close()
        return None

    def _new(self) -> Process:
        process = Process.start(self.limits)
        with self._lock:
            self._all.append(process)
        return process

    def _serve(self, process: Process, source: Iterator[Task], job: Job) -> None:
        problem: BaseException | None = None
        try:
            self._read_all(process, source, job)
        except errors.RagError as exc:
            problem = exc
        finally:
            with self._lock:
                self._serving -= 1
                last = not self._serving
            if last or problem:
                self.on_end(problem)

    def _read_all(self, process: Process, source: Iterator[Task], job: Job) -> None:
        """Keep one process busy with what is left in the source, and replace it where it ends or is worn."""
        if process.job not in (None, job):
            self._retire(process)
            process = self._new()
        process.learn(job)
        ahead: deque[Task] = deque()
        while not self._stopped.is_set():
            for task in self._more(ahead, source):
                ahead.append(task)
                process.tell(packed_task(task))
            if not ahead:
                break
            task = ahead[0]
            try:
                for answer, held in process.answers(task, self.budget):
                    if isinstance(answer, Picture):
                        self.budget.give(held)
                        process.tell(packed_words(self._words_of(answer)))
                    else:
                        self.on_answer(task, answer, held)
            except Died as exc:
                if self._stopped.is_set():
                    return
                if not process.answered and not process.killed_for and process.popen.returncode != 0:
                    self._check_startup(process)
                self.on_answer(task, FileDone("", str(exc), 0.0), 0)
                worn = True
            else:
                worn = process.rss() > self.limits.worn_megabytes << 20
            ahead.popleft()
            if worn and not self._stopped.is_set():
                self._retire(process)
                process = self._new()
                process.learn(job)
                for waiting in ahead:
                    process.tell(packed_task(waiting))
        if self.idle is None or self._stopped.is_set():
            self._retire(process)
            return
        with self._lock:
            self._all.remove(process)
        self.idle.append(process)

    def _words_of(self, picture: Picture) -> str:
        """What a picture shows; "" where all is to end before that is known."""
        told: queue.SimpleQueue[str] = queue.SimpleQueue()

        def look() -> None:
            words = ""
            try:
                words = self.look(picture.data)
            finally:
                told.put(words)

        threading.Thread(target=look, daemon=True).start()
        while not self._stopped.is_set():
            with suppress(queue.Empty):
                return told.get(timeout=0.1)
        return ""

    def _more(self, ahead: deque[Task], source: Iterator[Task]) -> Iterator[Task]:
        """Tasks to send ahead: many small ones, or one large one."""
        count, size = len(ahead), sum(task.size for task in ahead)
        while not count or (count < _AHEAD_FILES and size < _AHEAD_BYTES):
            with self._lock:
                task = next(source, None)
            if task is None:
                return
            count, size = count + 1, size + task.size
            yield task

    def _check_startup(self, process: Process) -> None:
        """Raise where processes cannot be started at all: every file would fail, and none is to blame."""
        probe = subprocess.run(
            [sys.executable, "-P", "-c", _START.replace("; main()", ""), json.dumps(sys.path)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if probe.returncode:
            last = probe.stderr.strip().rpartition("\n")[2]
            raise errors.RagError(f"The processes that read files cannot be started: {last}")

    def _retire(self, process: Process) -> None:
        process.close()
        with self._lock:
            self._all.remove(process)

    def _watch(self) -> None:
        while not self._stopped.wait(_WATCH_S):
            with self._lock:
                processes = list(self._all)
                serving = self._serving
            if not serving:
                return
            for process in processes:
                process.check()
