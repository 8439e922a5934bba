"""Filters: the language, what its comparisons mean, path globs, and searches within what they select."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_cli import run

import rag.store.within as within
from rag.errors import UsageProblem
from rag.knowledge_base import KnowledgeBase
from rag.search.paths import path_test
from rag.search.select import Selection, chunk_test, select
from rag.search.where import And, Comparison, Condition, Not, Operator, Or, all_of, parse
from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.search import Found, by_vector, by_words
from rag.store.tables import Store
from rag.store.upkeep import tidy
from rag.store.write import NewVersion, Writer
from rag.types import Chunk

TODAY = datetime.date(2026, 11, 21)


def comparisons(fields: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[Condition]:
    """Comparisons with each operator."""
    one = st.builds(
        Comparison, fields, st.sampled_from([each for each in Operator if each is not Operator.IN]), st.tuples(values)
    )
    several = st.builds(Comparison, fields, st.just(Operator.IN), st.lists(values, min_size=1, max_size=3).map(tuple))
    return one | several


def trees(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    """Conditions of some comparisons."""
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Not, inner)
            | st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
            | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
        ),
        max_leaves=6,
    )


MARKS = st.lists(st.sampled_from("a = 'b' ( ) and or not in contains , 7 days ago".split())).map(" ".join)


@given(st.text() | st.text(alphabet="ab=<>!()'\"\\, \n") | MARKS)
@example("a = 7")
@example("(" * 2000)
@example("not " * 2000 + "a = b")
def test_any_text_is_a_filter_or_a_usage_problem(text: str) -> None:
    try:
        condition = parse(text)
    except UsageProblem:
        return
    assert parse(str(condition)) == condition


@given(trees(comparisons(st.text(), st.text())))
def test_a_tree_comes_back_from_its_text(condition: Condition) -> None:
    assert parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("format = pdf and indexed > 2026-01-01", '(format = "pdf") and (indexed > "2026-01-01")'),
        ("a=1 or b=2 and not c=3", '(a = "1") or ((b = "2") and (not (c = "3")))'),
        ("(a=1 or b=2) and c=3", '((a = "1") or (b = "2")) and (c = "3")'),
        ('headings CONTAINS "Safety"', 'headings contains "Safety"'),
        ("""author in ("Ann", 'Bob', Cy)""", 'author in ("Ann", "Bob", "Cy")'),
        ('not source like "drafts/*"', 'not (source like "drafts/*")'),
        ("source not like drafts/*", 'not (source like "drafts/*")'),
        ("meta.author == 'it\\'s'", 'meta.author = "it\'s"'),
        ("modified >= 7 days ago", 'modified >= "7 days ago"'),
        ('"or" = "\\\\"', '"or" = "\\\\"'),
    ],
)
def test_what_people_write(text: str, same: str) -> None:
    assert str(parse(text)) == same


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("format =", 8, "a value must stand here"),
        ("format is pdf", 7, "one of =, !="),
        ("author = Ann Smith", 13, "needs quotes"),
        ("author in Ann", 10, "`(` must stand here"),
        ("(a = b", 6, "`)` must stand here"),
        ("a = 'b", 4, "quote is not closed"),
        ("a = and", 4, "'and' itself needs quotes"),
        ("a ! b", 2, "'!' means nothing here"),
        ("", 0, "the name of a field"),
        ("a = b\n and \x1b c", 13, "one of"),
    ],
)
def test_an_error_marks_the_place(text: str, at: int, words: str) -> None:
    with pytest.raises(UsageProblem) as raised:
        parse(text)
    message, shown, mark = str(raised.value).split("\n")
    assert words in message
    assert mark.index("^") - 2 == at
    assert shown.isprintable()


def test_several_filters_are_one() -> None:
    assert all_of([]) == ""
    assert parse(all_of(["a = 1 or b = 2", "c = 3"])) == And((parse("a = 1 or b = 2"), parse("c = 3")))
    with pytest.raises(UsageProblem):
        all_of(["a = 1) or (b = 2", "c = 3"])


def row(source: str, **values: Any) -> DocumentRow:
    blank = DocumentRow(digest(source), source, "docs", "", 0, 0, "r", "", "text", "ok", "", 1, 0)
    return replace(blank, **values)


def stamp(*when: int) -> int:
    return int(datetime.datetime(*when).timestamp())  # type: ignore[arg-type]  # noqa: DTZ001


ROWS = [
    row("docs/a.pdf", parser="pdf", size=1500, indexed_at=stamp(2026, 1, 1, 12), metadata={"Author": "Ann", "n": "9"}),
    row("docs/b.md", parser="markdown", title="The Plan", size=10, indexed_at=stamp(2026, 11, 21, 8)),
    row("docs/c.md", parser="markdown", status="failed", metadata={"author": "Bob", "n": "10", "date": "2025-06-01"}),
    row("mail/d.eml", root="mail", parser="mail", indexed_at=stamp(2026, 11, 14, 23), mtime_ns=2**62),
    row("mail/e", root="mail", parser="record", metadata={"n": "many", "date": "2025-06-02T10:00:00+00:00"}),
]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("format = PDF", "a"),
        ("format in (md, eml)", "bcd"),
        ("format = markdown and format = md", "bc"),
        ("format != md", "ade"),
        ("root = mail or title contains plan", "bde"),
        ("not source like 'docs/*'", "de"),
        ("source not in ('docs/a.pdf', 'DOCS/B.md')", "cde"),
        ("status = failed", "c"),
        ("size > 1kB", "a"),
        ("size <= '1.5 kB' and size > 0", "ab"),
        ("indexed = 2026-01-01", "a"),
        ("indexed > 2026-01-01", "bd"),
        ("indexed >= 2026-01-01T12:00", "abd"),
        ("indexed = 2026", "abd"),
        ("indexed = 2026-11", "bd"),
        ("indexed < 2025-12", "ce"),
        ("indexed = today", "b"),
        ("indexed >= 7 days ago", "bd"),
        ("indexed > 7 days ago", "b"),
        ("indexed = '1 month ago'", ""),
        ("modified > 2100", "d"),
        ("author = ann", "a"),
        ("meta.AUTHOR in (ann, bob)", "ac"),
        ("author != ann", "bcde"),
        ("not author < b", "bcde"),
        ("n > 9", "ce"),
        ("n <= 9.0", "a"),
        ("date = 2025-06", "ce"),
        ("date > 2025-06-01", "e"),
        ("parser like 'm*' and not (title = '' or status = failed)", "b"),
    ],
)
def test_what_a_filter_selects(where: str, names: str) -> None:
    found = select(ROWS, where, today=TODAY)
    assert found is not None
    assert "".join(each.source.split("/")[1][0] for each in ROWS if each.id in found.documents) == names
    assert set(found.documents.values()) <= {None}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("autor = Ann", "no field 'autor'. The fields are source, root, format"),
        ("autor = Ann", "the metadata here: author, date, n."),
        ("indexed > soon", "'soon' is not a date such as 2026-01-31"),
        ("indexed = 2026-02-30", "is not a date"),
        ("size > big", "is not a size"),
        ("page contains 3", "is compared by ="),
        ("page = iv", "is not a number"),
        ("headings < b", "is compared by ="),
        ("format > b", "is compared by ="),
    ],
)
def test_a_comparison_that_has_no_meaning(where: str, words: str) -> None:
    with pytest.raises(UsageProblem, match=words.replace(".", r"\.")):
        select(ROWS, where)


@pytest.mark.parametrize(
    ("patterns", "sources"),
    [
        (["*.pdf"], "docs/a.pdf docs/reports/2025/q3.pdf"),
        (["reports/**/*.pdf"], "docs/reports/2025/q3.pdf"),
        (["docs/**/*.PDF"], "docs/a.pdf docs/reports/2025/q3.pdf"),
        (["/reports/*.md"], "docs/reports/x.md"),
        (["reports"], "docs/reports/2025/q3.pdf docs/reports/x.md"),
        (["docs/reports/**"], "docs/reports/2025/q3.pdf docs/reports/x.md"),
        (["!reports/"], "docs/a.pdf mail/x.eml"),
        (["a.pdf/"], ""),
        (["docs", "!**/*.pdf"], "docs/reports/x.md"),
        (["mail", "re?orts/[x]*"], "docs/reports/x.md mail/x.eml"),
        (["*/x.*"], "docs/reports/x.md mail/x.eml"),
        (["**"], "docs/a.pdf docs/reports/2025/q3.pdf docs/reports/x.md mail/x.eml"),
        ([], "docs/a.pdf docs/reports/2025/q3.pdf docs/reports/x.md mail/x.eml"),
    ],
)
def test_paths_are_globs(patterns: list[str], sources: str) -> None:
    everything = ["docs/a.pdf", "docs/reports/2025/q3.pdf", "docs/reports/x.md", "mail/x.eml"]
    assert " ".join(filter(path_test(patterns), everything)) == sources


def test_a_hostile_glob_costs_no_more_than_a_plain_one() -> None:
    assert not path_test(["**/a/" * 30 + "b"])("a/" * 500 + "c")
    assert not path_test(["*a" * 30 + "b"])("a" * 5000)


@pytest.mark.parametrize("pattern", ["", "!", "/", "./"])
def test_a_pattern_of_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageProblem, match="is no pattern"):
        path_test([pattern])


WORDS = "battery cable warranty mast clamp torque".split()
HEADINGS = ["Safety", "Part, [one]", "Übung", "safety notes", ""]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty documents with made-up vectors: some chunks are not indexed yet, some are a crash's leavings."""
    random = np.random.default_rng(5)
    made = Store.create(
        tmp_path_factory.mktemp("within") / "kb", Identity("test", "Q8_0", 4, "", "", 200), [[1.0, 0.0, 0.0, 0.0]]
    )
    versions = [_version(f"docs/{number}.md", random) for number in range(40)]
    writer = Writer(made)
    writer.put(versions[:25])
    tidy(made)
    writer.put(versions[25:])
    stale = {**made.chunk_rows(versions[0].row.id)[0], "revision": "of a crash", "vector": [1.0, 0.0, 0.0, 0.0]}
    made.chunks_table.add([stale] * 3)
    return made


