"""What counts as the same passage, and what must never: shown once, with every place where it stands."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.pipeline import ingest
from rag.knowledge_base import KnowledgeBase
from rag.search.duplicates import distinct, places, quoted_again
from rag.search.options import SearchOptions
from rag.search.retrieve import retrieve
from rag.store.names import digest, revision_of
from rag.store.schema import DocumentRow, Identity
from rag.store.search import Found
from rag.store.tables import Store
from rag.store.write import NewVersion, Writer
from rag.types import Chunk, Hit, Place

POLICY = (
    "You can send back anything you ordered from us within 30 days of delivery, unused and in its box. "
    "We pay the money back within a week after the parcel has reached our warehouse in Porto."
)


def found(text: str, document: str, ordinal: int = 0, headings: tuple[str, ...] = (), page: int | None = None) -> Found:
    start = ordinal * 1000
    return Found(f"{document}{ordinal}", document, ordinal, text, start, start + len(text), page, headings, 1.0)


def shown(*chunks: Found) -> list[str]:
    return [chunk.id for chunk, _ in distinct([(chunk, 1 - at / 100) for at, chunk in enumerate(chunks)], 10).ranked]


@pytest.mark.parametrize(
    "other",
    [
        POLICY,
        POLICY.upper(),
        POLICY.replace(". ", ".\n\n"),
        "\n".join(f"> {line}" for line in POLICY.replace(", ", ",\n").split("\n")),
        "Ann Lee wrote:\n> " + POLICY,
        POLICY.replace("warehouse", "ware-\nhouse").replace("week", "we\u00adek"),
        POLICY.replace("fi", "\ufb01").replace(" ", "\u00a0"),
        POLICY.replace("unused", "\u201cunused\u201d").replace(",", " -"),
        POLICY.replace("the parcel", "the whole parcel"),
        POLICY.split(". ")[0] + ".",
    ],
    ids="equal capitals lines quoted reply hyphens ligatures punctuation plain-word part".split(),
)
def test_a_passage_in_other_dress_is_shown_once(other: str) -> None:
    assert shown(found(POLICY, "a"), found(other, "b")) == ["a0"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("30 days", "14 days"),
        ("30 days", "-30 days"),
        ("30", "3.0"),
        ("within 30", "within 30 or 60"),
        ("can send", "cannot send"),
        ("can send", "can not send"),
        ("You can send", "Only members can send"),
        ("anything you", "anything except batteries you"),
        ("Porto", "Faro"),
        ("our warehouse", "our Lisbon warehouse"),
        ("a week", "a month"),
        ("delivery", "purchase"),
        ("unused and", "unused or"),
        ("We pay", "We pay 5 € and pay"),
        ("within 30", "within > 30"),
        ("within 30", "within\n> 30"),
    ],
)
def test_what_differs_in_what_it_says_is_shown_twice(old: str, new: str) -> None:
    other = POLICY.replace(old, new)
    assert other != POLICY
    assert shown(found(POLICY, "a"), found(other, "b")) == ["a0", "b0"]
    assert shown(found(other, "b"), found(POLICY, "a")) == ["b0", "a0"]


def test_numbers_that_change_places_make_another_passage() -> None:
    one, other = "Shoes 30 days, books 14 days, all else 7 days.", "Shoes 14 days, books 30 days, all else 7 days."
    assert shown(found(one, "a"), found(other, "b")) == ["a0", "b0"]


def test_a_longer_passage_is_no_copy_of_a_shorter_one() -> None:
    longer = POLICY + " Batteries travel by road, and their carrier asks for a label that we send on request."
    assert shown(found(POLICY, "a"), found(longer, "b")) == ["a0", "b0"]
    assert shown(found(longer, "b"), found(POLICY, "a")) == ["b0"]


def test_a_few_words_within_a_passage_are_no_copy_of_it() -> None:
    assert shown(found(POLICY, "a"), found("in its box", "b")) == ["a0", "b0"]


def test_sections_tell_like_passages_apart() -> None:
    text = "The warranty is 24 months."
    sprig, brisa = ("Manual", "Sprig"), ("Manual", "Brisa")
    assert shown(found(text, "a", headings=sprig), found(text, "b", headings=brisa)) == ["a0", "b0"]
    assert shown(found(text, "a", 0, sprig), found(text, "a", 1, brisa)) == ["a0", "a1"]
    old, new = ("Manual 2024", "Warranty"), ("Manual 2025", "warranty")
    assert shown(found(text, "a", headings=old), found(text, "b", headings=new)) == ["a0"]


def test_within_a_document_only_a_line_that_repeats_is_left_out() -> None:
    footer = "Confidential. For members of the board only."
    assert shown(found(footer, "a", 0, page=1), found(footer, "a", 5, page=2)) == ["a0"]
    assert shown(found(POLICY, "a", 0), found(POLICY, "a", 5)) == ["a0", "a5"], "its place is part of what it says"


def test_texts_without_words_are_left_alone() -> None:
    assert shown(found("***", "a"), found("—", "b"), found("", "c")) == ["a0", "b0", "c0"]


def test_one_word_a_thousand_times_takes_no_minutes() -> None:
    assert quoted_again("a b", "a " + ">" * 5000, Place("a.md", None, 0, 5002)) is None
    assert shown(found("a " * 5000, "a"), found("a " * 4999 + "b", "b")) == ["a0", "b0"]


def test_the_document_that_is_shown_already_stands_for_all() -> None:
    """Two versions tie, and which chunk comes first is chance: neighbours must stay joinable."""
    more = "The label lies in the box. Stick it on the parcel and bring it to any post office."
    ranked = [(found(POLICY, "a", 0), 1.0), (found(POLICY, "b", 0), 1.0)]
    ranked += [(found(more, "b", 1), 0.9), (found(more, "a", 1), 0.9)]
    result = distinct(ranked, 10)
    assert [(chunk.id, score) for chunk, score in result.ranked] == [("a0", 1.0), ("a1", 0.9)]
    assert {id_: [copy.id for copy in copies] for id_, copies in result.copies.items()} == {"a0": ["b0"], "a1": ["b1"]}


def test_no_more_is_looked_at_than_need_be() -> None:
    ranked = [(found(f"passage number {at}", str(at)), 1 - at / 1000) for at in range(300)]
    assert len(distinct(ranked, 10).ranked) == 12
    assert len(distinct(ranked, 200).ranked) == 200
    again = [(found(POLICY, "a"), 1.0), (found(POLICY, "b"), 1.0), *ranked]
    assert len(distinct(again, 10).ranked) == 23, "one copy may not come alone"


def test_places_that_follow_one_another_are_one() -> None:
    copies = [found("b", "b", 4), found("a", "c", 9, page=2), found("a", "b", 3), found("c", "c", 10, page=3)]
    assert places(copies, {"b": "docs/b.md", "c": "docs/c.pdf"}) == (
        Place("docs/b.md", None, 3000, 4001),
        Place("docs/c.pdf", 2, 9000, 9001),
        Place("docs/c.pdf", 3, 10000, 10001),
    )


def test_a_quote_is_found_again_exactly_or_not_at_all() -> None:
    text = "Hi,\n> You can send back\n> anything within\n> 30 days.\nBye"
    near = Place("mail.eml", None, 0, len(text))
    again = quoted_again("You can send back anything within 30 days.", text, near)
    assert again is not None
    assert text[again.start : again.end] == "You can send back\n> anything within\n> 30 days."
    assert quoted_again("You can send back anything within 14 days.", text, near) is None
    assert quoted_again("> anything within\n> 30 days.", text, near) is not None
    assert quoted_again("Bye", text, replace(near, end=10)) is None


def test_an_answer_says_where_its_quote_stands_again(kb: KnowledgeBase, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    sentence = "The battery of the Sprig lasts 24 months."
    (folder / "manual.md").write_text(f"# Battery\n\n{sentence}\n")
    (folder / "mail.txt").write_text("> Battery\n>\n> The battery of the\n> Sprig lasts 24 months.\n")
    (folder / "old.md").write_text(f"# Battery\n\n{sentence.replace('Sprig', 'Brisa')}\n")
    ingest(folder, into=kb)
    hits = kb.search("How long does the battery of the Sprig last?")
    assert sorted((hit.source, len(hit.also)) for hit in hits)[-1] == ("docs/old.md", 0)
    answer = kb.ask("How long does the battery of the Sprig last?")
    for citation in answer.citations:
        for place in citation.also:
            quoted = kb.text(place.source)[place.start : place.end].replace(">", " ")
            assert quoted.split() == citation.quote.replace(">", " ").split()
    assert (len(hits), sum(len(hit.also) for hit in hits)) == (2, 1)
    assert json.loads(json.dumps(answer.to_dict()))["citations"][0]["also"][0].keys() == {
        "source",
        "page",
        "start",
        "end",
    }


IDENTITY = Identity("text-embedding-test", "Q8_0", 4, "", "", 200)


def version(source: str, *texts: str) -> NewVersion:
    text, chunks, vectors = "\n".join(texts), [], []
    for ordinal, part in enumerate(texts):
        start = text.index(part)
        box = (10.0, 10.0 * ordinal, 20.0, 10.0 * ordinal + 5)
        chunks.append(Chunk(ordinal, part, start, start + len(part), 1, (), "", box))
        vectors.append([1.0, 0, 0, 0] if part == POLICY else [0.6, 0.8, 0, 0])
    row = DocumentRow(
        *(digest(source), source, "docs", digest(text), len(text), 1, revision_of(text, chunks)),
        *("", "test", "ok", "", 0, 0),
        metadata={"year": source[-7:-3]},
    )
    return NewVersion(row, text, chunks, np.array(vectors, np.float32))


def found_hits(store: Store, limit: int = 2, **how: float) -> list[Hit]:
    vector = np.array([1, 0, 0, 0], np.float32)
    return retrieve(store, "send back within how many days", vector, SearchOptions(limit, **how))


def test_versions_of_a_policy_through_a_search(tmp_path: Path) -> None:
    """Two like versions are one hit, the freed place goes to the version that differs."""
    store = Store.create(tmp_path / "kb", IDENTITY, [[1.0, 0, 0, 0]])
    fourteen = POLICY.replace("30 days", "14 days")
    Writer(store).put(
        [
            version("docs/2023.md", fourteen),
            version("docs/2024.md", POLICY),
            version("docs/2025.md", POLICY, "Write to us before you send it."),
        ]
    )
    first, second = found_hits(store)
    assert POLICY in first.text
    assert {first.source, *(place.source for place in first.also)} == {"docs/2024.md", "docs/2025.md"}
    texts = store.texts(store.documents())
    for place in first.also:
        assert texts[store.document(place.source).id][place.start : place.end] == POLICY
    assert (second.source, second.also, second.metadata) == ("docs/2023.md", (), {"year": "2023"})
    assert second.box == (10, 0, 20, 5)
