"""Tools for /api/v1/chat from MCP servers: named in the request, or installed in the engine's mcp.json.

The only door to the client side of the `mcp` package, which is optional.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from rag.engine.native_body import invalid, refuse_unknown, required_text
from rag.engine.places import places
from rag.engine.replies import Refusal, native_refusal
from rag.engine.tools import Tool
from rag.errors import MissingExtra

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import Transport

log = logging.getLogger("rag.engine")

CONNECT_SECONDS = 30.0
CALL_SECONDS = 300.0

_EPHEMERAL_KEYS = frozenset({"type", "server_label", "server_url", "allowed_tools", "headers"})
_PLUGIN_KEYS = frozenset({"type", "id", "allowed_tools"})
_PLUGIN = "mcp/"


@dataclass(frozen=True, slots=True)
class Integration:
    """One MCP server that a request wants to use."""

    label: str
    url: str | None
    """None where it is one of mcp.json."""
    headers: dict[str, str] = field(default_factory=dict)
    allowed_tools: frozenset[str] | None = None

    @property
    def provider_info(self) -> dict[str, str]:
        """How answers name the server."""
        if self.url is None:
            return {"type": "plugin", "plugin_id": _PLUGIN + self.label}
        return {"type": "ephemeral_mcp", "server_label": self.label}


class InvalidArguments(Exception):
    """The tool's server does not accept the arguments."""


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A tool that the model may call, and the server that has it."""

    shown: Tool
    provider_info: dict[str, str]
    name: str
    """As its server knows it."""
    client: "Client"

    async def call(self, arguments: dict[str, Any]) -> str:
        """Return the tool's content blocks as JSON, also where it reports an error of its own.

        Raises InvalidArguments, where they do not keep to the tool's schema without asking its server.
        """
        from mcp import MCPError
        from mcp.types import INVALID_PARAMS

        if problem := _schema_problem(self.shown.parameters, arguments):
            raise InvalidArguments(problem)
        try:
            result = await self.client.call_tool(self.name, arguments, read_timeout_seconds=CALL_SECONDS)
        except MCPError as exc:
            if exc.code == INVALID_PARAMS:
                raise InvalidArguments(str(exc)) from exc
            return _written([{"type": "text", "text": f"Error: {exc}"}])
        except RuntimeError as exc:  # its answer does not keep to the tool's own output schema
            return _written([{"type": "text", "text": f"Error: {exc}"}])
        return _written([block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content])


def _schema_problem(schema: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    """Return what the schema has against the arguments; a schema that cannot be read has nothing."""
    from jsonschema import Draft202012Validator  # comes with mcp
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
        # With a registry of its own it asks no server for what a schema refers to.
        error = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(arguments))
    except (SchemaError, Unresolvable) as exc:
        log.warning("MCP: a tool's schema cannot be read: %s", exc)
        return None
    return None if error is None else f"Invalid arguments: {error.message}"


def _written(blocks: list[dict[str, Any]]) -> str:
    return json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))


def mcp_file() -> Path:
    """Return where the engine's MCP servers are installed: mcp.json in its state folder, in LM Studio's format."""
    return places(0).folder / "mcp.json"


def read_integrations(given: Any) -> tuple[Integration, ...]:
    """Return the integrations of a request. Raises Refusal."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise invalid("integrations", "an array")
    return tuple(_integration(item, f"integrations[{place}].") for place, item in enumerate(given))


def _integration(item: Any, where: str) -> Integration:
    if isinstance(item, str):
        return Integration(_plugin_label(item), None)
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "plugin":
        refuse_unknown(item, _PLUGIN_KEYS, "integrations")
        return Integration(_plugin_label(required_text(item, "id", where)), None, {}, _allowed(item, where))
    if kind != "ephemeral_mcp":
        message = f"'{where}type' must be 'plugin' or 'ephemeral_mcp'"
        raise native_refusal(400, "invalid_request", message, "invalid_union", "integrations")
    refuse_unknown(item, _EPHEMERAL_KEYS, "integrations")
    label = required_text(item, "server_label", where)
    url = required_text(item, "server_url", where)
    if not url.startswith(("http://", "https://")):
        raise invalid(f"{where}server_url", "an http or https address")
    headers = item.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise invalid(f"{where}headers", "an object of strings")
    return Integration(label, url, headers, _allowed(item, where))


