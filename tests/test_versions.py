"""Versions: each is whole, can be read for as long as it is kept, and can become the present one again."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from stored import IDENTITY, version
from typer.testing import CliRunner

import rag.errors as errors
from rag.cli.app import app
from rag.knowledge_base import KnowledgeBase
from rag.store.objects import size
from rag.store.schema import chunks_schema
from rag.store.search import by_vector, by_words
from rag.store.tables import Store
from rag.store.upkeep import tidy
from rag.store.versions import find, open_version, record, restore, tag, untag, versions
from rag.store.write import RESTORING, Writer

NOW = timedelta(milliseconds=1)
ALL = "battery cable mast sail"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three versions: of two documents, of one of them changed, and of the other alone."""
    store = Store.create(tmp_path / "notes.kb", IDENTITY, [[1.0, 0.0, 0.0, 0.0]])
    writer = Writer(store)
    writer.put([version("docs/a.md", "the battery\nthe cable"), version("docs/b.md", "the mast", (0, 1, 0, 0))])
    writer.set_root("docs", Path("/docs"))
    record(store)
    writer.put([version("docs/a.md", "the battery\nthe sail")])
    record(store)
    writer.remove([store.document("docs/b.md").id])
    record(store)
    return store


def held(store: Store) -> set[str]:
    """All that both searches find, which has to be the same."""
    words = {found.text for found in by_words(store, ALL, 50)}
    assert words == {found.text for found in by_vector(store, np.array([1, 0, 0, 0], np.float32), 50)}
    return words


def test_versions_tell_what_there_was(store: Store) -> None:
    assert [(v.number, v.documents, v.chunks) for v in versions(store.path)] == [(1, 2, 3), (2, 2, 3), (3, 1, 2)]
    again = record(store)
    assert again is not None
    assert again.number == 3, "nothing has changed since"
    tidy(store)
    record(store)
    assert len(versions(store.path)) == 3, "tidying changes nothing that a person would call a version"


def test_an_old_version_is_whole_whatever_became_of_the_tables(store: Store) -> None:
    tidy(store, unread=NOW)
    assert not list((store.path / "chunks.lance" / "data").glob("*"))[1:], "what the present lacks is deleted there"
    assert held(open_version(store.path, 1)) == {"the battery", "the cable", "the mast"}
    assert held(open_version(store.path, "2")) == {"the battery", "the sail", "the mast"}
    old = open_version(store.path, 1)
    assert set(old.texts(old.documents()).values()) == {"the mast", "the battery\nthe cable"}
    assert old.roots() == {"docs": Path("/docs")}
    assert held(store) == {"the battery", "the sail"}


def test_what_is_deleted_in_part_is_whole_in_the_version_before(store: Store) -> None:
    writer = Writer(store)
    writer.put([version(f"docs/{name}.md", f"the mast {name}") for name in "cde"])  # one file for all of them
    before = record(store)
    writer.remove([store.document("docs/d.md").id])
    after = record(store)
    assert before is not None
    assert after is not None
    tidy(store, unread=NOW)
    names = {number: held(open_version(store.path, number)) for number in (before.number, after.number)}
    assert names[before.number] - names[after.number] == {"the mast d"}


def test_nothing_can_be_written_into_an_old_version(store: Store) -> None:
    old = open_version(store.path, 1)
    with pytest.raises(errors.KnowledgeBaseError, match=r"Version 1 cannot be changed.*rag restore 1"):
        Writer(old)
    with KnowledgeBase(store.path, version=1) as base:
        assert [row.source for row in base.documents()] == ["docs/a.md", "docs/b.md"]
        assert base.text("docs/a.md") == "the battery\nthe cable"
        with pytest.raises(errors.KnowledgeBaseError, match="cannot be changed"):
            base.remove("docs/b.md")
    assert [row.source for row in store.documents().values()] == ["docs/a.md"]


def test_what_there_is_not_is_said_so(store: Store, tmp_path: Path) -> None:
    for wanted in (4, "0", "no-such-tag", "../1"):
        with pytest.raises(errors.VersionNotFound, match="rag versions"):
            open_version(store.path, wanted)
    with pytest.raises(errors.KnowledgeBaseMissing):
        open_version(tmp_path / "nothing", 1)
    with pytest.raises(errors.VersionNotFound, match="no tag"):
        untag(store.path, "no-such-tag")


@pytest.mark.parametrize("name", ["", "12", "-x", "a\nb", "x" * 101])
def test_some_names_cannot_be_tags(store: Store, name: str) -> None:
    with pytest.raises(errors.UsageProblem, match="cannot be a tag"):
        tag(store, name)


