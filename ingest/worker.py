"""A process that reads files: takes tasks from its standard input, answers on what was its standard output.

It ends when its input ends, which it does however the program that started it ends.
"""

import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

from ingest.frames import Job, Picture, Task, length_of_next, packed, receive, send, unpacked_job, unpacked_task
from ingest.reading import read_file
from rag import tokens


def main() -> None:
    """Read files until the input ends."""
    # Ctrl-C in a terminal reaches every process there; what it means is decided by the one that started us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _private_output()
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    words: queue.SimpleQueue[str] = queue.SimpleQueue()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs, tasks, words), daemon=True).start()
    tokens.count("what takes a while the first time")
    job = jobs.get()
    _limit_memory(job.megabytes)

    def look(picture: bytes) -> str:
        send(answers, packed(Picture(picture)))
        return words.get()

    while True:
        for answer in read_file(tasks.get(), job, look if job.options.describe_images else None):
            send(answers, packed(answer))


def _private_output() -> BinaryIO:
    """The pipe to our parent, where no library's print can reach it."""
    private = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return os.fdopen(private, "wb")


def _listen(
    stream: BinaryIO,
    jobs: "queue.SimpleQueue[Job]",
    tasks: "queue.SimpleQueue[Task]",
    words: "queue.SimpleQueue[str]",
) -> None:
    """Take what the parent says; at the end of it, or where it makes no sense, leave at once and whatever goes on."""
    with suppress(Exception):  # whatever happens here, the next line must be reached
        job = _next(stream)
        if job is not None:
            jobs.put(unpacked_job(job))
        while (data := _next(stream)) is not None:
            if isinstance(said := unpacked_task(data), Task):
                tasks.put(said)
            else:
                words.put(said)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # programs that a reader has started go with us
    os._exit(0)


def _next(stream: BinaryIO) -> bytes | None:
    length = length_of_next(stream)
    return None if length is None else receive(stream, length)


def _limit_memory(megabytes: int) -> None:
    """Let allocations fail beyond the limit, where the system can do that; elsewhere the parent's watch must do."""
    try:
        import resource
    except ImportError:
        return
    with suppress(OSError, ValueError):
        import psutil

        now = psutil.Process().memory_info().vms
        limit = now + (megabytes << 20)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