def _plugin_label(plugin_id: str) -> str:
    if not plugin_id.startswith(_PLUGIN):
        message = f"No plugin '{plugin_id}'. Plugins here are the MCP servers of {mcp_file()}, named 'mcp/<label>'."
        raise native_refusal(400, "invalid_request", message, "invalid_value", "integrations")
    return plugin_id.removeprefix(_PLUGIN)


def _allowed(item: dict[str, Any], where: str) -> frozenset[str] | None:
    names = item.get("allowed_tools")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid(f"{where}allowed_tools", "an array of strings")
    return frozenset(names)


@asynccontextmanager
async def toolbox(integrations: tuple[Integration, ...]) -> AsyncIterator[dict[str, ServerTool]]:
    """Connect to the servers and give their tools by the name that the model sees; disconnect at the end.

    Enter and leave it in one task, and let nothing but a cancellation pass through it: the package's task groups wrap
    whatever does. Raises Refusal where a server cannot be reached.
    """
    tools: dict[str, ServerTool] = {}
    used = False
    if not integrations:
        yield tools
        return
    _require_mcp()
    try:
        async with AsyncExitStack() as stack:
            for integration in integrations:
                await _add_tools(stack, integration, tools)
            yield tools
            used = True
    except ExceptionGroup as group:
        if used:
            log.warning("MCP: disconnecting failed: %s", group)
            return
        names = ", ".join(integration.label for integration in integrations)
        raise _unreachable(names, group) from group


async def _add_tools(stack: AsyncExitStack, integration: Integration, tools: dict[str, ServerTool]) -> None:
    from mcp import Client, MCPError

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await stack.enter_async_context(Client(await _transport(stack, integration)))
            cursor: str | None = None
            while True:
                page = await client.list_tools(cursor=cursor)
                for tool in page.tools:
                    if integration.allowed_tools is None or tool.name in integration.allowed_tools:
                        name = tool.name if tool.name not in tools else f"{integration.label}_{tool.name}"
                        shown = Tool(name, tool.description, tool.input_schema)
                        tools[name] = ServerTool(shown, integration.provider_info, tool.name, client)
                cursor = page.next_cursor
                if cursor is None:
                    return
    except (OSError, ValueError, RuntimeError, MCPError, httpx2.HTTPError, ExceptionGroup) as exc:
        raise _unreachable(integration.label, exc) from exc


async def _transport(stack: AsyncExitStack, integration: Integration) -> "Transport":
    from mcp import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client

    url, headers = integration.url, integration.headers
    entry = _installed(integration.label) if url is None else {}
    if url is None and isinstance(entry.get("url"), str):
        url, headers = entry["url"], entry.get("headers") or {}
    if url is not None:
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=CALL_SECONDS)
        client = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=timeout))
        return streamable_http_client(url, http_client=client)
    try:
        return stdio_client(
            StdioServerParameters(command=entry["command"], args=entry.get("args") or [], env=entry.get("env"))
        )
    except (KeyError, ValueError) as exc:
        message = f"MCP server '{integration.label}' in {mcp_file()} needs a 'command' or a 'url': {exc}"
        raise native_refusal(500, "plugin_connection_error", message, param="integrations") from exc


def _installed(label: str) -> dict[str, Any]:
    path = mcp_file()
    try:
        servers = json.loads(path.read_text(encoding="utf-8"))["mcpServers"]
        entry = servers.get(label)
    except FileNotFoundError:
        entry = None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        message = f'{path} cannot be read: {exc!r}. It must hold {{"mcpServers": {{name: {{…}}}}}}.'
        raise native_refusal(500, "plugin_connection_error", message, param="integrations") from exc
    if not isinstance(entry, dict):
        message = f"No MCP server '{label}' in {path}."
        raise native_refusal(400, "invalid_request", message, "invalid_value", "integrations")
    return entry


def _require_mcp() -> None:
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise native_refusal(501, "not_implemented", str(MissingExtra("The package mcp", "mcp")), param="integrations")


def _unreachable(label: str, exc: Exception) -> Refusal:
    reasons = [f"{type(one).__name__}: {one}" for one in _leaves(exc)]
    log.error("MCP server %s: %s", label, "; ".join(reasons))
    message = f"Could not use the MCP server '{label}'. {'; '.join(reasons)}"
    return native_refusal(502, "mcp_connection_error", message, param="integrations")


def _leaves(exc: Exception) -> list[Exception]:
    if isinstance(exc, ExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in _leaves(inner)]
    return [exc]
