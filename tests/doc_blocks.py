"""The code blocks of the documentation, and how a reader would try them.

A fence names its language. `console` is run: each line behind `$ `, in a prepared folder; the lines below it are what
it prints, with `…` for anything. `python` is run too. `console not-run: REASON` says why it cannot be run here; its
commands and options must exist all the same. `json`, `toml`, `yaml` and `text` are shown.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ingest.cli import app as ingest_app
from rag.cli.app import app as rag_app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {"rag": typer.main.get_command(rag_app), "ingest": typer.main.get_command(ingest_app)}
LANGUAGES = {"console", "python", "json", "toml", "yaml", "text"}
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = "not-run: "


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, why it is not run, "" where it is, its text and its line in the page."""

    page: Path
    line: int
    language: str
    not_run: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it, what is typed into it, and what it prints; None where nothing is shown."""

    line: str
    typed: str
    printed: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language, _, word = match[1].strip().partition(" ")
        assert not word or (word.startswith(_NOT_RUN) and word != _NOT_RUN), f"{page.name}: what is ```{match[1]}?"
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language, word.removeprefix(_NOT_RUN), match[2]))
    return found


def shown_commands(block: Block) -> list[Shown]:
    """The commands of a `console` block."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"{block}: a block begins with a command"
            found[-1][1].append(line)
    return [
        Shown(
            line,
            "".join(f"{one[2:]}\n" for one in below if one.startswith("> ")),
            "\n".join(below).strip() if any(below) else None,
        )
        for line, below in found
    ]


def stages(line: str) -> list[list[str]]:
    """The words of each command of a pipeline, without the comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    pipeline: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            pipeline.append([])
        else:
            pipeline[-1].append(word)
    return pipeline


def parse(command: Any, arguments: list[str], name: str) -> None:
    """Raise TyperException for what does not parse, AssertionError for a command that is not there."""
    context = command.context_class(command, info_name=name)
    if isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        two = " ".join(arguments[:2])
        length = 2 if two in command.commands else 1
        found = command.get_command(context, " ".join(arguments[:length]))
        assert found is not None, f"{name} {arguments[0]}: no such command"
        parse(found, arguments[length:], f"{name} {' '.join(arguments[:length])}")
    elif any(word.endswith("-completion") for word in arguments):  # which would be done while it is parsed
        command.make_parser(context).parse_args(list(arguments))
    else:
        command.make_context(name, list(arguments))


def matches(printed: str, shown: str) -> bool:
    """Whether what was printed is what is shown, where `…` is anything."""
    pattern = ".*?".join(map(re.escape, shown.split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