def _version(source: str, random: np.random.Generator) -> NewVersion:
    chunks, at = [], 0
    for ordinal in range(random.integers(1, 6)):
        text = " ".join(random.choice(WORDS, random.integers(1, 12)))
        headings = tuple(random.choice(HEADINGS, random.integers(0, 3)))
        chunks.append(Chunk(ordinal, text, at, at + len(text), int(random.integers(0, 4)) or None, headings, ""))
        at += len(text) + 1
    text = "\n".join(chunk.text for chunk in chunks)
    vectors = random.normal(size=(len(chunks), 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return NewVersion(row(source, revision=revision_of(text, chunks)), text, chunks, vectors.astype(np.float32))


RESIDUALS = trees(
    comparisons(st.just("headings"), st.sampled_from([*HEADINGS, "SAFE", "]", "*y"])).filter(
        lambda each: (
            isinstance(each, Comparison)
            and each.operator in (Operator.EQUAL, Operator.UNEQUAL, Operator.CONTAINS, Operator.LIKE, Operator.IN)
        )
    )
    | comparisons(st.just("page"), st.sampled_from(["1", "2", "3", "2.5"])).filter(
        lambda each: isinstance(each, Comparison) and each.operator not in (Operator.CONTAINS, Operator.LIKE)
    )
)


@settings(deadline=None, max_examples=60)
@given(
    chosen=st.sets(st.integers(0, 39)),
    residuals=st.lists(st.none() | RESIDUALS, min_size=1, max_size=2),
    limit=st.integers(1, 60),
    most=st.sampled_from([0, within.MOST_NAMES]),
    direction=st.integers(0, 10),
)
def test_the_best_of_a_selection_are_found_all_of_them(
    store: Store, chosen: set[int], residuals: list[Condition | None], limit: int, most: int, direction: int
) -> None:
    ids = {digest(f"docs/{number}.md"): residuals[number % len(residuals)] for number in chosen}
    everything = 1000
    vector = np.random.default_rng(direction).normal(size=4).astype(np.float32)
    vector /= np.linalg.norm(vector)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(within, "MOST_NAMES", most)
        # Lance sums a cosine in float32 in another order where it filters; near 0 rounding is most of what is left.
        for found, without in (
            (by_vector(store, vector, limit, Selection(ids)), by_vector(store, vector, everything)),
            (
                by_words(store, "the cable mast", limit, Selection(ids), vector),
                by_words(store, "the cable mast", everything, vector=vector),
            ),
        ):
            best = [each for each in without if each.document_id in ids and _kept(ids[each.document_id], each)]
            assert [each.score for each in found] == pytest.approx([each.score for each in best[:limit]], abs=1e-7)
            cosines = {each.id: each.similarity for each in best}
            assert {each.id: each.similarity for each in found} == pytest.approx(
                {each.id: cosines[each.id] for each in found}, abs=1e-7
            )
            assert len({each.id for each in found}) == len(found)


MIXED = trees(
    RESIDUALS | st.sampled_from([parse("format = md"), parse("status = failed"), parse("author = ann"), parse("n > 9")])
)


@settings(deadline=None, max_examples=50)
@given(MIXED, st.sampled_from(ROWS), st.lists(st.sampled_from(HEADINGS), max_size=2), st.none() | st.integers(1, 3))
def test_what_a_filter_leaves_to_ask_of_chunks(
    condition: Condition, document: DocumentRow, headings: list[str], page: int | None
) -> None:
    """A filter on documents and chunks at once means the same whether it is asked in two steps or in one."""

    def holds(part: Condition) -> bool:
        match part:
            case Not(inner):
                return not holds(inner)
            case And(conditions):
                return all(map(holds, conditions))
            case Or(conditions):
                return any(map(holds, conditions))
            case Comparison(field="headings" | "page"):
                return chunk_test(part)(headings, page)
            case Comparison():
                return document.id in _selected(str(part))

    found = _selected(str(condition))
    left = found.get(document.id)
    assert (document.id in found and (left is None or chunk_test(left)(headings, page))) == holds(condition)


def _selected(where: str) -> Mapping[str, Condition | None]:
    found = select(ROWS, where, today=TODAY)
    assert found is not None
    return found.documents


def _kept(residual: Condition | None, found: Found) -> bool:
    return residual is None or chunk_test(residual)(found.headings, found.page)


def test_all_current_chunks_are_found_without_a_filter(store: Store) -> None:
    """The oracle of the test above: every chunk once, and none of what a crash left."""
    found = by_vector(store, np.array([1, 0, 0, 0], np.float32), 1000)
    rows = [chunk["id"] for id_ in store.documents() for chunk in store.chunk_rows(id_)]
    assert sorted(each.id for each in found) == sorted(rows)
    assert len(by_vector(store, np.array([1, 0, 0, 0], np.float32), len(rows))) == len(rows)


RETURN = "How many days do customers have to return a product?"


@pytest.mark.parametrize("mode", ["hybrid", "vector", "words"])
def test_a_knowledge_base_is_searched_within_filters(sample_kb: KnowledgeBase, mode: str) -> None:
    how: dict[str, Any] = {"where": "format = html or headings contains refund", "paths": ["policies/*", "!*-2023.*"]}
    everything = {hit.source for hit in sample_kb.search(RETURN, limit=50, mode=mode)}
    found = {hit.source for hit in sample_kb.search(RETURN, limit=50, mode=mode, **how)}
    listed = {row.source for row in sample_kb.documents(**how)}
    assert "sample/policies/returns-policy-2025.html" in found
    assert found == {source for source in everything if source in listed}
    assert found < everything


def test_a_filter_on_headings_lists_the_documents_that_have_them(sample_kb: KnowledgeBase) -> None:
    under = {row.source for row in sample_kb.documents("headings like '*' and page = 1")}
    hits = sample_kb.search("the", limit=50, mode="vector", where="headings like '*' and page = 1")
    assert under == {hit.source for hit in hits}
    assert all(hit.headings and hit.page == 1 for hit in hits)


def test_a_filter_that_selects_nothing_is_said(sample_kb: KnowledgeBase) -> None:
    notices: list[str] = []
    with KnowledgeBase(sample_kb.path, settings=sample_kb.settings, notify=notices.append) as base:
        for where in ("format = xyz", "headings = 'no such heading'"):
            assert base.search(RETURN, where=where) == []
            answer = base.ask(RETURN, where=where)
            assert (answer.abstained, answer.reason, answer.hits) == (True, "the filter selects no document", ())
        assert base.documents("format = xyz") == []
    assert set(notices) == {"The filter selects no document; `rag ls` lists what there is."}


def test_the_commands_take_filters(sample_kb: KnowledgeBase, command_environment: dict[str, str]) -> None:
    environment = {**command_environment, "RAG_KB": str(sample_kb.path)}
    chosen = ["--where", "format = html", "--where", "size > 10", "--path", "policies/**", "--json"]
    listed = run(environment, "rag", "ls", *chosen)
    assert [json.loads(line)["source"] for line in listed.stdout.splitlines()] == [
        "sample/policies/returns-policy-2025.html"
    ]
    found = run(environment, "rag", "search", RETURN, "--mode", "words", *chosen)
    assert {hit["source"] for hit in json.loads(found.stdout)["hits"]} == {"sample/policies/returns-policy-2025.html"}
