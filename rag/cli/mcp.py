"""`rag mcp`: the knowledge base as tools for LM Studio, Claude, editors and whatever else speaks MCP."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.flags as flags
import rag.errors as errors
from rag.cli.common import notify, settings

if TYPE_CHECKING:
    from rag.settings import Settings

_HOST, _PORT = "127.0.0.1", 8010


def mcp(
    kb: flags.Kb = None,
    snippet: Annotated[
        bool, typer.Option("--snippet", help="Print what LM Studio's mcp.json, Claude or an editor needs, and end.")
    ] = False,
    http: Annotated[bool, typer.Option("--http", help="Serve over HTTP instead of stdin and stdout.")] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help=f"With --http: the address to listen on, {_HOST} if none is given; any but this machine's own demands "
            "a token.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"With --http: {_PORT} if none is given; 0 is any.", show_default=False),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="With --http: what clients must send as `Authorization: Bearer …`; better set RAG_SERVICE_TOKEN.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Offer the knowledge base to other programs' models as tools: search, ask, read and list documents.

    A client starts it and talks to it over stdin and stdout; --snippet prints how to tell it to.

    Example: rag mcp --kb notes.kb --snippet
    """
    if not http and not (host is None and port is None and token is None):
        raise errors.UsageProblem("--host, --port and --token are for a server that is reached by HTTP. Add --http.")
    configured = settings(kb=kb, service_token=token)
    host, port = host or _HOST, _PORT if port is None else port
    if snippet:
        _print_snippet(configured, f"http://{host}:{port}" if http else None)
        return
    try:
        _serve_http(configured, host, port) if http else _serve_stdio(configured)
    except KeyboardInterrupt:
        notify("Stopped.")


def _print_snippet(configured: "Settings", address: str | None) -> None:
    from rag.mcp_server.snippet import address_snippet, command_snippet
    from rag.settings import for_programs

    if address is None:
        shown = command_snippet(configured.kb, for_programs())
    else:
        shown = address_snippet(configured.kb, f"{address}/mcp", bool(configured.service_token))
    print(json.dumps(shown, indent=2))


def _serve_stdio(configured: "Settings") -> None:
    from rag.mcp_server.snippet import server_name
    from rag.web.serving import log_to_stderr

    if sys.stdin.isatty():
        notify("A program that wants the tools starts this; `rag mcp --snippet` prints how to tell it. Ctrl-C ends it.")
    log_to_stderr("rag.web")
    _require_mcp()
    from rag.mcp_server.server import KnowledgeServer

    server = KnowledgeServer(configured, server_name(configured.kb))
    try:
        server.run_stdio()
    finally:
        server.close()


def _serve_http(configured: "Settings", host: str, port: int) -> None:
    from rag.mcp_server.snippet import server_name
    from rag.web.serving import address, guarded_listener, log_to_stderr

    log_to_stderr("rag.web")
    listener = guarded_listener(host, port, configured.service_token, "rag mcp --http")
    _require_mcp()
    from rag.mcp_server.http import serve_http
    from rag.mcp_server.server import PATH, KnowledgeServer

    server = KnowledgeServer(configured, server_name(configured.kb))
    notify(f"Serving {configured.kb} on {address(listener, host)}{PATH}. Ctrl-C ends it.")
    try:
        serve_http(server, listener, host, configured.service_token)
    finally:
        server.close()


def _require_mcp() -> None:
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise errors.MissingExtra("The MCP server", "mcp")
