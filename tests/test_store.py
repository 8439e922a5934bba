"""The store: replacing is atomic, leavings of a crash are swept, and both searches see every row."""

from pathlib import Path

import numpy as np
import pytest
from stored import IDENTITY, version

import rag.errors as errors
from rag.store.journal import Journal
from rag.store.names import digest, embedded_hash
from rag.store.search import by_vector, by_words, passages
from rag.store.tables import Store
from rag.store.upkeep import coverage, tidy
from rag.store.write import Writer, write_lock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "kb", IDENTITY, [[1.0, 0.0, 0.0, 0.0]])


def test_a_new_document_is_found_by_words_and_by_vector(store: Store) -> None:
    Writer(store).put(
        [version("docs/a.md", "the battery lasts two years\nnothing else"), version("docs/b.md", "cats", (0, 1, 0, 0))]
    )
    assert [found.text for found in by_words(store, "how long do batteries last", 5)] == ["the battery lasts two years"]
    assert by_vector(store, np.array([0, 1, 0, 0], np.float32), 1)[0].text == "cats"
    assert by_words(store, "Part", 5), "headings are searched as well"


def test_the_slice_in_a_chunk_is_the_text_at_its_offsets(store: Store) -> None:
    text = "erste Zeile\n第二行很短\nthird 🙂 line"
    Writer(store).put([version("docs/a.md", text)])
    row = store.document("docs/a.md")
    rows = store.chunk_rows(row.id)
    assert (
        [text[chunk["start"] : chunk["end"]] for chunk in rows] == [chunk["text"] for chunk in rows] == text.split("\n")
    )
    assert store.texts([row.id]) == {row.id: text}


def test_replacing_shows_the_new_version_only(store: Store) -> None:
    writer = Writer(store)
    writer.put([version("docs/a.md", "the old battery\nkept line")])
    writer.put([version("docs/a.md", "the new accumulator\nkept line")])
    assert by_words(store, "battery", 5) == []
    assert [found.text for found in by_words(store, "accumulator", 5)] == ["the new accumulator"]
    assert store.chunks_table.count_rows() == 2
    assert len(store.documents()) == 1


def test_documents_that_change_places_leave_nothing_behind(store: Store) -> None:
    writer = Writer(store)
    writer.put([version("docs/a.md", "the battery"), version("docs/b.md", "the cable")])
    writer.put([version("docs/a.md", "the cable"), version("docs/b.md", "the battery")])
    assert store.chunks_table.count_rows() == 2
    assert [row["text"] for row in store.chunk_rows(digest("docs/a.md"))] == ["the cable"]


def test_an_older_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(errors.IdentityMismatch, match="older lmstudio-rag"):
        Store.create(tmp_path / "older", replace(IDENTITY, format=1), [])


def test_metadata_and_places_come_back_as_they_were(store: Store) -> None:
    from dataclasses import replace

    one = version("docs/a.pdf", "battery")
    row = replace(one.row, part_of="other", metadata={"author": "Ada “L.”", "year": "1843"})
    box = (1.5, 2.0, 300.0, 40.25)
    Writer(store).put([replace(one, row=row, chunks=[replace(one.chunks[0], box=box, page=1)])])
    found = store.document("docs/a.pdf")
    assert (found.part_of, found.metadata) == ("other", {"author": "Ada “L.”", "year": "1843"})
    assert by_words(store, "battery", 1)[0].box == box


def test_the_journal_gives_back_what_was_whole(store: Store) -> None:
    names = [digest(str(number)) for number in range(3)]
    vectors = np.eye(3, 4, dtype=np.float32)
    journal = Journal(store.path, IDENTITY)
    journal.add(zip(names, vectors, strict=True))
    journal.close()
    file = next((store.path / "journal").iterdir())
    file.write_bytes(file.read_bytes()[:-3])  # power was lost while the last one was written
    again = Journal(store.path, IDENTITY)
    assert set(again.found) == set(names[:2])
    assert again.found[names[1]] == pytest.approx([0, 1, 0, 0])
    again.add([(names[2], vectors[2])])
    assert set(Journal(store.path, IDENTITY).found) == set(names), "seen by others before it is closed"
    again.clear()
    assert Journal(store.path, IDENTITY).found == {}


def test_vectors_of_another_model_are_no_use(store: Store) -> None:
    from dataclasses import replace

    journal = Journal(store.path, IDENTITY)
    journal.add([(digest("a"), np.ones(4, np.float32))])
    journal.close()
    assert Journal(store.path, replace(IDENTITY, embedding_model="another")).found == {}


def test_hashes_are_halved_and_sorted(store: Store) -> None:
    one = version("docs/a.md", "battery\ncable")
    writer = Writer(store)
    assert writer.hashes().size == 0
    writer.put([one])
    assert writer.hashes().tolist() == sorted(int(embedded_hash(chunk)[:16], 16) for chunk in one.chunks)


def test_chunks_without_their_row_do_not_count_and_are_swept(store: Store) -> None:
    """A crash between the first commit and the second: the old version stands, the next writer clears up."""
    writer = Writer(store)
    writer.put([version("docs/a.md", "the old battery")])
    half = version("docs/a.md", "the new accumulator")
    from rag.store.write import _chunk_table

    store.chunks_table.add(_chunk_table([half], {half.row.id: "en"}, store.chunks_table.schema))
    assert by_words(store, "accumulator", 5) == []
    assert [found.text for found in by_words(store, "battery", 5)] == ["the old battery"]
    assert store.chunks_table.count_rows() == 2
    assert Writer(store).sweep() == 1
    assert store.chunks_table.count_rows() == 1
    writer.put([half])
    assert [found.text for found in by_words(store, "accumulator", 5)] == ["the new accumulator"]


