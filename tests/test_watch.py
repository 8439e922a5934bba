"""Following changes on real folders: each batch is one run, and what passes is waited for."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ingest.watch import follow
from rag.errors import KnowledgeBaseBusy, ServerUnreachable, UsageProblem


class Done(Exception):
    """The test has seen enough."""


def watched(
    paths: Sequence[Path],
    steps: Sequence[Callable[[], object]],
    *,
    kb: Path,
    told: list[str] | None = None,
    **more: object,
) -> None:
    """Follow `paths`, take the next step in each run, and return when the last one had caused another."""
    left = list(steps)
    began = time.monotonic()

    def run() -> None:
        assert time.monotonic() - began < 120, "only the comparison that comes every five minutes saw it"
        if not left:
            raise Done
        left.pop(0)()

    with pytest.raises(Done):
        follow(paths, kb, run, (told if told is not None else []).append, tick_ms=200, **more)  # type: ignore[arg-type]


def test_files_that_come_change_and_go_are_each_told(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    new, other = docs / "new.md", docs / "sub" / "other.md"
    watched(
        [docs],
        [
            lambda: new.write_text("one"),
            lambda: new.write_text("three"),
            lambda: new.rename(other),
            lambda: other.unlink(),
            lambda: (docs / ".gitignore").write_text("*"),
        ],
        kb=tmp_path / "kb",
    )


def test_what_cannot_matter_causes_no_run(tmp_path: Path) -> None:
    """Above all the knowledge base's own files: each run would cause the next."""
    docs = tmp_path / "docs"
    kb = docs / "notes.kb"
    (kb / "chunks.lance").mkdir(parents=True)
    (docs / ".git").mkdir()
    runs: list[float] = []

    def noise() -> None:
        (kb / "chunks.lance" / "data").write_text("x")
        (docs / ".git" / "index").write_text("x")
        (docs / ".a.md.swp").write_text("x")

    def change() -> None:
        runs.append(time.monotonic())
        (docs / "a.md").write_text("x")

    def later() -> None:
        noise()
        threading.Timer(1.5, change).start()

    watched([docs], [later], kb=kb)
    assert len(runs) == 1, "the run that ended it came after the change, not after the noise"


def test_a_named_file_is_followed_through_replacement(tmp_path: Path) -> None:
    """Editors write a new file and give it the old name."""
    note = tmp_path / "note.md"
    note.write_text("one")

    def replaced() -> None:
        (tmp_path / "note.md.new").write_text("three")
        (tmp_path / "note.md.new").replace(note)

    watched([note], [replaced, lambda: note.write_text("four!"), note.unlink], kb=tmp_path / "kb")


def test_a_folder_that_goes_and_comes_back_is_followed_again(tmp_path: Path) -> None:
    docs, away = tmp_path / "docs", tmp_path / "away"
    docs.mkdir()
    watched(
        [docs],
        [
            lambda: docs.rename(away),
            lambda: away.rename(docs),
            lambda: (docs / "a.md").write_text("x"),
        ],
        kb=tmp_path / "kb",
    )


def test_what_passes_is_told_once_and_tried_again(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    told: list[str] = []

    def fails(error: Exception) -> Callable[[], None]:
        def step() -> None:
            raise error

        return step

    watched(
        [docs],
        [
            fails(ServerUnreachable("nothing answers")),
            fails(ServerUnreachable("nothing answers")),
            fails(KnowledgeBaseBusy("another process")),
            fails(UsageProblem("no documents any more")),
            lambda: (docs / "a.md").write_text("xyz"),
        ],
        kb=tmp_path / "kb",
        told=told,
        trouble="the first run found no server",
        wait_s=(0.1, 0.3),
    )
    assert told == [
        "waiting: the first run found no server",
        "waiting: nothing answers",
        "waiting: another process",
        "waiting: no documents any more",
        "Going on.",
    ]


def test_another_error_ends_it(tmp_path: Path) -> None:
    def fails() -> None:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        follow([tmp_path], tmp_path / "kb", fails, [].append, trouble="x", wait_s=(0.1, 0.1), tick_ms=200)
