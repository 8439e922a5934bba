"""After any changes to a folder, the store agrees with it: nothing lost, nothing kept, nothing read without need."""

import hashlib
import os
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import settings as budget
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.inventory import comparison, look
from ingest.pipeline import ingest
from ingest.sources import File, Plan
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings
from rag.store.names import digest
from rag.store.schema import DocumentRow

FOLDERS = st.sampled_from(["", "a/", "b/", "a/c/", "a/c/d/", "b/a/"])
PATHS = st.builds(str.__add__, FOLDERS, st.sampled_from(["x.md", "y.md", "z.txt", "it's ü.md"]))
CONTENTS = st.sampled_from(["one", "two", "six", "three", "seven", ""])
IGNORED = st.sampled_from(["x.md", "*.txt", "c/", "/a", "d"])


class Folder(RuleBasedStateMachine):
    """A real folder, the rows that a store would hold of it, and what the two have to do with one another."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.docs = Path(self.temporary.name).resolve() / "docs"
        self.docs.mkdir()
        self.rows: dict[str, DocumentRow] = {}
        self.ignored: set[str] = set()
        self.now = 1_000_000_000

    def teardown(self) -> None:
        self.temporary.cleanup()

    def write(self, path: Path, content: str) -> None:
        """A new time each time: two changes within one tick of a file system's clock look like one to everybody."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.touch(path)

    def touch(self, path: Path) -> None:
        self.now += 1_000_000_000
        os.utime(path, ns=(self.now, self.now))

    def files(self) -> dict[str, Path]:
        """What counts, found in another way than the product's."""
        found = {}
        for path in self.docs.rglob("*"):
            parts = path.relative_to(self.docs).parts
            hidden = any(part.startswith(".") for part in parts)
            if path.is_file() and not hidden and not any(self.leaves_out(parts, each) for each in self.ignored):
                found["docs/" + "/".join(parts)] = path
        return found

    @staticmethod
    def leaves_out(parts: tuple[str, ...], pattern: str) -> bool:
        if pattern == "*.txt":
            return parts[-1].endswith(".txt")
        if pattern == "/a":
            return parts[0] == "a"
        return pattern.rstrip("/") in (parts[:-1] if pattern.endswith("/") else parts)

    def some(self, number: int) -> Path | None:
        there = sorted(path for path in self.docs.rglob("*") if path.is_file() and not path.name.startswith("."))
        return there[number % len(there)] if there else None

    @rule(path=PATHS, content=CONTENTS)
    def add_or_change(self, path: str, content: str) -> None:
        self.write(self.docs / path, content)

    @rule(number=st.integers(0, 30))
    def touch_one(self, number: int) -> None:
        if path := self.some(number):
            self.touch(path)

    @rule(number=st.integers(0, 30), to=PATHS)
    def move(self, number: int, to: str) -> None:
        if path := self.some(number):
            (self.docs / to).parent.mkdir(parents=True, exist_ok=True)
            path.replace(self.docs / to)

    @rule(number=st.integers(0, 30), to=PATHS)
    def copy(self, number: int, to: str) -> None:
        if path := self.some(number):
            self.write(self.docs / to, path.read_text())

    @rule(one=st.integers(0, 30), other=st.integers(0, 30))
    def swap(self, one: int, other: int) -> None:
        first, second = self.some(one), self.some(other)
        if first and second and first != second:
            aside = self.docs / ".aside"
            first.replace(aside)
            second.replace(first)
            aside.replace(second)

    @rule(number=st.integers(0, 30))
    def delete(self, number: int) -> None:
        if path := self.some(number):
            path.unlink()

    @rule(folder=st.sampled_from(["a", "b", "a/c"]), to=st.sampled_from(["e", "b/e", "f"]))
    def move_folder(self, folder: str, to: str) -> None:
        into_itself = f"{to}/".startswith(f"{folder}/")
        if (self.docs / folder).is_dir() and not (self.docs / to).exists() and not into_itself:
            (self.docs / to).parent.mkdir(parents=True, exist_ok=True)
            (self.docs / folder).rename(self.docs / to)

    @rule(folder=st.sampled_from(["a", "b", "a/c", "e"]))
    def delete_folder(self, folder: str) -> None:
        shutil.rmtree(self.docs / folder, ignore_errors=True)

    @rule(patterns=st.sets(IGNORED, max_size=2))
    def ignore(self, patterns: set[str]) -> None:
        self.ignored = patterns
        (self.docs / ".ragignore").write_text("\n".join(sorted(patterns)))

    @rule()
    def sync(self) -> None:
        self.agree(self.docs, "docs/")
        again = self.plan(self.docs)
        assert (again.fresh, again.changed, again.touched, again.renamed, again.removed) == ([], [], [], [], [])

    @precondition(lambda self: (self.docs / "a").is_dir())
    @rule()
    def sync_a_part(self) -> None:
        before = {source: row for source, row in self.rows.items() if not source.startswith("docs/a/")}
        self.agree(self.docs / "a", "docs/a/", everything="/a" in self.ignored)
        assert {source: row for source, row in self.rows.items() if not source.startswith("docs/a/")} == before

    def plan(self, path: Path) -> Plan:
        seen = look([path], {"docs": self.docs})
        return comparison(seen, list(self.rows.values()), {"docs": self.docs}, prune=True, yes=True, retry=True)[0]

    def agree(self, path: Path, prefix: str, everything: bool = False) -> None:
        before = dict(self.rows)
        if everything:  # a folder that was named is read although its own name is left out
            ignored, self.ignored = self.ignored, self.ignored - {"/a"}
            present = {source: at for source, at in self.files().items() if source.startswith(prefix)}
            self.ignored = ignored
        else:
            present = {source: at for source, at in self.files().items() if source.startswith(prefix)}
        hashes = {source: hashlib.sha256(at.read_bytes()).hexdigest() for source, at in present.items()}
        plan = self.plan(path)

        told = [row.source for row in (*plan.unchanged, *plan.removed)]
        told += [row.source for row, _ in (*plan.changed, *plan.touched, *plan.renamed)]
        assert sorted(told) == sorted(source for source in before if source.startswith(prefix))
        met = [file.source for file in plan.fresh]
        met += [file.source for _, file in (*plan.changed, *plan.touched, *plan.renamed)]
        met += [row.source for row in plan.unchanged]
        assert sorted(met) == sorted(present)

        for row, file in plan.changed:
            assert row.content_hash != hashes[file.source], "what has not changed is not read"
        gone = Counter(row.content_hash for row in plan.removed)
        for file in plan.fresh:
            assert not gone[hashes[file.source]], "what was moved is not read"
        for row, file in plan.renamed:
            assert (row.content_hash, row.source in present) == (hashes[file.source], False)

        self.apply(plan, hashes)
        mine = {source: row for source, row in self.rows.items() if source.startswith(prefix)}
        assert {source: row.content_hash for source, row in mine.items()} == hashes
        for source, row in mine.items():
            found = present[source].stat()
            assert (row.size, row.mtime_ns) == (found.st_size, found.st_mtime_ns)

    def apply(self, plan: Plan, hashes: dict[str, str]) -> None:
        """What the pipeline does with a plan, without reading anything."""
        for row in plan.removed:
            del self.rows[row.source]
        for row, _ in plan.renamed:
            del self.rows[row.source]
        for row, file in (*plan.changed, *plan.touched, *plan.renamed):
            self.rows[file.source] = replace(
                row,
                source=file.source,
                size=file.size,
                mtime_ns=file.mtime_ns,
                content_hash=hashes[file.source],
            )
        for file in plan.fresh:
            self.rows[file.source] = fresh_row(file, hashes[file.source], {row.id for row in self.rows.values()})

    @invariant()
    def ids_are_unique(self) -> None:
        assert len({row.id for row in self.rows.values()}) == len(self.rows)


