"""Answers in notebooks and as Markdown: sources unfold to the exact place, and documents' words stay words."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from hostile import TEXTS, answer_of, hit_of
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ingest.report import FileStatus, IngestReport, Outcome
from rag.display import printable
from rag.display_markdown import markdown_line, markdown_text
from rag.knowledge_base import KnowledgeBase
from rag.types import Answer, Cut

EMPTY_TAGS = {"br", "img", "hr", "input", "meta", "link"}  # none of ours; a parser must not wait for their end


class Page(HTMLParser):
    """The tags of a page with the names and values of their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.open: list[str] = []
        self.words: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {"page", *self.open}:
            self.words[tag] = self.words.get(tag, "") + data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl!r}")

    unknown_decl = handle_pi = handle_decl


def html_of(shown: object) -> Page:
    return Page(shown._repr_html_())  # type: ignore[attr-defined]


def test_a_source_unfolds_to_the_quote_in_its_surroundings() -> None:
    page = html_of(answer_of("The battery lasts 24 months.", "docs/manual.pdf"))
    assert page.words["summary"] == ("[1] docs/manual.pdf p. 3 verified, stale: its file changed or is gone")
    assert page.words["mark"] == "The battery lasts 24 months."
    assert page.words["blockquote"] == "before The battery lasts 24 months. after"
    assert "on the page from 1, 2 to 3, 4 points from its top left" in page.words["details"]
    assert "also in: docs/manual.pdf p. 2" in page.words["details"]


def test_long_surroundings_are_cut_between_words() -> None:
    answer = answer_of("quote")
    hit, citation = answer.hits[0], answer.citations[0]
    far = "word " * 200
    long = replace(hit, text=f"{far}quote{far}", start=0)
    shown = html_of(replace(answer, hits=(long,), citations=(replace(citation, start=1000, end=1005),)))
    assert re.fullmatch(r"…(word )+quote(word )+…", shown.words["blockquote"])
    assert len(shown.words["blockquote"]) < 700


def test_a_quote_that_no_passage_holds_is_shown_alone() -> None:
    answer = answer_of("quote")
    alone = Answer("q", answer.text, False, answer.citations, (), "m")
    assert html_of(alone).words["blockquote"] == "quote"


def test_an_abstention_shows_why_and_what_is_nearest() -> None:
    page = html_of(Answer("q", "No.", True, (), (hit_of("near words"),), "m", reason="nothing supports it"))
    assert "nothing supports it" in page.words["p"]
    assert page.words["blockquote"] == "near words"
    assert "mark" not in page.words


def test_an_answer_that_was_cut_says_so_everywhere() -> None:
    answer = replace(answer_of("words"), cut=Cut.INTERRUPTED)
    assert answer.notice in html_of(answer).words["p"]
    assert f"\n\n*{answer.notice}*\n\n" in answer.to_markdown()


PLAIN = {"answer": html_of(answer_of("plain")).tags, "hit": html_of(hit_of("plain")).tags}


@given(TEXTS, TEXTS)
def test_documents_words_make_no_tag_and_no_attribute(text: str, name: str) -> None:
    page = html_of(answer_of(text, name))
    assert page.tags == PLAIN["answer"]
    assert page.words["mark"] == printable(text)
    assert page.words["page"] == printable(page.words["page"])
    page = html_of(hit_of(text, name))
    assert page.tags == PLAIN["hit"]
    assert page.words["blockquote"] == printable(text)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    tags = [*PLAIN["answer"], *PLAIN["hit"]]
    assert {tag for tag, _ in tags} == {"div", "p", "details", "summary", "strong", "blockquote", "mark"}
    assert {name for _, attributes in tags for name, _ in attributes} == {"class", "style", "dir", "open"}
    assert not any("url" in (value or "") for _, attributes in tags for _, value in attributes)


def test_mathjax_is_kept_out_of_documents_words() -> None:
    (tag, attributes), *_ = PLAIN["answer"]
    assert (tag, dict(attributes)["class"]) == ("div", "mathjax_ignore tex2jax_ignore")


@given(TEXTS)
def test_a_report_is_a_table_of_words(text: str) -> None:
    report = IngestReport()
    report.add(Outcome(text, FileStatus.FAILED, text))
    report.add(Outcome("b", FileStatus.ADDED))
    page = html_of(report)
    assert page.words["li"] == printable(f"{text}: {text}")
    assert page.words["thead"].startswith("addedupdatedunchanged")
    assert page.words["summary"] == "1 failedevery document"
    assert page.words["tbody"].endswith(printable(f"{text}failed{text}baddedd").removesuffix("d"))


def test_the_status_of_a_knowledge_base_is_a_table(sample_kb: KnowledgeBase) -> None:
    status = sample_kb.status()
    words = html_of(status).words["table"]
    assert f"documents{status.documents}" in words
    assert status.identity.embedding_model in words


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = {"paragraph", "blockquote", "ordered_list", "list_item", "strong", "em"}


def rendered(markdown: str) -> tuple[set[str], str]:
    """The names of what a Markdown text consists of besides text, and that text, a line a line."""
    tokens = [part for token in MARKDOWN.parse(markdown) for part in [token, *(token.children or [])]]
    plain = {"inline", "text", "text_special", "softbreak", "hardbreak"}
    kinds = {re.sub("_(open|close)$", "", token.type) for token in tokens} - plain
    blocks = (token.children or [] for token in MARKDOWN.parse(markdown) if token.type == "inline")
    lines = ("".join("\n" if part.type.endswith("break") else part.content for part in block) for block in blocks)
    return kinds, "\n".join(lines)


def lines_of(text: str) -> str:
    return "\n".join(filter(None, map(str.strip, printable(text).split("\n"))))


@given(TEXTS)
def test_documents_words_are_words_in_markdown(text: str) -> None:
    shown = markdown_text(text)
    assume(shown)
    assert rendered(shown) == ({"paragraph"}, lines_of(text))
    assert rendered(markdown_line(text)) == ({"paragraph"}, " ".join(printable(text).split()))
    assert not re.search(r"(?<!\\)://|[^\W\d_]\.(?=[^\W\d_])", shown)


@given(TEXTS, st.sampled_from(["docs/a.pdf", "docs/[x](y)*.md", "docs/\n\n# <b>.md"]))
def test_an_answer_in_markdown_is_text_sources_and_quotes(text: str, name: str) -> None:
    answer = answer_of(text, name)
    kinds, words = rendered(answer.to_markdown())
    assert kinds <= OURS
    assert {"ordered_list", "strong"} <= kinds
    assert lines_of(text) in words
    assert answer._repr_markdown_() == answer.to_markdown()


def test_markdown_that_people_read() -> None:
    answer = answer_of("The battery lasts 24 months.")
    assert (
        answer.to_markdown()
        == """The battery lasts 24 months. \\[1\\]

1. **docs/manual\\.pdf p. 3 (verified, stale: its file changed or is gone)**\\
   The battery lasts 24 months.\\
   also in: docs/manual\\.pdf p. 2

   > The battery lasts 24 months.
"""
    )
    abstained = Answer("q", "No.", True, (), (), "m", reason="nothing supports it")
    assert abstained.to_markdown() == "No.\n\n*nothing supports it*\n"
