"""Reading processes, real ones: what crashes, hangs or eats memory costs one file, and nobody is left behind."""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ingest.frames import (
    Answer,
    FileDone,
    Job,
    ReadDocument,
    Task,
    UnreadMember,
    packed,
    packed_job,
    packed_task,
    unpacked,
    unpacked_job,
    unpacked_task,
)
from ingest.members import ReadOptions
from ingest.workers import Budget, Limits, Readers, workers_for
from rag.types import Chunk

JOB = Job(ReadOptions(), 200, "text-embedding-test", 1024)
WORDS = "Several words that stand in a row and say that a parrot eats seeds. "


def task(path: Path) -> Task:
    found = path.stat()
    return Task(str(path), f"docs/{path.name}", found.st_size, found.st_mtime_ns)


class Pool:
    """Readers, and what they said."""

    def __init__(self, limits: Limits, budget: int) -> None:
        self.said: queue.Queue[tuple[str, Answer]] = queue.Queue()
        self.ended: queue.Queue[BaseException | None] = queue.Queue()
        self.budget = Budget(budget)
        self.readers = Readers(limits, self.budget, self._on_answer, self.ended.put)

    def _on_answer(self, asked: Task, answer: Answer, held: int) -> None:
        self.said.put((asked.source, answer))
        self.budget.give(held)

    def outcomes(self) -> dict[str, str]:
        """The error of each file, "" where it was read."""
        assert self.ended.get(timeout=60) is None
        found: dict[str, str] = {}
        while not self.said.empty():
            source, answer = self.said.get()
            if isinstance(answer, FileDone):
                assert source not in found
                found[source] = answer.error
        return found


@contextmanager
def pool(
    tasks: list[Task], count: int = 1, limits: Limits | None = None, job: Job = JOB, budget: int = 1 << 24
) -> Iterator[Pool]:
    made = Pool(limits or Limits(), budget)
    made.readers.start(count)
    try:
        made.readers.read(tasks, job)
        yield made
    finally:
        made.readers.close()
    assert not [child for child in psutil.Process().children() if "ingest.worker" in " ".join(child.cmdline())]


def small_files(folder: Path, count: int) -> list[Task]:
    for number in range(count):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\n{WORDS * 3}\n")
    return [task(folder / f"{number}.md") for number in range(count)]


def test_every_file_is_read_once_by_several_processes(tmp_path: Path) -> None:
    tasks = small_files(tmp_path, 50)
    with pool(tasks, 3) as readers:
        assert readers.outcomes() == {one.source: "" for one in tasks}


