"""Upkeep: every chunk is found whatever the indexes cover, nothing removed is, and no search waits or fails."""

import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import IDENTITY, version

from rag.search.select import Selection
from rag.store.names import digest
from rag.store.schema import Identity
from rag.store.search import by_vector, by_words
from rag.store.tables import Store
from rag.store.upkeep import coverage, tidy
from rag.store.write import NewVersion, Writer

DIMENSION = 128
LARGE = 400
WIDE = Identity("text-embedding-test", "Q8_0", DIMENSION, "", "", 200)


def unit(seed: str | int) -> npt.NDArray[np.float32]:
    """A unit vector that belongs to a name."""
    number = int(digest(str(seed))[:12], 16)
    vector = np.random.default_rng(number).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def document(name: str, lines: int, edition: int = 0) -> NewVersion:
    """A document whose chunks have a word and a vector each that no other has."""
    words = [f"w{digest(name, str(edition), str(line))}" for line in range(lines)]
    made = version(f"docs/{name}", "\n".join(f"battery {word}" for word in words))
    return NewVersion(made.row, made.text, made.chunks, np.stack([unit(word) for word in words]))


@pytest.fixture
def large(tmp_path: Path) -> Store:
    """Large by the measure of these tests: five hundred chunks, the last hundred not in any index yet."""
    store = Store.create(tmp_path / "kb", WIDE, [])
    writer = Writer(store)
    writer.put([document(f"{number}.md", 20) for number in range(20)])
    assert coverage(store).vectors.kind == ""
    tidy(store, large=LARGE)
    writer.put([document(f"new{number}.md", 20) for number in range(5)])
    return store


def test_a_large_table_gets_an_index_and_new_rows_are_found_without_it(large: Store) -> None:
    covered = coverage(large)
    assert (covered.vectors.kind, covered.vectors.indexed, covered.vectors.unindexed) == ("IVF_RQ", 400, 100)
    assert (covered.words.kind, covered.words.indexed, covered.words.unindexed) == ("FTS", 400, 100)
    for made in (document("7.md", 20), document("new3.md", 20)):
        for chunk, vector in zip(made.chunks, made.vectors, strict=True):
            assert by_vector(large, vector, 1)[0].text == chunk.text
            assert by_words(large, chunk.text.split()[1], 1)[0].text == chunk.text


def test_the_index_grows_with_the_table(large: Store) -> None:
    tidy(large, large=LARGE)
    covered = coverage(large)
    assert (covered.vectors.indexed, covered.vectors.unindexed, covered.words.unindexed) == (500, 0, 0)
    near = [by_vector(large, unit(seed), 10) for seed in range(30)]
    exact = [_exactly(large, unit(seed)) for seed in range(30)]
    hits = [len({found.id for found in some} & best) for some, best in zip(near, exact, strict=True)]
    assert sum(hits) / 300 >= 0.97
    assert near[0][0].score == pytest.approx(near[0][0].similarity), "compared with the whole vectors, not by the index"


def _exactly(store: Store, vector: npt.NDArray[np.float32]) -> set[str]:
    search = store.chunks_table.search(vector, vector_column_name="vector").distance_type("cosine")
    return set(search.bypass_vector_index().limit(10).select(["id", "_distance"]).to_arrow()["id"].to_pylist())


def test_filters_come_before_the_index(large: Store) -> None:
    """The twenty chunks of one document are all found, however far from the question."""
    for name in ("7.md", "new3.md"):
        one = Selection({digest(f"docs/{name}"): None})
        assert len(by_vector(large, unit("a question"), 50, one)) == 20
        assert len(by_words(large, "battery", 50, one)) == 20


def test_a_large_table_that_has_changed_little_is_left_as_it_is(large: Store) -> None:
    tidy(large, large=LARGE)
    Writer(large).put([document("one more.md", 5)])
    before = large.chunks_table.version
    tidy(large, 5, large=LARGE)
    assert large.chunks_table.version == before
    tidy(large, 100, large=LARGE)
    assert coverage(large).words.unindexed == 0


