"""A server of ours in this process: the address that it listens on, and its life until a signal ends it."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import rag.errors as errors
from rag.web.names import is_loopback
from rag.web.sockets import listen

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp


def log_to_stderr(*names: str) -> None:
    """Have warnings told on stderr, and what is worth knowing besides by the loggers of these names."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)


def guarded_listener(host: str, port: int, token: str | None, command: str) -> socket.socket:
    """A socket that listens there; port 0 is any free one.

    Raises UsageProblem where others could reach it and no token is demanded, or the address cannot be listened on.
    """
    if not token and not is_loopback(host):
        raise errors.UsageProblem(
            f"On {host} everybody who can reach this machine could read the documents. Set a token, "
            "RAG_SERVICE_TOKEN or --token, or leave out --host."
        )
    try:
        return listen(host, port)
    except OSError as exc:
        raise errors.UsageProblem(
            f"{host}:{port} cannot be listened on ({exc.strerror}). Does `{command}` run already? "
            "--port names another port."
        ) from exc


def address(listener: socket.socket, host: str) -> str:
    """Where a client finds what listens."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def serve_until_ended(app: "ASGIApp", listener: socket.socket, ending: Callable[[], None]) -> None:
    """Serve until Ctrl-C or a termination; `ending` is called in the event loop then, before connections are closed.

    Ctrl-C is raised again when everything has ended.
    """
    import uvicorn

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
    asyncio.run(_run(uvicorn.Server(config), listener, ending))


async def _run(server: "uvicorn.Server", listener: socket.socket, ending: Callable[[], None]) -> None:
    """Serve; once asked to end, have everybody told so, for whom uvicorn would wait until it breaks them off."""
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.should_exit and not serving.done():
        await asyncio.wait({serving}, timeout=0.1)
    ending()
    await serving
