"""What the documentation shows: its commands and options exist, its links lead somewhere, its Python is Python."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from ingest.cli import app as ingest_app
from rag.cli.app import app as rag_app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {"rag": typer.main.get_command(rag_app), "ingest": typer.main.get_command(ingest_app)}
ids = [page.name for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shown_commands(page: Path) -> list[list[str]]:
    """Each `$ rag …` and `$ ingest …`, without its comment, also behind a pipe."""
    lines = [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    words = [shlex.split(part, comments=True) for line in lines for part in re.split(r" \| ", line)]
    return [one for one in words if one and one[0] in COMMANDS]


def parse(command: Any, arguments: list[str], name: str) -> None:
    """Raise TyperException for an option that is not there, AssertionError for a command."""
    context = command.context_class(command, info_name=name)
    if isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context, arguments[0])
        assert found is not None, f"{name} {arguments[0]}: no such command"
        parse(found, arguments[1:], f"{name} {arguments[0]}")
    else:
        command.make_parser(context).parse_args(list(arguments))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_and_options_exist(page: Path) -> None:
    for name, *arguments in shown_commands(page):
        parse(COMMANDS[name], arguments, name)


def test_an_option_that_is_gone_is_noticed() -> None:
    with pytest.raises(TyperException):
        parse(COMMANDS["rag"], ["ask", "x", "--no-such-option"], "rag")
    assert sum(len(shown_commands(page)) for page in PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    group = COMMANDS["rag"]
    assert isinstance(group, TyperGroup)
    named = set(re.findall(r"`([a-z]+)\b", readme)) | set(re.findall(r"rag ([a-z]+)", readme))
    assert {name.split()[0] for name, one in group.commands.items() if not one.hidden} <= named
