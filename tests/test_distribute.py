"""`ingest --ray` on a real Ray of two workers, started once for all tests: the same as without, whatever is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import rag.errors as errors
from bench.corpus import many
from bench.crash import Editor, contents, same
from bench.ingest import Synthetic, synthetic
from ingest.distribute import HERE, Cluster, session
from ingest.pipeline import ingest
from ingest.report import IngestReport, Outcome
from rag.knowledge_base import KnowledgeBase
from rag.settings import Settings

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lmstudio-rag[ray]'")
pytest.importorskip("lance", reason="Lance is not installed: pip install 'lmstudio-rag[ray]'")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Ray for Windows is not finished"),
    # Ray's, of its own parts and of files that it leaves to be closed.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
LISTENS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
COMMAND = "from ingest.cli import main; main()"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray of two workers, which this process is connected to; others may connect to its address."""
    with session(Cluster(HERE, 2)) as ray:
        yield ray.get_runtime_context().gcs_address


@pytest.fixture(scope="module")
def server() -> Iterator[Synthetic]:
    with synthetic(10, "--slots", "8") as running:
        yield running


@contextmanager
def slow(server: Synthetic) -> Iterator[None]:
    """There is time to kill somebody."""
    server.call("/cost?base=0.15&token=0")
    yield
    server.call("/cost?base=0.0005&token=0.000002")


def run(server: Synthetic, folder: Path | list[Path], kb: Path, **how: Any) -> IngestReport:
    settings = Settings(host=server.host, engine=False, embedding_model="synthetic-embedding")
    with KnowledgeBase(kb, settings=settings) as base:
        return ingest(folder, into=base, **how)


def ids(kb: Path) -> list[tuple[str, str]]:
    with KnowledgeBase(kb) as base:
        rows = base.store.chunks_table.search().select(["document_id", "id"]).to_arrow().to_pylist()
    return sorted((row["document_id"], row["id"]) for row in rows)


def told(report: IngestReport) -> list[Outcome]:
    return sorted((replace(one, ms=0) for one in report.outcomes), key=lambda one: (one.source, one.status))


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many(tmp_path_factory.mktemp("corpus") / "notes", 40, 2500)


@pytest.fixture(scope="module")
def clean(server: Synthetic, notes: Path) -> dict[str, Any]:
    """What a run without Ray makes of the notes."""
    run(server, notes, notes.with_name("clean.kb"))
    return contents(notes.with_name("clean.kb"))


def start(address: str, server: Synthetic, folder: Path, kb: Path) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "LMSTUDIO_HOST": server.host,
        "RAG_EMBEDDING_MODEL": "synthetic-embedding",
        "RAG_ENGINE": "0",
    }
    command = [sys.executable, "-c", LISTENS + COMMAND, str(folder), "--kb", str(kb), "--ray", address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_texts(server: Synthetic, texts: int) -> None:
    deadline = time.monotonic() + 240
    while server.call("/stats")["answered"] < texts:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("address")
def test_the_same_knowledge_base_as_without(server: Synthetic, tmp_path: Path) -> None:
    """Documents, ids, chunks, places, vectors and what is told; at first and after every kind of change."""
    folder = tmp_path / "notes"
    editor = Editor(folder, random.Random(3))
    editor.fill(14)
    (folder / "damaged.pdf").write_bytes(b"%PDF-1.4 and no more")
    for turn in range(2):
        places = [folder, SAMPLE / "mail", SAMPLE / "support"]
        without = run(server, places, tmp_path / "without.kb")
        by_ray = run(server, places, tmp_path / "ray.kb", cluster=HERE)
        assert told(by_ray) == told(without)
        assert by_ray.chunks == without.chunks > 0
        assert by_ray.failed == 1
        same(contents(tmp_path / "ray.kb"), contents(tmp_path / "without.kb"))
        assert ids(tmp_path / "ray.kb") == ids(tmp_path / "without.kb")
        if turn:
            assert by_ray.reused > 0
        editor.change()


@pytest.mark.usefixtures("address")
def test_several_servers_take_turns(server: Synthetic, notes: Path, tmp_path: Path) -> None:
    server.call("/reset")
    with synthetic(10) as other:
        report = run(server, notes, tmp_path / "a.kb", cluster=HERE, embed_urls=[server.host, other.host])
        texts = [int(one.call("/stats")["texts"]) for one in (server, other)]
    assert report.added == 40
    assert min(texts) > report.chunks // 10


@pytest.mark.usefixtures("address")
def test_a_worker_that_is_killed_costs_its_parcel(
    server: Synthetic, notes: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    killed = []

    def kill() -> None:
        wait_for_texts(server, 60)
        for process in psutil.Process().children(recursive=True):
            if process.name().startswith("ray::Map"):
                killed.append(process)
                process.kill()
                return

    with slow(server):
        killer = threading.Thread(target=kill)
        killer.start()
        report = run(server, notes, tmp_path / "a.kb", cluster=HERE)
        killer.join()
    assert len(killed) == 1
    assert report.added == 40
    same(contents(tmp_path / "a.kb"), clean)


def test_ctrl_c_and_a_kill_leave_what_was_and_the_next_run_goes_on(
    address: str, server: Synthetic, notes: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    kb = tmp_path / "a.kb"
    with slow(server):
        process = start(address, server, notes, kb)
        wait_for_texts(server, 60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=240)
        assert process.returncode == 130
        assert said.startswith("Interrupted.")
        assert "Traceback" not in said
        before = contents(kb)
        server.call("/reset")
        process = start(address, server, notes, kb)
        wait_for_texts(server, 50)
        process.kill()
        process.communicate()
    after = contents(kb)
    assert set(before) <= set(after)
    assert len(after) < 40
    run(server, notes, kb, cluster=HERE)
    same(contents(kb), clean)


@pytest.mark.usefixtures("address")
def test_a_server_that_dies_ends_the_run_as_it_does_without_ray(
    notes: Path, clean: dict[str, Any], tmp_path: Path
) -> None:
    with synthetic(2) as server:
        server.call("/die?after=12")
        with pytest.raises(errors.ServerUnreachable):
            run(server, notes, tmp_path / "a.kb", cluster=HERE)
    with synthetic(10) as again:
        run(again, notes, tmp_path / "a.kb", cluster=HERE)
    same(contents(tmp_path / "a.kb"), clean)


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "a.md").write_text("A parrot eats seeds.")
    with synthetic(10) as server, pytest.raises(errors.MissingExtra, match=r"lmstudio-rag\[ray\]"):
        run(server, tmp_path, tmp_path / "a.kb", cluster=HERE)
