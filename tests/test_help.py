"""Every command teaches: its `--help` has an example on a line of its own, and each example is one that parses."""

import shutil
from pathlib import Path

import pytest
from doc_blocks import COMMANDS, parse, stages
from docs_page import PAGE, commands, help_of, page
from typer.exceptions import TyperException

ALL = dict(commands())
SAMPLE = Path(__file__).parents[1] / "data"


def examples(name: str) -> list[str]:
    """The examples in a command's help, as a terminal of 80 columns shows them."""
    lines = help_of(name, ALL[name], width=80).splitlines()
    return [line.strip().removeprefix("Example: ") for line in lines if line.strip().startswith("Example: ")]


def test_the_tree_is_walked_whole() -> None:
    assert {"ingest", "rag", "rag ask", "rag eval make", "rag engine tokens revoke", "rag config show"} <= set(ALL)
    assert len(ALL) > 35


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_that_parses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLE / "questions.jsonl", tmp_path)
    (tmp_path / "prices.json").write_text("{}")
    shown = examples(name)
    assert shown, f"{name} has no example"
    for example in shown:
        (words,) = stages(example)
        assert words[: len(name.split())] == name.split() or len(shown) > 1, f"{name} shows another: {example}"
        parse(COMMANDS[words[0]], words[1:], words[0])


def test_an_example_that_does_not_parse_is_noticed() -> None:
    for wrong in ("rag ask", "rag ask x --limit many", "rag models load x --no-such", "rag nonsense"):
        (words,) = stages(wrong)
        with pytest.raises((AssertionError, TyperException)):
            parse(COMMANDS[words[0]], words[1:], words[0])


def test_the_page_of_commands_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "Write it anew: make docs"
