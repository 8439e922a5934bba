"""What the documentation shows: its commands and options exist, its links lead somewhere, its blocks are sound."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from doc_blocks import COMMANDS, LANGUAGES, PAGES, ROOT, blocks, matches, parse, shown_commands, stages
from typer.core import TyperGroup
from typer.exceptions import TyperException

from rag.cli.demo import QUESTIONS

ids = [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_and_options_exist(page: Path) -> None:
    """Also those of blocks that are not run; tests/test_docs_run.py runs the others."""
    for block in blocks(page):
        if block.language == "console":
            for shown in shown_commands(block):
                for words in stages(shown.line):
                    while words and "=" in words[0]:
                        words = words[1:]  # a variable before a command
                    if words[0] in COMMANDS:
                        parse(COMMANDS[words[0]], words[1:], words[0])


def test_an_option_that_is_gone_is_noticed() -> None:
    with pytest.raises(TyperException):
        parse(COMMANDS["rag"], ["ask", "x", "--no-such-option"], "rag")


def test_what_is_not_run_is_the_exception_and_says_why() -> None:
    every = [block for page in PAGES for block in blocks(page) if block.language in ("console", "python")]
    left_out = [block for block in every if block.not_run]
    assert 2 * len(left_out) < len(every)
    for block in left_out:
        assert len(block.not_run) > 10, f"{block}: why?"
        for named in re.findall(r"(?:tests/|\.ci/)[\w.]+", block.not_run):
            assert (ROOT / named).exists(), f"{block}: there is no {named}"


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("1 added\n", "1 added", True),
        ("2 added\n", "1 added", False),
        ("1 added, 3 s\n", "1 added, …", True),
        ("a\nb\nc\n", "a\n…\nc", True),
        ("a\nb\nd\n", "a\n…\nc", False),
    ],
)
def test_output_is_compared_but_for_an_ellipsis(printed: str, shown: str, same: bool) -> None:
    assert matches(printed, shown) is same


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_blocks_are_what_their_fence_says(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: {block.language!r} is none of {LANGUAGES}"
        if block.language == "python":
            compile(block.text, str(block), "exec")
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    group = COMMANDS["rag"]
    assert isinstance(group, TyperGroup)
    named = set(re.findall(r"`([a-z]+)\b", readme)) | set(re.findall(r"rag ([a-z]+)", readme))
    assert {name.split()[0] for name, one in group.commands.items() if not one.hidden} <= named


def test_the_readme_shows_the_questions_of_the_demo() -> None:
    (shown,) = [block for block in blocks(ROOT / "README.md") if block.language == "text"]
    assert tuple(re.findall(r"^> (.*)$", shown.text, re.MULTILINE)) == QUESTIONS


def test_every_page_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"(docs/{page.name})" in readme for page in PAGES if page.parent.name == "docs")
