"""What is there and what has changed, on real folders."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.sources import File, Root, compare, content_hash, moved_source, scopes, swallowed, walk
from rag.errors import SourceNotFound
from rag.store.schema import DocumentRow


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("alpha")
    (folder / "sub" / "b.txt").write_text("beta")
    return folder


def row_of(file: File, **changes: object) -> DocumentRow:
    row = DocumentRow(
        "id-" + file.source,
        file.source,
        file.root,
        content_hash(file.path),
        file.size,
        file.mtime_ns,
        "r",
        "",
        "p",
        "ok",
        "",
        1,
        0,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def files_in(docs: Path) -> dict[str, File]:
    return {file.source: file for file in walk(scopes([docs], {})[0])}


def test_sources_are_root_and_posix_path(docs: Path) -> None:
    assert set(files_in(docs)) == {"docs/a.md", "docs/sub/b.txt"}


def test_hidden_files_knowledge_bases_and_circles_are_left_out(docs: Path) -> None:
    (docs / ".secret").write_text("x")
    (docs / ".git").mkdir()
    (docs / ".git" / "config.md").write_text("x")
    (docs / "notes.kb" / "chunks.lance").mkdir(parents=True)
    (docs / "notes.kb" / "readme.md").write_text("x")
    (docs / "circle").symlink_to(docs, target_is_directory=True)
    if sys.platform != "win32":
        os.mkfifo(docs / "pipe.md")
    (docs / "nowhere.md").symlink_to(docs / "gone")
    assert set(files_in(docs)) == {"docs/a.md", "docs/sub/b.txt"}


def test_a_file_and_its_folder_give_the_same_source(docs: Path) -> None:
    single = scopes([docs / "a.md"], {})[0]
    assert [file.source for file in walk(single)] == ["docs/a.md"]
    assert single.covers("docs/a.md")
    assert not single.covers("docs/sub/b.txt")


def test_a_folder_below_a_known_root_is_named_from_it(docs: Path) -> None:
    scope = scopes([docs / "sub"], {"docs": docs})[0]
    assert scope.prefix == "docs/sub"
    assert [file.source for file in walk(scope)] == ["docs/sub/b.txt"]
    assert not scope.covers("docs/subway/x.md")


def test_two_folders_of_one_name_get_two_roots(docs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "docs"
    other.mkdir(parents=True)
    assert [scope.root.name for scope in scopes([docs, other], {})] == ["docs", "docs-2"]


def test_a_root_whose_folder_is_gone_is_taken_over_by_its_name(docs: Path, tmp_path: Path) -> None:
    """The knowledge base came from another machine, or the folder was moved: no document changes its name."""
    assert scopes([docs], {"docs": tmp_path / "elsewhere" / "docs"})[0].root == Root("docs", docs)


def test_roots_inside_a_new_root_are_named_from_it(docs: Path) -> None:
    inner, outer = Root("sub", docs / "sub"), Root("docs", docs)
    assert swallowed(outer, {"sub": inner.path, "x": Path("/x")}) == [inner]
    assert moved_source("sub/b.txt", inner, outer) == "docs/sub/b.txt"


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="wrong"):
        scopes([tmp_path / "wrong"], {})


def test_all_kinds_of_change_are_told_apart(docs: Path) -> None:
    (docs / "c.md").write_text("gamma")
    (docs / "d.md").write_text("delta")
    (docs / "e.md").write_text("epsilon")
    (docs / "f.md").write_text("zeta")
    before = [row_of(file) for file in files_in(docs).values()]
    (docs / "a.md").write_text("changed")
    os.utime(docs / "c.md", ns=(1, 1))
    (docs / "d.md").rename(docs / "moved.md")
    (docs / "e.md").unlink()
    (docs / "new.md").write_text("new")
    before = [replace(row, status="failed") if row.source == "docs/f.md" else row for row in before]
    plan = compare(files_in(docs).values(), {row.source: row for row in before}, before)
    assert [file.source for file in plan.fresh] == ["docs/new.md"]
    assert sorted(row.source for row, _ in plan.changed) == ["docs/a.md", "docs/f.md"]
    assert [row.source for row in plan.unchanged] == ["docs/sub/b.txt"]
    assert [row.source for row, _ in plan.touched] == ["docs/c.md"]
    assert [(row.source, file.source) for row, file in plan.renamed] == [("docs/d.md", "docs/moved.md")]
    assert [row.source for row in plan.removed] == ["docs/e.md"]


def test_nothing_is_removed_that_was_not_in_scope(docs: Path) -> None:
    before = [row_of(file) for file in files_in(docs).values()]
    (docs / "a.md").unlink()
    assert compare(files_in(docs).values(), {row.source: row for row in before}, []).removed == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names there are text")
def test_a_name_that_is_no_text_is_still_one_file(docs: Path) -> None:
    Path(os.fsdecode(os.fsencode(docs) + b"/\xff.md")).write_text("x")
    assert "docs/\ufffd.md" in files_in(docs)
