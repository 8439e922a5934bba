"""`rag serve --workers`: several real processes behind one address, over a bucket that another process writes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import psutil
import pytest
from lmstudio_server import CHAT, lm_studio
from service_fixture import QUESTION, SAYS

from bench.object_storage import note
from bench.s3_server import BUCKET, S3
from ingest.pipeline import ingest
from rag.knowledge_base import KnowledgeBase
from rag.location import Location, location_of
from rag.service.turn import Turn
from rag.store.tables import Store
from rag.store.write import Writer, write_lock

SERVE = (sys.executable, "-c", "from rag.cli.app import main; main()", "serve")


@dataclass(frozen=True, slots=True)
class Replica:
    """A service of two processes that only reads `place`."""

    url: str
    process: psutil.Process
    place: Location

    def get(self, path: str) -> httpx2.Response:
        """By a connection of its own, which any of the processes may take."""
        return httpx2.get(self.url + path, timeout=60, trust_env=False)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        found = []
        for child in self.process.children():
            with suppress(psutil.Error):  # it has just ended
                found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
        return found


@pytest.fixture(scope="module")
def replica(object_storage: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    folder = tmp_path_factory.mktemp("replica")
    (folder / "clamp.md").write_text(f"# Clamp\n\n{SAYS}\n", encoding="utf-8")
    with lm_studio() as lm, pytest.MonkeyPatch.context() as patch:
        lm.says = SAYS
        for name, value in object_storage.environment.items():
            patch.setenv(name, value)
        place = location_of(f"s3://{BUCKET}/{folder.name}/notes.kb")
        with KnowledgeBase(settings=replace(lm.settings, kb=place, ttl_s=-1)) as base:
            assert ingest(folder / "clamp.md", into=base, workers=1).added == 1
        own = {"RAG_STATE_DIR": str(folder / "state"), "RAG_CHAT_MODEL": CHAT, "RAG_TTL_S": "-1"}
        command = [*SERVE, "--kb", str(place), "--read-only", "--workers", "2", "--port", "0", "--json"]
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, **own, "LMSTUDIO_HOST": lm.settings.host}
        )
        assert running.stdout is not None
        try:
            url = json.loads(running.stdout.readline())["address"]
            yield Replica(url, psutil.Process(running.pid), place)
        finally:
            running.kill()
            running.communicate()


def within_a_minute(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_process_answers_and_tells_the_figures_of_all(replica: Replica) -> None:
    within_a_minute(lambda: len(replica.workers()) == 2)
    for _ in range(20):
        assert replica.get("/health").status_code == 200
    counted = 'rag_requests_total{method="GET",route="/health",status="200"} 20.0'
    assert all(counted in replica.get("/metrics").text for _ in range(6))


def test_a_new_version_is_seen_by_all(replica: Replica) -> None:
    before = replica.get("/api/kb/documents").json()["total"]
    with write_lock(replica.place) as lease:
        writer = Writer(Store.open(replica.place), lease)
        writer.put([note(1, writer.store.identity.dimension)])
    within_a_minute(lambda: all(replica.get("/api/kb/documents").json()["total"] == before + 1 for _ in range(8)))


def test_it_only_reads(replica: Replica) -> None:
    sent = httpx2.post(f"{replica.url}/api/kb/documents", files={"files": ("x.md", b"x")}, trust_env=False)
    assert (sent.status_code, sent.json()["error"]["code"]) == (403, "read_only")
    gone = httpx2.delete(f"{replica.url}/api/kb/documents", params={"source": "clamp.md"}, trust_env=False)
    assert (gone.status_code, gone.json()["error"]["code"]) == (403, "read_only")


def test_a_conversation_goes_on_in_whichever_process(replica: Replica) -> None:
    address = f"{replica.url}/api/kb/conversations/bolts"
    for number in range(1, 3):
        asked = httpx2.post(f"{address}/ask", json={"question": QUESTION}, timeout=60, trust_env=False)
        assert asked.status_code == 200
        for _ in range(6):
            turns = replica.get("/api/kb/conversations/bolts").json()["turns"]
            assert [turn["answer"]["question"] for turn in turns] == [QUESTION] * number


@pytest.mark.skipif(sys.platform == "win32", reason="as POSIX knows it")
def test_one_that_dies_is_replaced_and_all_end_together(replica: Replica) -> None:
    first, second = replica.workers()
    first.kill()
    within_a_minute(lambda: len(replica.workers()) == 2 and first.pid not in {w.pid for w in replica.workers()})
    assert second.is_running()
    assert replica.get("/health").status_code == 200
    workers = replica.workers()
    replica.process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([replica.process, *workers], timeout=30)
    assert not alive


def test_one_of_several_processes_changes_the_knowledge_base(tmp_path: Path) -> None:
    one, other, alone = Turn(tmp_path), Turn(tmp_path), Turn(None)
    assert one.acquire()
    assert [turn.locked() for turn in (one, other, alone)] == [True, True, False]
    assert not one.acquire()
    assert not other.acquire()
    one.release()
    assert [turn.locked() for turn in (one, other)] == [False, False]
    assert other.acquire()
    other.release()
    assert alone.acquire()
    assert alone.locked()
    alone.release()