def test_old_versions_go_and_tagged_ones_stay(store: Store) -> None:
    tag(store, "before/the move", 1)
    with pytest.raises(errors.UsageProblem, match="version 1 already"):
        tag(store, "before/the move", 2)
    record(store, keep=timedelta(0))
    assert [(v.number, v.tags) for v in versions(store.path)] == [(1, ("before/the move",)), (3, ())], "and the last"
    tidy(store, unread=NOW)
    assert held(open_version(store.path, "before/the move")) == {"the battery", "the cable", "the mast"}
    untag(store.path, "before/the move")
    record(store, keep=timedelta(days=7))
    assert len(versions(store.path)) == 2, "its week is not over"
    record(store, keep=timedelta(0))
    assert [v.number for v in versions(store.path)] == [3]
    assert [path.name for path in (store.path / "versions").iterdir() if path.is_dir()] == ["3"]


def test_no_more_than_twenty_untagged_ones(store: Store) -> None:
    writer = Writer(store)
    tag(store, "first", 1)
    for number in range(22):
        writer.put([version("docs/c.md", f"the mast number{number}")])
        record(store)
    assert [v.number for v in versions(store.path)] == [1, *range(6, 26)]


def test_versions_share_their_files(store: Store) -> None:
    before = size(store.path)
    tag(store, "now")
    assert size(store.path) - before < 1000


def test_tagging_the_present_makes_it_a_version(store: Store) -> None:
    Writer(store).put([version("docs/c.md", "the sail of c")])
    assert tag(store, "now").number == 4
    assert "the sail of c" in held(open_version(store.path, "now"))


def test_restoring_is_a_new_version_and_can_be_undone(store: Store) -> None:
    tidy(store, unread=NOW)
    made = restore(store.path, 1)
    assert (made.number, made.documents) == (4, 2)
    assert held(Store.open(store.path)) == {"the battery", "the cable", "the mast"}
    assert restore(store.path, 3).number == 5
    assert held(store) == {"the battery", "the sail"}, "what was open sees it as well"
    assert restore(store.path, 3).number == 5, "it is the present one already"
    Writer(store).put([version("docs/b.md", "the mast", (0, 1, 0, 0))])
    assert held(store) == {"the battery", "the sail", "the mast"}


def test_a_version_carries_the_identity_of_its_own_chunks(store: Store) -> None:
    """`rag rebuild` writes the chunks table anew, for another model."""
    other = replace(IDENTITY, embedding_model="another", dimension=8)
    chunks = store._db.create_table("chunks", schema=chunks_schema(other, [[1.0] * 8]), mode="overwrite")
    assert chunks.count_rows() == 0
    rebuilt = record(Store.open(store.path))
    assert rebuilt is not None
    assert rebuilt.number == 4
    tidy(Store.open(store.path), unread=NOW)
    assert open_version(store.path, 3).identity == IDENTITY
    assert open_version(store.path, 4).identity == other
    restore(store.path, 3)
    again = Store.open(store.path)
    assert again.identity == IDENTITY
    assert held(again) == {"the battery", "the sail"}


def test_a_restore_that_was_cut_short_is_finished_before_anything_is_written(store: Store) -> None:
    (store.path / RESTORING).write_text("1")
    table = store.open_table("roots")
    table.checkout(find(store.path, 1).tables["roots"])
    table.restore()
    with pytest.raises(errors.KnowledgeBaseError, match=r"cut short.*rag restore 1"):
        Writer(store)
    restore(store.path, 1)
    assert held(store) == {"the battery", "the cable", "the mast"}
    assert Writer(store).rows.keys() == store.documents().keys()


def test_the_commands(store: Store) -> None:
    def rag(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--kb", str(store.path)])
        if done.exception:
            raise done.exception
        return done.stdout

    assert rag("tag", "whole", "1") == "version 1 is whole\n"
    listed = [json.loads(line) for line in rag("versions", "--json").splitlines()]
    assert [(v["number"], v["documents"], v["chunks"], v["tags"]) for v in listed] == [
        (1, 2, 3, ["whole"]),
        (2, 2, 3, []),
        (3, 1, 2, []),
    ]
    assert "whole" in rag("versions")
    found = json.loads(rag("search", "mast", "--mode", "words", "--at", "whole", "--json"))["hits"]
    assert [hit["source"] for hit in found] == ["docs/b.md"]
    assert json.loads(rag("search", "mast", "--mode", "words", "--json"))["hits"] == []
    assert len(rag("ls", "--at", "1").splitlines()) == 2
    assert json.loads(rag("status", "--at", "whole", "--json"))["documents"] == 2
    assert json.loads(rag("restore", "whole", "--json")) == {"number": 4, "documents": 2, "chunks": 3}
    assert len(rag("ls").splitlines()) == 2
    assert json.loads(rag("tag", "whole", "--delete", "--json")) == {"deleted": "whole"}
    with pytest.raises(errors.VersionNotFound):
        rag("ls", "--at", "whole")