def fresh_row(file: File, hashed: str, taken: set[str]) -> DocumentRow:
    id_ = digest(file.source)
    while id_ in taken:
        id_ = digest(id_)
    return DocumentRow(
        id_, file.source, file.root, hashed, file.size, file.mtime_ns, "r", "", "p", "ok", "", chunks=1, indexed_at=0
    )


Folder.TestCase.settings = budget(max_examples=60, stateful_step_count=25, deadline=None)
TestFolder = Folder.TestCase


def test_after_many_changes_the_base_is_that_of_a_clean_build(
    kb: KnowledgeBase, settings: Settings, tmp_path: Path
) -> None:
    chance = random.Random(5)
    docs = tmp_path / "docs"
    docs.mkdir()
    words = "battery cable parrot invoice warranty ladder river engine".split()

    def text() -> str:
        return "\n\n".join(f"The {chance.choice(words)} has number {chance.randrange(90)}." for _ in range(3))

    for number in range(12):
        (docs / f"{number}.md").write_text(text())
    ingest(docs, into=kb)
    for _ in range(3):
        there = sorted(docs.rglob("*.md"))
        chance.shuffle(there)
        there[0].unlink()
        (docs / "sub").mkdir(exist_ok=True)
        there[1].rename(docs / "sub" / there[1].name)
        there[2].write_text(text() + "!" * chance.randrange(1, 9))
        os.utime(there[3])
        (docs / f"new {chance.random()}.md").write_text(text())
        report = ingest(docs, into=kb)
        assert (report.added, report.updated, report.renamed, report.removed, report.failed) == (1, 1, 1, 1, 0)
        assert report.embedded <= 2
    with KnowledgeBase(tmp_path / "clean.kb", settings=settings) as clean:
        ingest(docs, into=clean)
        assert content(kb) == content(clean)


def content(kb: KnowledgeBase) -> dict[str, tuple[str, list[tuple[int, int, str]]]]:
    return {
        row.source: (
            kb.text(row.source),
            [(chunk["start"], chunk["end"], chunk["text"]) for chunk in kb.store.chunk_rows(row.id)],
        )
        for row in kb.documents()
    }
