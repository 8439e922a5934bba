"""Run the engine in this process: bind the port, write down who serves it, answer until told to stop."""

import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rag.engine.places import Places, lm_studio_models_folder, models_folder, places

log = logging.getLogger("rag.engine")

PORT_TAKEN = 98


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How the engine is to run."""

    host: str = "127.0.0.1"
    port: int = 1234
    models: Path | None = None
    idle_seconds: float = 0.0
    jit: bool = True
    auto_evict: bool = True
    threads: int = 0
    verbose: bool = False


def serve(options: ServeOptions) -> int:
    """Serve until a signal or idleness ends it; return the exit code, PORT_TAKEN where the port is not free."""
    import uvicorn

    from rag.engine.app import build_app
    from rag.engine.downloads import Downloads
    from rag.engine.instances import Instances, Policy
    from rag.engine.library import Library

    # Workers inherit stderr: one log, in the order in which things happened.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        listener = socket.create_server(
            (options.host, options.port), family=socket.AF_INET6 if ":" in options.host else socket.AF_INET
        )
    except OSError as exc:
        log.error("cannot listen on %s:%d: %s", options.host, options.port, exc)
        return PORT_TAKEN
    port: int = listener.getsockname()[1]
    own = options.models or models_folder()
    library = Library((own, lm_studio_models_folder()))
    policy = Policy(options.jit, options.auto_evict, threads=options.threads, verbose=options.verbose)

    def leave() -> None:
        server.should_exit = True

    app = build_app(Instances(library, policy), Downloads(own), options.idle_seconds, leave)
    config = uvicorn.Config(app, log_config=None, access_log=False, log_level="warning", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    with _recorded(places(port), options.host, port):
        log.info("engine on http://%s:%d, models in %s", options.host, port, own)
        server.run(sockets=[listener])
        log.info("engine stopped")
    return 0


@contextmanager
def _recorded(where: Places, host: str, port: int) -> Iterator[None]:
    import psutil

    record = {"pid": os.getpid(), "created": psutil.Process().create_time(), "host": host, "port": port}
    temporary = where.record.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(where.record)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(where.record.read_text(encoding="utf-8"))["pid"] == os.getpid():
                where.record.unlink()
