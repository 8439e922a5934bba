"""The MCP server over real HTTP, asked by the official client."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from app_thread import running
from mcp import Client
from mcp.types import CallToolResult

from rag.mcp_server.http import guarded
from rag.mcp_server.server import PATH, KnowledgeServer
from rag.settings import Settings


@contextmanager
def mcp_server(settings: Settings, token: str | None = None) -> Iterator[str]:
    """The address of a server in a thread."""
    server = KnowledgeServer(settings, "rag-notes")
    app = guarded(server.http_app(), "127.0.0.1", token)
    with closing(server), running(app, timeout_graceful_shutdown=1) as port:
        yield f"http://127.0.0.1:{port}{PATH}"


def call(server: Any, tool: str, *, mode: Any = "auto", told: list[str] | None = None, **arguments: Any) -> Any:
    """What a tool returns to a client of its own; what it tells of its progress goes into `told`."""

    async def hear(_: float, __: float | None, message: str | None) -> None:
        assert told is not None
        told.append(message or "")

    async def called() -> CallToolResult:
        async with Client(server, mode=mode) as client:
            return await client.call_tool(tool, arguments, progress_callback=None if told is None else hear)

    return asyncio.run(called())


def shown(result: CallToolResult) -> str:
    """The text that a model reads."""
    (block,) = result.content
    assert block.type == "text"
    return block.text
