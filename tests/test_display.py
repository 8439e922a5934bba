"""What reaches a terminal: documents' words as words, sizes for people, tables that pipe."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rag.display import human_bytes, one_line, print_table, printable


@given(st.text())
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert not {"\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028"} & set(shown)


@pytest.mark.parametrize("text", ["plain", "ümläut 文字 🙂", "tab\tand\nline", "עברית"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_one_line_is_one_line_of_a_bounded_length() -> None:
    assert one_line("a\n\n  b\tc") == "a b c"
    assert one_line("word " * 100, 20) == "word word word word…"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_300_000, "2.3 MB"), (7e15, "7000.0 TB")],
)
def test_sizes(size: float | None, shown: str) -> None:
    assert human_bytes(size) == shown


def shown_by(console_width: int = 200) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=console_width, highlight=False, markup=False, emoji=False), out


def test_a_piped_table_is_tabs_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    console, _ = shown_by()
    print_table(console, ("a", "b"), [("x\ty", 1), ("new\nline", None)])
    assert capsys.readouterr().out == "x y\t1\nnew line\tNone\n"
