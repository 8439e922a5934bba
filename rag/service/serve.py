"""Run the service in this process until a signal ends it."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import rag.errors as errors
from rag.service.options import ServiceOptions
from rag.settings import Settings
from rag.web.names import is_loopback
from rag.web.quiet import quiet
from rag.web.sockets import listen

if TYPE_CHECKING:
    import uvicorn

    from rag.service.desk import Desk


def serve(settings: Settings, options: ServiceOptions, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or a termination ends it; `ready` is told the address once it is listened on.

    Raises UsageProblem where others could reach it and no token is demanded, or the address cannot be listened on,
    before anything large is imported; MissingExtra.
    """
    if not options.token and not is_loopback(options.host):
        raise errors.UsageProblem(
            f"On {options.host} everybody who can reach this machine could read the documents. Set a token, "
            "RAG_SERVICE_TOKEN or --token, or leave out --host."
        )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("rag.service").setLevel(logging.INFO)
    try:
        listener = listen(options.host, options.port)
    except OSError as exc:
        raise errors.UsageProblem(
            f"{options.host}:{options.port} cannot be listened on ({exc.strerror}). Does `rag serve` run already? "
            "--port names another port."
        ) from exc
    try:
        import uvicorn

        from rag.service.app import build_app
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.split(".")[0] in ("rag", "ingest"):
            raise
        raise errors.MissingExtra("The service", "service") from exc
    app = build_app(settings, options)
    config = quiet(app, connections=2000)
    host = f"[{options.host}]" if ":" in options.host else options.host
    ready(f"http://{host}:{listener.getsockname()[1]}")
    asyncio.run(_run(uvicorn.Server(config), listener, app.state.desk))


async def _run(server: "uvicorn.Server", listener: socket.socket, desk: "Desk") -> None:
    """Serve; once asked to end, have everybody told so, for whom uvicorn would wait until it breaks them off."""
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.should_exit and not serving.done():
        await asyncio.wait({serving}, timeout=0.1)
    desk.end()
    await serving
