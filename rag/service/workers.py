"""Several processes that serve one address: who asks is answered by any of them, and one that dies is replaced.

What they share lies in files: the knowledge base, conversations, leases on models, and in a folder of this run who
changes the knowledge base and the figures. Everything else belongs to one request, so any process may have it.
"""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import tempfile
import threading
import time
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NoReturn

from rag.service.options import ServiceOptions
from rag.settings import Settings
from rag.web.serving import log_to_stderr, serve_until_ended

log = logging.getLogger("rag.service")

_GRACE_S = 10.0  # for what a process is doing when it is asked to end
_PAUSE_S = 1.0  # before another one takes the place of one that died


def serve_by(count: int, settings: Settings, options: ServiceOptions, listener: socket.socket) -> None:
    """Serve by so many processes until a signal ends it; of the questions at a time each takes its part."""
    with tempfile.TemporaryDirectory(prefix="lmstudio-rag-", ignore_cleanup_errors=True) as folder:
        share = replace(
            options,
            shared=Path(folder),
            asks_at_once=max(1, options.asks_at_once // count),
            asks_waiting=max(1, options.asks_waiting // count),
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # a shell may have the latter ignored, which the others do not
            signal.signal(number, _end)
        running: list[SpawnProcess] = []
        try:
            while True:
                while len(running) < count:
                    running.append(_started(settings, share, listener))
                ended = multiprocessing.connection.wait([process.sentinel for process in running])
                for process in [process for process in running if process.sentinel in ended]:
                    running.remove(process)
                    log.warning("Process %s of the service ended; another takes its place.", process.pid)
                    _forget(process, share)
                time.sleep(_PAUSE_S)
        finally:
            _stop(running)


def _end(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _started(settings: Settings, options: ServiceOptions, listener: socket.socket) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(settings, options, listener))
    process.start()
    return process


def _forget(process: SpawnProcess, options: ServiceOptions) -> None:
    from rag.service.metrics import forget_process

    process.join()
    if options.shared and process.pid:
        forget_process(options.shared, process.pid)


def _stop(running: list[SpawnProcess]) -> None:
    """Have all end what they are doing, and then end them."""
    for process in running:
        process.terminate()
    until = time.monotonic() + _GRACE_S
    for process in running:
        process.join(max(0.0, until - time.monotonic()))
        process.kill()


def _serve(settings: Settings, options: ServiceOptions, listener: socket.socket) -> None:
    """What each of the processes does."""
    # The figures' library reads this when it is imported, as the next lines do.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(options.shared)
    from rag.service.app import build_app

    log_to_stderr("rag.service", "rag.web")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = build_app(settings, options)
    try:
        serve_until_ended(app, listener, app.state.desk.end)
    except KeyboardInterrupt:  # of a terminal all get it, and all have ended then what they were doing
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        signal.raise_signal(signal.SIGTERM)
