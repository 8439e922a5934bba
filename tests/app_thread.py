"""An application behind a real HTTP server in a thread of the test's own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def running(app: Any, **config: Any) -> Iterator[int]:
    """The port of a server that runs this application, until the block ends; `config` is uvicorn's."""
    server = uvicorn.Server(uvicorn.Config(app, **{"port": 0, "log_level": "critical", "ws": "none"} | config))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
