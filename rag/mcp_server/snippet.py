"""What a client's configuration says of the server: LM Studio's mcp.json, and all others of its form."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.location import Location


def server_name(kb: Location) -> str:
    """What clients call the server: `rag-notes` for notes.kb, and for `.rag` by the folder that it lies in."""
    path = kb.absolute() if isinstance(kb, Path) else Path(kb.name)
    name = path.parent.name if path.name.startswith(".") else path.stem
    return f"rag-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'documents'}"


def command_snippet(kb: Location, environment: Mapping[str, str]) -> dict[str, Any]:
    """For a client that starts the server: with this Python, wherever the client stands and whatever its PATH is.

    `-P` keeps Python from taking a folder `rag` where the client stands for us.
    """
    entry: dict[str, Any] = {
        "command": sys.executable,
        "args": ["-P", "-m", "rag", "mcp", "--kb", str(kb.absolute() if isinstance(kb, Path) else kb)],
    }
    return _servers(kb, {**entry, "env": dict(environment)} if environment else entry)


def address_snippet(kb: Location, address: str, token: bool) -> dict[str, Any]:
    """For a client that finds the server running at an address. The token itself is left to be filled in."""
    entry: dict[str, Any] = {"url": address}
    return _servers(kb, {**entry, "headers": {"Authorization": "Bearer YOUR-TOKEN"}} if token else entry)


def _servers(kb: Location, entry: dict[str, Any]) -> dict[str, Any]:
    return {"mcpServers": {server_name(kb): entry}}
