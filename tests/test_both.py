"""Both searches at once decide what the two decide one after the other, whatever is written meanwhile."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from stored import IDENTITY, version

from rag.search.fusion import fused
from rag.search.options import SearchOptions
from rag.search.retrieve import chosen, hits, joined, retrieve
from rag.store.both import search_both
from rag.store.names import digest
from rag.store.tables import Store
from rag.store.write import NewVersion, Writer, _chunk_table
from rag.types import Hit

OPTIONS = SearchOptions(limit=3)
QUESTIONS = ("battery life", "a cable and its mast", "xylophone", "w7 battery")


def unit(seed: str) -> npt.NDArray[np.float32]:
    """A unit vector that belongs to a name."""
    vector = np.random.default_rng(int(digest(seed)[:12], 16)).normal(size=IDENTITY.dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def document(name: str, text: str) -> NewVersion:
    made = version(name, text)
    return NewVersion(made.row, made.text, made.chunks, np.stack([unit(chunk.text) for chunk in made.chunks]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "kb", IDENTITY, [])
    texts = [f"battery w{number} of the mast\nthe cable w{number % 5}\nlife is long" for number in range(40)]
    Writer(store).put([document(f"docs/{number}.md", text) for number, text in enumerate(texts)])
    return store


def one_after_the_other(store: Store, question: str) -> list[Hit]:
    """What is found by the way that filters, judges and `rag why` take."""
    choice = chosen(store, question, unit(question), OPTIONS)
    return _rounded(hits(store, choice.groups, choice.copies, store.outlines()))


def at_once(store: Store, question: str) -> list[Hit]:
    return _rounded(retrieve(store, question, unit(question), OPTIONS))


def _rounded(found: list[Hit]) -> list[Hit]:
    return [replace(hit, similarity=round(hit.similarity or 0, 5)) for hit in found]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_same_is_found_where_many_passages_tie(store: Store, question: str) -> None:
    assert at_once(store, question) == one_after_the_other(store, question) != []


def test_what_is_half_written_is_not_shown(store: Store) -> None:
    """Chunks come before their document's row: until then its former ones count, and it takes no other's place."""
    half = document("docs/0.md", "battery life\nbattery life again")
    chunks = _chunk_table([half], {half.row.id: "en"}, store.chunks_table.schema)
    before = at_once(store, QUESTIONS[0])
    store.chunks_table.add(chunks)
    vector = unit("battery life")
    both = search_both(store, QUESTIONS[0], vector, 50)
    read = [chunk.text for chunk, _ in both.read(fused(both.near, both.worded, 0.4, exhausted=False), 8)]
    assert both.outdated
    assert half.chunks[0].text not in read
    assert at_once(store, QUESTIONS[0]) == one_after_the_other(store, QUESTIONS[0]) == before


def test_rows_are_read_in_the_state_they_were_found_in(store: Store) -> None:
    """A row's number may mean another row as soon as a table has been compacted or written anew."""
    both = search_both(store, QUESTIONS[0], unit(QUESTIONS[0]), 20)
    ranked = fused(both.near, both.worded, 0.4, exhausted=False)
    before = list(both.read(ranked, 8))
    writer = Writer(store)
    writer.remove([row.id for row in store.rows() if row.source > "docs/2"])
    store.chunks_table.optimize(cleanup_older_than=timedelta(hours=1))
    writer.put([document(f"docs/new{number}.md", "something else") for number in range(30)])
    after = list(both.read(ranked, 8))
    assert len(after) > 5
    assert after == [each for each in before if each[0].document_id in store.outlines()]
    assert "something else" in [hit.text for hit in at_once(store, "something else")]


def test_no_passage_is_cut_out_of_a_text_that_came_later(store: Store) -> None:
    """What lies between two chunks is read last: by then the document may have another text."""
    Writer(store).put([document("docs/two.md", "battery life one\nbattery life two")])
    question = "battery life one two"
    both = search_both(store, question, unit(question), 20)
    groups = joined(list(both.read(fused(both.near, both.worded, 0.4, exhausted=False), 20)), 6)
    assert "battery life one\nbattery life two" in [hit.text for hit in hits(store, groups, {}, both.documents)]
    Writer(store).put([document("docs/two.md", "something else\nand more of it, and no battery")])
    store.outlines()
    shown = hits(store, groups, {}, both.documents)
    assert [hit.source for hit in shown].count("docs/two.md") == 0
    assert len(shown) == len(groups) - 1
