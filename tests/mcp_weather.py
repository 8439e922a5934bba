"""An MCP server for tests, on the official package: `python mcp_weather.py stdio`, or `http PORT KEY`."""

import os
import sys
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def weather(city: str, days: int = 1) -> str:
    """Say how the weather will be."""
    return f"{city}: sunny for {days} days, as {os.environ.get('FORECASTER', 'nobody')} says"


@server.tool()
def broken() -> str:
    """Always fail."""
    raise ValueError("the barometer has fallen")


@server.tool()
def die() -> str:
    """End the server in the middle of a call."""
    os._exit(1)


def main() -> None:
    if sys.argv[1] == "stdio":
        server.run("stdio")
        return
    inner = server.streamable_http_app()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"x-key") != sys.argv[3].encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})
            return
        await inner(scope, receive, send)

    uvicorn.run(guarded, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")


main()
