"""Write docs/commands.md out of what the commands say of themselves: `make docs`."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ingest.cli import app as ingest_app
from rag.cli.app import app as rag_app
from rag.settings import ENVIRONMENT, Settings

PAGE = Path(__file__).with_name("commands.md")
_HEAD = """# Commands and settings

What `--help` says, and every setting; `make docs` writes this page, and a test fails while it is not up to date.
"""
_SETTINGS = """
## Settings

Arguments come first, then the environment, then `config.toml` in your configuration folder (`rag config path` says
where) or the file that `RAG_CONFIG` names, then defaults. `rag config show` tells each value and where it comes from.
What is unknown is refused, also a variable that begins with `RAG_`.

| variable | in the file | default | |
| --- | --- | --- | --- |
"""
_PLACES = """
`RAG_STATE_DIR` moves conversations and the small notes about running engines, `RAG_ENGINE_MODELS` the engine's model
files.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with its whole name, groups before what is in them."""
    for name, app in (("ingest", ingest_app), ("rag", rag_app)):
        yield from _below(name, typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    if isinstance(command, TyperGroup):
        for below, one in command.commands.items():
            if not one.hidden:
                yield from _below(f"{name} {below}", one)


def help_of(name: str, command: Any, width: int = 100) -> str:
    """What `--help` says on a terminal of so many columns."""
    context = command.context_class(command, info_name=name, terminal_width=width, max_content_width=width)
    lines = command.get_help(context).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def page() -> str:
    """The whole page."""
    helps = (f"\n## {name}\n\n```text\n{help_of(name, command)}\n```\n" for name, command in commands())
    rows = (
        f"| {', '.join(f'`{one}`' for one in ENVIRONMENT[f.name])} | `{f.name}` | {_default(f.default)} "
        f"| {f.metadata['about']}{f' ({unit})' if (unit := f.metadata['unit']) else ''} |\n"
        for f in fields(Settings)
    )
    return "".join([_HEAD, *helps, _SETTINGS, *rows, _PLACES])


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
