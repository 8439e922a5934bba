"""What is there and what has changed, on real folders."""

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.sources import (
    File,
    Gap,
    Root,
    compare,
    content_hash,
    moved_source,
    scopes,
    size_and_time,
    swallowed,
    walk,
)
from rag.errors import SourceNotFound, UsageProblem
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
    return {file.source: file for file in walk(scopes([docs], {})[0]) if isinstance(file, File)}


def test_sources_are_root_and_posix_path(docs: Path) -> None:
    assert set(files_in(docs)) == {"docs/a.md", "docs/sub/b.txt"}


def test_hidden_files_knowledge_bases_and_circles_are_left_out(docs: Path) -> None:
    (docs / ".secret").write_text("x")
    (docs / ".git").mkdir()
    (docs / ".git" / "config.md").write_text("x")
    (docs / "notes.kb" / "chunks.lance").mkdir(parents=True)
    (docs / "notes.kb" / "documents.lance").mkdir()
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


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_root_in_other_letters_is_the_same_root(docs: Path) -> None:
    """On a Mac DOCS is docs; here a link shows what it comes down to, one place under two spellings."""
    (docs.parent / "DOCS").symlink_to(docs)
    for given, source in (("DOCS", "docs"), ("DOCS/sub", "docs/sub"), ("DOCS/a.md", "docs/a.md")):
        assert scopes([docs.parent / given], {"docs": docs})[0].prefix == source


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
def test_names_that_are_no_text_are_still_files_of_their_own(docs: Path) -> None:
    for byte in (b"\xff", b"\xfe"):
        Path(os.fsdecode(os.fsencode(docs) + b"/" + byte + b".md")).write_text("x")
    assert {"docs/\\udcff.md", "docs/\\udcfe.md"} <= set(files_in(docs))


@pytest.mark.parametrize("name", ["it's.md", 'say "hi".md', "new\nline.md", "ü 文 🙂.md", " .md", "back\\slash.md"])
@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be made there")
def test_any_name_is_a_source(docs: Path, name: str) -> None:
    (docs / name).write_text("x")
    assert files_in(docs)[f"docs/{name}"].path == docs / name


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes in folders there")
def test_what_is_no_file_is_refused_and_never_opened(docs: Path) -> None:
    os.mkfifo(docs / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(docs / "sock.md"))
        assert set(files_in(docs)) == {"docs/a.md", "docs/sub/b.txt"}
    for name in ("pipe.md", "sock.md"):
        with pytest.raises(UsageProblem, match="ingest - --name"):
            scopes([docs / name], {})
    with pytest.raises(OSError, match="not a regular file"):
        content_hash(docs / "pipe.md")


def test_a_folder_that_became_too_deep_to_list_is_a_gap(docs: Path) -> None:
    """The path is longer than the system takes; what is above it is found all the same."""
    back = Path.cwd()
    os.chdir(docs)
    try:
        for _ in range(25):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
        Path("deep.md").write_text("x")
    finally:
        os.chdir(back)
    found = list(walk(scopes([docs], {})[0]))
    gaps = [entry for entry in found if isinstance(entry, Gap)]
    assert len(gaps) == 1
    assert gaps[0].reason
    assert {file.source for file in found if isinstance(file, File)} == {"docs/a.md", "docs/sub/b.txt"}


def test_a_folder_that_cannot_be_listed_is_a_gap_with_its_reason(docs: Path) -> None:
    (docs / "sub").chmod(0)
    if os.access(docs / "sub", os.R_OK):
        pytest.skip("this user reads everything")
    found = list(walk(scopes([docs], {})[0]))
    (docs / "sub").chmod(0o700)
    assert {entry.source for entry in found} == {"docs/a.md", "docs/sub"}
    assert [entry.reason for entry in found if isinstance(entry, Gap)] == [
        "the folder cannot be listed: Permission denied"
    ]


def test_a_file_that_cannot_be_looked_at_is_there_with_its_problem(docs: Path) -> None:
    """The folder may be listed but not entered: what is in it is not gone."""
    (docs / "sub").chmod(0o400)
    if os.access(docs / "sub", os.X_OK):
        pytest.skip("this user enters every folder")
    found = files_in(docs)
    (docs / "sub").chmod(0o700)
    assert found["docs/sub/b.txt"].problem == "the file cannot be looked at: Permission denied"


def test_an_empty_folder_is_a_gap_without_a_reason(docs: Path) -> None:
    (docs / "mount").mkdir()
    assert [entry for entry in walk(scopes([docs], {})[0]) if isinstance(entry, Gap)] == [
        Gap(docs / "mount", "docs/mount", "")
    ]


def test_a_time_that_the_store_cannot_hold_is_brought_into_range(docs: Path) -> None:
    far = os.stat_result((0o100644, 0, 0, 1, 0, 0, 5, 0, 0, 0), {"st_mtime_ns": 2**64})
    assert size_and_time(far) == (5, 2**63 - 1)


def test_folders_named_as_ours_are_named_otherwise(tmp_path: Path) -> None:
    """The roots `web` and `stdin` hold what has no folder; no folder may prune it."""
    for name in ("web", "stdin"):
        (tmp_path / name).mkdir()
        assert scopes([tmp_path / name], {})[0].root.name == f"{name}-2"


def test_of_several_copies_the_one_of_the_same_name_was_moved(docs: Path) -> None:
    (docs / "copy.md").write_text("alpha")
    before = [row_of(file) for file in files_in(docs).values()]
    (docs / "sub" / "a.md").write_text("alpha")
    (docs / "a.md").unlink()
    (docs / "copy.md").unlink()
    plan = compare(files_in(docs).values(), {row.source: row for row in before}, before)
    assert [(row.source, file.source) for row, file in plan.renamed] == [("docs/a.md", "docs/sub/a.md")]
    assert [row.source for row in plan.removed] == ["docs/copy.md"]


def test_documents_of_a_root_that_is_gone_are_found_again_or_kept(docs: Path) -> None:
    """The folder was renamed: its documents move to the new root. What is not found there may be on an absent disk."""
    before = [row_of(file) for file in files_in(docs).values()]
    (docs / "a.md").unlink()
    docs.rename(docs.parent / "papers")
    found = files_in(docs.parent / "papers")
    plan = compare(found.values(), {row.source: row for row in before}, [], adrift=before)
    assert [(row.source, file.source) for row, file in plan.renamed] == [("docs/sub/b.txt", "papers/sub/b.txt")]
    assert (plan.fresh, plan.removed) == ([], [])