def test_a_document_comes_over_as_it_was_cut(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Überschrift\n\n" + "Ein Satz über 文字 und 🙂. " * 60)
    with pool([task(tmp_path / "a.md")]) as readers:
        source, read = readers.said.get(timeout=60)
        assert readers.outcomes() == {"docs/a.md": ""}
    assert isinstance(read, ReadDocument)
    assert (source, read.source, read.parser) == ("docs/a.md", "docs/a.md", "markdown")
    assert read.text == (tmp_path / "a.md").read_text()
    assert len(read.chunks) == len(read.hashes) == len(read.estimates) > 1
    assert all(chunk.text == read.text[chunk.start : chunk.end] for chunk in read.chunks)
    assert read.chunks[0].headings == ("Überschrift",)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_a_crash_costs_the_file_that_was_read(tmp_path: Path) -> None:
    tasks = small_files(tmp_path, 6)
    (tmp_path / "big.txt").write_text("\n\n".join([WORDS * 20] * 8000))
    tasks.insert(2, task(tmp_path / "big.txt"))
    with pool(tasks) as readers:
        deadline = time.monotonic() + 60
        while readers.said.qsize() < 4 and time.monotonic() < deadline:
            time.sleep(0.01)  # the two small ones in front are done, the big one is being read
        os.kill(readers.readers._all[0].popen.pid, signal.SIGSEGV)
        outcomes = readers.outcomes()
    assert outcomes.pop("docs/big.txt") == "the reader crashed (signal SIGSEGV)"
    assert outcomes == {f"docs/{number}.md": "" for number in range(6)}


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("\n\n".join([WORDS * 20] * 16000))
    tasks = [task(tmp_path / "big.txt"), *small_files(tmp_path, 2)]
    with pool(tasks, limits=Limits(seconds=2.0, seconds_per_megabyte=0.0)) as readers:
        outcomes = readers.outcomes()
    assert outcomes == {"docs/big.txt": "the reader took longer than 2 s", "docs/0.md": "", "docs/1.md": ""}


def test_a_file_that_needs_too_much_memory_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("\n\n".join([WORDS * 20] * 20_000))
    tasks = [task(tmp_path / "big.txt"), *small_files(tmp_path, 2)]
    job = Job(ReadOptions(), 200, "text-embedding-test", 40)
    with pool(tasks, limits=Limits(megabytes=100), job=job) as readers:
        outcomes = readers.outcomes()
    assert outcomes.pop("docs/big.txt").startswith("the reader needed more than ")
    assert outcomes == {"docs/0.md": "", "docs/1.md": ""}


def test_processes_wait_for_room_and_all_is_read(tmp_path: Path) -> None:
    """A budget smaller than any document lets one through at a time."""
    tasks = []
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(WORDS * 200)
        tasks.append(task(tmp_path / f"{number}.txt"))
    with pool(tasks, 2, budget=10) as readers:
        assert readers.outcomes() == {one.source: "" for one in tasks}


def test_a_missing_file_is_an_outcome(tmp_path: Path) -> None:
    with pool([Task(str(tmp_path / "gone.md"), "docs/gone.md", 3, 0)]) as readers:
        assert readers.outcomes() == {"docs/gone.md": "the file cannot be read: No such file or directory"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such things there")
def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    with pool([Task(str(tmp_path / "pipe.md"), "docs/pipe.md", 3, 0)]) as readers:
        assert readers.outcomes()["docs/pipe.md"].startswith("the file cannot be read")


def test_a_file_that_changes_while_it_is_read_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(WORDS)
    before = task(tmp_path / "a.md")
    (tmp_path / "a.md").write_text(WORDS * 2)
    with pool([before]) as readers:
        assert readers.outcomes() == {"docs/a.md": "the file changed while it was read; run again"}


@pytest.mark.skipif(sys.platform == "win32", reason="names are text there")
def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n'\".md"))
    path.write_text(WORDS)
    found = path.stat()
    with pool([Task(str(path), "docs/odd.md", found.st_size, found.st_mtime_ns)]) as readers:
        assert readers.outcomes() == {"docs/odd.md": ""}


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX knows them")
def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "big.txt").write_text("\n\n".join([WORDS * 20] * 20_000))
    program = (
        "import sys, time; from pathlib import Path; from test_workers import *\n"
        "readers = Pool(Limits(), 1 << 24).readers\n"
        "readers.start(2)\n"
        f"readers.read([task(Path({str(tmp_path / 'big.txt')!r}))], JOB)\n"
        "print(*[process.popen.pid for process in readers._all], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(pid) for pid in map(int, parent.stdout.readline().split()) if psutil.pid_exists(pid)]
        parent.kill()
    assert workers, "the second one may have ended by then: there is one file"
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert len(gone) == len(workers)


def test_messages_come_back_as_they_were_sent() -> None:
    job = Job(ReadOptions(record_text=("a", "b"), max_members=7), 100, "model", 512)
    assert unpacked_job(packed_job(job)) == job
    one = Task("/some/w\udce9ird\nname", "docs/name", 5, 2**62)
    assert unpacked_task(packed_task(one)) == one
    chunks = [
        Chunk(0, "ein ", 0, 4, 1, ("A", "B"), "A > B", (1.0, 2.0, 3.0, 4.0)),
        Chunk(1, "文🙂", 4, 6, None, ("A", "B"), ""),
    ]
    read = ReadDocument("s", "t", "p", {"k": "v"}, "r", "h", "ein 文🙂", chunks, ["x", "y"], [3, 4], 1.5)
    for answer in (read, UnreadMember("s", "why", True), FileDone("hash", "", 2.5)):
        assert unpacked(packed(answer)) == answer


@pytest.mark.parametrize("data", [b"", b"{}", b'["what"]', b'["done"]', b'["document", 1]', b"\xff\x00"])
def test_nonsense_is_noticed(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        unpacked(data)


def test_few_small_files_get_one_process() -> None:
    assert workers_for([Task("a", "a", 100, 0)] * 3, None) == 1
    assert workers_for([Task("a", "a", 100, 0)] * 3, 2) == 2
    assert workers_for([Task("a", "a", 100, 0)], 4) == 1
    assert 1 <= workers_for([Task("a", "a", 10**9, 0)] * 100, None) <= 8


def test_the_budget_lets_one_large_thing_pass_alone() -> None:
    budget = Budget(10)
    budget.take(4)
    order: list[str] = []

    def large() -> None:
        budget.take(100)
        order.append("taken")

    thread = threading.Thread(target=large)
    thread.start()
    order.append("waits")
    budget.give(4)
    thread.join(timeout=10)
    assert order == ["waits", "taken"]
