"""Answers on a terminal: links that a person can follow and no document can bend, statuses without colours."""

import io
import re
import tempfile
from pathlib import Path

import pytest
from hostile import TEXTS, answer_of, hit_of
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rag.display import print_table, printable
from rag.display_answer import file_uri, link_to, print_answer, print_hits
from rag.knowledge_base import KnowledgeBase
from rag.types import Answer, Citation, CitationStatus, Hit, Place, also_in

LINK = re.compile(r"\x1b\]8;id=\d+;(file://[!-:<-~]+)\x1b\\(.*?)\x1b\]8;;\x1b\\", re.DOTALL)
STYLE = re.compile(r"\x1b\[[\d;]*m")


class Terminal(io.StringIO):
    """A file that says it is a terminal, which is what rich asks."""

    def isatty(self) -> bool:
        return True


def console(out: io.StringIO, **environ: str) -> Console:
    return Console(
        file=out,
        width=200,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={"TERM": "xterm-256color", **environ},
    )


def nowhere(source: str) -> None:
    return None


def piped(answer: Answer) -> list[str]:
    out = io.StringIO()
    print_answer(console(out), answer, nowhere)
    return out.getvalue().splitlines()


def test_an_answer_with_stale_and_hostile_sources() -> None:
    citation = Citation(1, "docs/\x1b[31mred.md", 2, (), 0, 4, "[bold]quoted[/bold]\x07", CitationStatus.REPAIRED, True)
    assert piped(Answer("q", "It is so. [1]", False, (citation,), (), "m")) == [
        "It is so. [1]",
        "",
        "[1] docs/\\x1b[31mred.md p. 2 (repaired) (stale: its file changed or is gone)",
        "    “[bold]quoted[/bold]\\x07”",
    ]


def test_an_abstention_shows_why_and_what_is_nearest() -> None:
    hit = Hit("docs/a.md", "id", "", None, ("Part",), 0, 4, "near words", 1.0)
    shown = piped(Answer("q", "No.", True, (), (hit,), "m", reason="nothing supports it"))
    assert shown == ["No.", "(nothing supports it)", "Nearest passages:", "  docs/a.md: near words"]
    out = io.StringIO()
    print_hits(console(out), [hit], nowhere)
    assert out.getvalue() == "1. docs/a.md  1.00  Part\n   near words\n"


def test_where_a_passage_stands_again_is_one_line() -> None:
    again = Place("docs/\x1b[31mold\n.md", 3, 0, 4)
    out = io.StringIO()
    print_hits(console(out), [Hit("docs/a.md", "id", "", None, (), 0, 4, "words", 1.0, also=(again, again))], nowhere)
    assert out.getvalue().splitlines()[-1] == "   also in: docs/\\x1b[31mold .md p. 3"
    citation = Citation(1, "a", 1, (), 0, 1, "So", CitationStatus.VERIFIED, also=(again,))
    shown = piped(Answer("q", "So. [1]", False, (citation,), (), "m"))
    assert shown[-1] == "    also in: docs/\\x1b[31mold .md p. 3"
    assert also_in([Place(name, None, 0, 1) for name in "abcde"]) == "also in: a, b, c and 2 more"


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A file whose name would be a link, a command and a query, if names could."""
    path = tmp_path / "https:?a#b;\x1b]8;;evil\x07 ü.pdf"
    path.write_bytes(b"%PDF")
    return path


def shown_on(out: io.StringIO, pdf: Path, **environ: str) -> str:
    print_answer(console(out, **environ), answer_of("some words", f"docs/{pdf.name}"), lambda source: pdf)
    return out.getvalue()


def test_on_a_terminal_a_source_is_a_link_to_its_file_and_page(pdf: Path) -> None:
    shown = shown_on(Terminal(), pdf)
    [(uri, words)] = LINK.findall(shown)
    assert uri == file_uri(pdf, 3)
    assert uri.endswith("/https%3A%3Fa%23b%3B%1B%5D8%3B%3Bevil%07%20%C3%BC.pdf#page=3")
    assert STYLE.sub("", words) == f"docs/{printable(pdf.name)} p. 3"
    assert "\x1b[32m" in shown


def test_a_table_links_its_first_cells_and_a_hostile_name_stays_within(pdf: Path) -> None:
    out = Terminal()
    drawn = console(out)
    rows = [(f"docs/{pdf.name}", 1), ("gone.md", 2)]
    print_table(drawn, ("source", "n"), rows, link=lambda source: link_to(drawn, source, None, {rows[0][0]: pdf}.get))
    [(uri, words)] = LINK.findall(out.getvalue())
    assert uri == file_uri(pdf, None)
    assert STYLE.sub("", words) == f"docs/{printable(pdf.name)}"
    assert "\x07" not in out.getvalue()
    piped_out = io.StringIO()
    assert link_to(console(piped_out), rows[0][0], None, lambda source: pdf) is None


def test_no_color_takes_the_colours_and_leaves_links_and_statuses(pdf: Path) -> None:
    shown = shown_on(Terminal(), pdf, NO_COLOR="1")
    assert LINK.search(shown)
    assert not re.search(r"\x1b\[[\d;]*(3[0-7]|9[0-7])m", shown)
    assert "(verified)" in STYLE.sub("", shown)


@pytest.mark.parametrize(
    ("out", "environ"),
    [(io.StringIO(), {}), (io.StringIO(), {"FORCE_COLOR": "1"}), (Terminal(), {"TERM": "dumb"})],
    ids=["piped", "piped with colours", "dumb"],
)
def test_elsewhere_there_are_no_links(out: io.StringIO, environ: dict[str, str], pdf: Path) -> None:
    shown = shown_on(out, pdf, **environ)
    assert "\x1b]8" not in shown
    assert environ.get("FORCE_COLOR") or "\x1b" not in shown


@given(TEXTS, TEXTS)
def test_no_text_or_name_steers_a_terminal(text: str, name: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        for hits in (False, True):
            out = Terminal()
            if hits:
                print_hits(console(out), [hit_of(text, name)], lambda source: Path(file.name))
            else:
                print_answer(console(out), answer_of(text, name), lambda source: Path(file.name))
            plain = STYLE.sub("", LINK.sub(r"\2", out.getvalue()))
            assert plain == printable(plain)
            assert len(LINK.findall(out.getvalue())) == 1


@given(st.text(), st.integers(1, 9))
def test_no_source_name_bends_an_address(name: str, page: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "box.zip")
        inside.touch()
        uri = file_uri(inside / "x" / name, page)
        assert uri is None or uri == file_uri(inside, None)


def test_a_document_in_an_archive_is_a_link_to_the_archive_and_a_vanished_file_to_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "mail.zip"
    archive.touch()
    uri = file_uri(archive / "inner" / "a.pdf", 2)
    assert uri is not None
    assert uri.endswith("/mail.zip")
    assert file_uri(tmp_path / "gone.pdf", 1) is None


def test_the_files_of_a_real_knowledge_base_are_linked(sample_kb: KnowledgeBase) -> None:
    out = Terminal()
    print_hits(console(out), sample_kb.search("Modbus address of the Brisa", mode="words", limit=2), sample_kb.file_of)
    uris = [uri for uri, _ in LINK.findall(out.getvalue())]
    assert any(re.search(r"/manuals/brisa-4-manual\.pdf#page=\d+$", uri) for uri in uris)