def test_a_document_that_fails_later_keeps_its_former_text(store: Store) -> None:
    writer = Writer(store)
    writer.put([version("docs/a.md", "the battery")])
    writer.fail(version("docs/a.md", "").row, "damaged")
    row = store.document("docs/a.md")
    assert (row.status, row.error, row.chunks) == ("failed", "damaged", 1)
    assert by_words(store, "battery", 5)
    writer.fail(version("docs/new.md", "").row, "damaged too")
    assert store.document("docs/new.md").chunks == 0


def test_removing_takes_rows_and_chunks(store: Store) -> None:
    writer = Writer(store)
    writer.put([version("docs/a.md", "battery"), version("docs/b.md", "battery as well")])
    writer.remove([store.document("docs/a.md").id])
    assert [found.text for found in by_words(store, "battery", 5)] == ["battery as well"]
    with pytest.raises(errors.DocumentNotFound, match=r"docs/a\.md"):
        store.document("docs/a.md")


@pytest.mark.parametrize(
    "name", ["it's.md", 'a "b".md', "a' OR '1'='1.md", "line\nbreak.md", "ümläut 文.md", "%_\\.md"]
)
def test_names_are_data_and_not_sql(store: Store, name: str) -> None:
    writer = Writer(store)
    writer.put([version(f"docs/{name}", "battery"), version("docs/other.md", "battery")])
    writer.set_root(name, Path("/some/where"))
    assert store.roots() == {name: Path("/some/where")}
    writer.remove([store.document(f"docs/{name}").id])
    assert [row.source for row in store.documents().values()] == ["docs/other.md"]


def test_vectors_are_found_again_by_what_was_embedded(store: Store) -> None:
    writer = Writer(store)
    one = version("docs/a.md", "battery", (0, 0.6, 0.8, 0))
    writer.put([one])
    name = embedded_hash(one.chunks[0])
    found = writer.vectors_of([name, "unknown"])
    assert list(found) == [name]
    assert found[name] == pytest.approx([0, 0.6, 0.8, 0])


def test_what_words_find_comes_with_its_cosine(store: Store) -> None:
    Writer(store).put([version("docs/a.md", "battery", (0, 0.6, 0.8, 0))])
    vector = np.array([0, 1, 0, 0], np.float32)
    assert by_words(store, "battery", 1)[0].similarity is None
    assert by_words(store, "battery", 1, vector=vector)[0].similarity == pytest.approx(0.6)
    assert by_words(store, "nothing", 1, vector=vector) == []
    assert by_vector(store, vector, 1)[0].similarity == pytest.approx(0.6)


def test_a_passage_is_all_that_stands_between_its_ends(store: Store) -> None:
    text = "the battery\nthe cable\nthe mast"
    Writer(store).put([version("docs/a.md", text)])
    chunks = sorted(by_vector(store, np.array([1, 0, 0, 0], np.float32), 9), key=lambda found: found.ordinal)
    then = store.outlines()
    found = [passage and passage[1] for passage in passages(store, [chunks[:2], chunks[2:], chunks], then)]
    assert found == ["the battery\nthe cable", "the mast", text]
    Writer(store).put([version("docs/a.md", "another text")])
    assert passages(store, [chunks[:2], chunks[2:]], store.outlines()) == [None, None], "it was replaced meanwhile"
    assert passages(store, [chunks[:2], chunks], then) == [None, None], "nothing is cut out of the next text"


def test_every_row_is_searched_whether_indexed_or_not(store: Store) -> None:
    """The full-text index is made on an empty table; rows that came later are scanned until they are indexed."""
    writer = Writer(store)
    for number in range(5):
        writer.put([version(f"docs/{number}.md", f"battery number{number}")])
        assert len(by_words(store, "battery", 50)) == number + 1
        if number == 2:
            tidy(store)
            assert coverage(store).words.unindexed == 0
    words = coverage(store).words
    assert words.indexed + words.unindexed == 5


@pytest.mark.parametrize("question", ['"', "it's (a AND", "+-*/[]{}:^~\\", "the of and", "?", "x" * 100_000])
def test_a_question_is_words_and_not_a_query_language(store: Store, question: str) -> None:
    Writer(store).put([version("docs/a.md", "battery")])
    assert by_words(store, question, 5) == []


def test_one_writer_at_a_time(store: Store) -> None:
    with (
        write_lock(store.path),
        pytest.raises(errors.KnowledgeBaseBusy, match="Another process"),
        write_lock(store.path),
    ):
        pytest.fail("two writers held the lock")


def test_opening_what_is_not_there_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(errors.KnowledgeBaseMissing, match=r"ingest PATH --kb"):
        Store.open(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_an_index_carries_its_identity(store: Store) -> None:
    again = Store.open(store.path)
    assert again.identity == IDENTITY
    assert again.made_with() == (IDENTITY, [[1.0, 0.0, 0.0, 0.0]])


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(errors.IdentityMismatch, match="newer lmstudio-rag"):
        Store.create(tmp_path / "newer", replace(IDENTITY, format=99), [])


def test_a_reader_sees_what_a_writer_has_just_committed(store: Store) -> None:
    reader = Store.open(store.path)
    assert by_words(reader, "battery", 5) == []
    Writer(store).put([version("docs/a.md", "battery")])
    assert [found.text for found in by_words(reader, "battery", 5)] == ["battery"]