def test_no_search_fails_while_the_tables_are_tidied(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "kb", WIDE, [])
    made = [document(f"{number}.md", 20) for number in range(40)]
    Writer(store).put(made[:1])
    ended, problems, searches = threading.Event(), [], 0

    def search() -> None:
        nonlocal searches
        reader, words = Store.open(store.path), made[0].chunks[3].text.split()[1]
        while not ended.is_set():
            found = by_words(reader, words, 1), by_vector(reader, made[0].vectors[3], 1)
            searches += 1
            problems.extend(1 for some in found if [one.text for one in some] != [made[0].chunks[3].text])

    thread = threading.Thread(target=search)
    thread.start()
    writer = Writer(store)
    for begin in range(1, 40, 3):
        writer.put(made[begin : begin + 3])
        tidy(store, large=LARGE, unread=timedelta(seconds=5))
    ended.set()
    thread.join()
    assert coverage(store).vectors.kind == "IVF_RQ"
    assert not problems
    assert searches


def test_files_that_nothing_needs_are_deleted(large: Store) -> None:
    data = large.path / "chunks.lance" / "data"
    for edition in range(3):
        Writer(large).put([document("7.md", 20, edition)])
    tidy(large, large=LARGE)
    before = len(list(data.iterdir()))
    assert before > large.chunks_table.stats()["fragment_stats"]["num_fragments"], "a search may be reading them"
    tidy(large, large=LARGE, unread=timedelta(milliseconds=1))
    assert len(list(data.iterdir())) == large.chunks_table.stats()["fragment_stats"]["num_fragments"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 5), st.integers(1, 90)),
        st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("tidy"), st.just(0), st.just(0)),
    ),
    min_size=2,
    max_size=6,
)


@settings(max_examples=10, deadline=None)
@given(STEPS)
def test_every_chunk_is_found_and_no_removed_one(steps: list[tuple[str, int, int]]) -> None:
    """After any sequence of writes, removals, compactions and index builds."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "kb", WIDE, [])
        writer = Writer(store)
        present: dict[str, NewVersion] = {}
        # From the first tidying on there is an index of the vectors, where there is anything to index.
        writer.put([present.setdefault("docs/start.md", document("start.md", 300))])
        for edition, (step, name, lines) in enumerate(steps):
            source = f"docs/{name}.md"
            if step == "put":
                present[source] = document(f"{name}.md", lines, edition)
                writer.put([present[source]])
            elif step == "remove":
                present.pop(source, None)
                writer.remove([digest(source)])
            else:
                tidy(store, large=1, unread=timedelta(milliseconds=1))
        expected = {chunk.text for made in present.values() for chunk in made.chunks}
        assert {found.text for found in by_words(store, "battery", 2000)} == expected
        assert {found.text for found in by_vector(store, unit("a question"), 2000)} == expected
        for made in present.values():
            for index in {0, len(made.chunks) // 2, len(made.chunks) - 1}:
                text = made.chunks[index].text
                assert by_vector(store, made.vectors[index], 1)[0].text == text
                assert by_words(store, text.split()[1], 1)[0].text == text


def test_what_no_knowledge_base_needs_is_imported_when_it_is_used(tmp_path: Path) -> None:
    """The client of remote namespaces is two thirds of LanceDB's import; searching needs none of it."""
    Writer(Store.create(tmp_path / "kb", IDENTITY, [])).put([version("docs/a.md", "battery")])
    code = f"""
import sys
from pathlib import Path
import numpy as np
from rag.store.search import by_vector, by_words
from rag.store.tables import Store
store = Store.open(Path({str(tmp_path / "kb")!r}))
assert len(by_words(store, "battery", 1)) == len(by_vector(store, np.ones(4, np.float32), 1)) == 1
left_out = ("lance_namespace_urllib3_client", "lancedb.embeddings")
assert not [name for name in sys.modules if name.startswith(left_out)]
import lancedb.namespace, lancedb.pydantic
made = lancedb.namespace.QueryTableRequestVector(single_vector=[1.0])
assert made.single_vector == [1.0] and isinstance(made, lancedb.namespace.QueryTableRequestVector)
from lance_namespace_urllib3_client.models import QueryTableRequestVector
assert type(made) is QueryTableRequestVector
from lancedb.embeddings import get_registry
assert get_registry().get("openai").__name__ == "OpenAIEmbeddings"
class Row(lancedb.pydantic.LanceModel):
    text: str
table = lancedb.connect({str(tmp_path / "other")!r}).create_table("rows", schema=Row)
table.add([Row(text="a")])
assert table.count_rows() == 1
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
