"""One process that serves a listening socket until a signal ends it."""

import asyncio
import logging
import socket
import sys
from typing import TYPE_CHECKING

from rag.service.options import ServiceOptions
from rag.settings import Settings

if TYPE_CHECKING:
    import uvicorn

    from rag.service.desk import Desk


def serve_listener(settings: Settings, options: ServiceOptions, listener: socket.socket) -> None:
    """Serve until a signal ends it."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("rag.service").setLevel(logging.INFO)
    import uvicorn

    from rag.service.app import build_app

    app = build_app(settings, options)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=3,
        server_header=False,
        ws="none",
        limit_concurrency=2000,
    )
    asyncio.run(_run(uvicorn.Server(config), listener, app.state.desk))


async def _run(server: "uvicorn.Server", listener: socket.socket, desk: "Desk") -> None:
    """Serve; once asked to end, have everybody told so, for whom uvicorn would wait until it breaks them off."""
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.should_exit and not serving.done():
        await asyncio.wait({serving}, timeout=0.1)
    desk.end()
    await serving
