"""What reaches a terminal: documents' words as words, sizes for people, tables that pipe."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rag.display import also_in, human_bytes, one_line, print_answer, print_hits, print_table, printable
from rag.types import Answer, Citation, CitationStatus, Hit, Place


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


def test_an_answer_with_stale_and_hostile_sources() -> None:
    console, out = shown_by()
    citation = Citation(1, "docs/\x1b[31mred.md", 2, (), 0, 4, "[bold]quoted[/bold]\x07", CitationStatus.REPAIRED, True)
    print_answer(console, Answer("q", "It is so. [1]", False, (citation,), (), "m"))
    assert out.getvalue().splitlines() == [
        "It is so. [1]",
        "",
        "[1] docs/\\x1b[31mred.md p. 2 (repaired) (changed since it was indexed)",
        "    “[bold]quoted[/bold]\\x07”",
    ]


def test_an_abstention_shows_why_and_what_is_nearest() -> None:
    console, out = shown_by()
    hit = Hit("docs/a.md", "id", "", None, ("Part",), 0, 4, "near words", 1.0)
    print_answer(console, Answer("q", "No.", True, (), (hit,), "m", reason="nothing supports it"))
    assert out.getvalue() == "No.\n(nothing supports it)\nNearest passages:\n  docs/a.md: near words\n"
    print_hits(console, [hit])
    assert out.getvalue().endswith("1. docs/a.md  1.00  Part\n   near words\n")


def test_where_a_passage_stands_again_is_one_line() -> None:
    console, out = shown_by()
    again = Place("docs/\x1b[31mold\n.md", 3, 0, 4)
    print_hits(console, [Hit("docs/a.md", "id", "", None, (), 0, 4, "words", 1.0, also=(again, again))])
    assert out.getvalue().splitlines()[-1] == "   also in: docs/\\x1b[31mold .md p. 3"
    print_answer(
        console,
        Answer(
            "q",
            "So. [1]",
            False,
            (Citation(1, "a", 1, (), 0, 1, "So", CitationStatus.VERIFIED, also=(again,)),),
            (),
            "m",
        ),
    )
    assert out.getvalue().splitlines()[-1] == "    also in: docs/\\x1b[31mold .md p. 3"
    assert also_in([Place(name, None, 0, 1) for name in "abcde"]) == "also in: a, b, c and 2 more"


def test_a_piped_table_is_tabs_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    console, _ = shown_by()
    print_table(console, ("a", "b"), [("x\ty", 1), ("new\nline", None)])
    assert capsys.readouterr().out == "x y\t1\nnew line\tNone\n"
