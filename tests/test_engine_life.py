"""The life of models and of the engine: what leaves memory and when, what a death costs, what is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine, model_file, state_folder

from rag.engine import launch

GONE = "Model was unloaded while the request was still in queue.."
CRASHED = "The model has crashed without additional information. (Exit code: "
STORY = [{"role": "user", "content": "Tell a very long story."}]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("life"), CHAT, EMBED) as running:
        yield running


@pytest.fixture
def fresh(shared: RunningEngine) -> RunningEngine:
    shared.unload_all()
    return shared


def workers(running: RunningEngine) -> list[psutil.Process]:
    return list(psutil.Process(running.pid).children(recursive=True))


def resident_bytes(running: RunningEngine) -> int:
    """What the engine and its workers hold in memory."""
    return sum(process.memory_info().rss for process in [psutil.Process(running.pid), *workers(running)])


def eventually(true: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s: {what}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def embed(running: RunningEngine, *texts: str, **more: Any) -> httpx2.Response:
    return running.post("/v1/embeddings", model=EMBED, input=list(texts), **more)


def story(running: RunningEngine, **more: Any) -> httpx2.Response:
    return running.post("/v1/chat/completions", model=CHAT, messages=STORY, **{"max_tokens": -1, **more})


class Background:
    """Calls in threads, and their answers."""

    def __init__(self, *calls: Callable[[], httpx2.Response]) -> None:
        self.replies: list[httpx2.Response] = []
        self.broken: list[httpx2.TransportError] = []
        self._threads = [threading.Thread(target=self._call, args=(call,)) for call in calls]
        for thread in self._threads:
            thread.start()

    def _call(self, call: Callable[[], httpx2.Response]) -> None:
        try:
            self.replies.append(call())
        except httpx2.TransportError as exc:
            self.broken.append(exc)

    def answers(self) -> list[httpx2.Response]:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request hangs"
        return self.replies


def test_memory_comes_back(fresh: RunningEngine) -> None:
    """Models take memory and give it all back: their processes end, and the engine itself has not grown."""
    embed(fresh, "warm")
    fresh.unload_all()
    before = resident_bytes(fresh)
    held = []
    for _ in range(3):
        fresh.post("/api/v1/models/load", model=CHAT)
        fresh.post("/api/v1/models/load", model=EMBED)
        story(fresh, max_tokens=4)
        embed(fresh, "a", "b")
        held.append(resident_bytes(fresh) - before)
        fresh.unload_all()
        assert workers(fresh) == []
    left = resident_bytes(fresh) - before
    print(f"held {held[0] / 1e6:.0f} MB with both models, {left / 1e6:.1f} MB left after three rounds")
    assert min(held) > 100e6
    assert left < 10e6


def test_nothing_is_left_of_a_worker(fresh: RunningEngine) -> None:
    """No zombie, no open file, whichever way it ended."""
    engine_process = psutil.Process(fresh.pid)

    def round_() -> None:
        embed(fresh, "a")
        (worker,) = workers(fresh)
        os.kill(worker.pid, signal.SIGTERM)
        eventually(lambda: not fresh.loaded(), "the dead model is off the list")
        embed(fresh, "a")
        fresh.unload_all()

    round_()
    open_files = engine_process.num_fds() if os.name == "posix" else 0
    for _ in range(3):
        round_()
    assert workers(fresh) == []
    if os.name == "posix":
        eventually(lambda: engine_process.num_fds() <= open_files + 2, "files are closed")


def test_ttl_of_the_policy(tmp_path: Path) -> None:
    """A model that a request loaded leaves when idle; one loaded on purpose stays; `ttl` wins over the policy."""
    with engine(tmp_path, CHAT, EMBED, jit_ttl_seconds=1, auto_evict=False) as running:
        running.post("/api/v1/models/load", model=CHAT)
        embed(running, "a")
        assert set(running.loaded()) == {CHAT, EMBED}
        eventually(lambda: running.loaded() == [CHAT], "the embedding model has left")
        embed(running, "a", ttl=60)
        time.sleep(2)
        assert set(running.loaded()) == {CHAT, EMBED}


def test_work_keeps_a_model(tmp_path: Path) -> None:
    """An answer that takes longer than the TTL is not cut off by it."""
    with engine(tmp_path, CHAT, jit_ttl_seconds=1) as running:
        reply = story(running, max_tokens=150, seed=1)
        assert reply.status_code == 200
        assert reply.json()["usage"]["completion_tokens"] > 1
        eventually(lambda: not running.loaded(), "the model has left")


def test_without_auto_evict(tmp_path: Path) -> None:
    with engine(tmp_path, CHAT, EMBED, auto_evict=False) as running:
        embed(running, "a")
        story(running, max_tokens=1)
        assert set(running.loaded()) == {CHAT, EMBED}


def test_eviction_fails_what_waits(fresh: RunningEngine) -> None:
    """A just-in-time load evicts the other model, and with it the requests in its queue, each with the same words."""
    embed(fresh, "warm")
    calls = Background(*[lambda: embed(fresh, *["many words " * 100] * 96)] * 4)
    time.sleep(0.7)
    assert story(fresh, max_tokens=1).status_code == 200
    answers = calls.answers()
    assert len(answers) == 4
    for reply in answers:
        assert reply.status_code == 200 or (reply.status_code, reply.json()) == (400, {"error": GONE})
    assert {reply.status_code for reply in answers} >= {400}
    assert fresh.loaded() == [CHAT]


def test_a_death_costs_its_own_requests(fresh: RunningEngine) -> None:
    """Those of the worker fail with its exit code, whole and in streams; those of another model do not."""
    fresh.post("/api/v1/models/load", model=CHAT)
    (victim,) = workers(fresh)
    fresh.post("/api/v1/models/load", model=EMBED)
    calls = Background(lambda: story(fresh), lambda: story(fresh), lambda: story(fresh, stream=True))
    others = Background(lambda: embed(fresh, *["some words"] * 64))
    time.sleep(1)
    victim.kill()
    answers = calls.answers()
    assert len(answers) == 3
    whole = [reply for reply in answers if reply.status_code == 400]
    assert len(whole) == 2
    assert all(reply.json()["error"].startswith(CRASHED) for reply in whole)
    (streamed,) = (reply for reply in answers if reply.status_code == 200)
    assert streamed.text.rstrip().splitlines()[-2] == "event: error"
    assert CRASHED in streamed.text.splitlines()[-2]
    assert others.answers()[0].status_code == 200
    assert fresh.loaded() == [EMBED]
    assert story(fresh, max_tokens=1).status_code == 200


@pytest.mark.skipif(os.name != "posix", reason="only there can a process be halted")
def test_a_worker_that_does_not_listen(fresh: RunningEngine) -> None:
    """One that neither answers nor ends when asked to is killed, and who waited for it hears of it."""
    embed(fresh, "a")
    (worker,) = workers(fresh)
    worker.suspend()
    calls = Background(lambda: embed(fresh, "b"))
    time.sleep(0.3)
    assert fresh.post("/api/v1/models/unload", instance_id=EMBED).status_code == 200
    (reply,) = calls.answers()
    assert (reply.status_code, reply.json()) == (400, {"error": GONE})
    assert gone(worker.pid)
    assert embed(fresh, "b").status_code == 200


def test_unload_while_loading(tmp_path: Path) -> None:
    """Who waits for the load hears of it, and no process stays."""
    with engine(tmp_path, CHAT, faults=["slow-load=3"]) as running:
        calls = Background(lambda: story(running, max_tokens=1))
        time.sleep(0.7)
        assert running.post("/api/v1/models/unload", instance_id=CHAT).status_code == 200
        (reply,) = calls.answers()
        assert (reply.status_code, reply.json()) == (400, {"error": GONE})
        assert workers(running) == []


def test_a_load_outlives_its_client(tmp_path: Path) -> None:
    """The client that asked first hangs up; the load goes on for those who wait for the same model."""
    with engine(tmp_path, EMBED, faults=["slow-load=2"]) as running:
        with pytest.raises(httpx2.ReadTimeout):
            running.http.post("/v1/embeddings", json={"model": EMBED, "input": "a"}, timeout=0.5)
        assert embed(running, "a").status_code == 200
        assert running.loaded() == [EMBED]


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """A model that breaks at load is a clear error, and leaves neither a row in the list nor a process."""
    models = tmp_path / "models" / "somebody" / "broken"
    models.mkdir(parents=True)
    whole = model_file(CHAT).read_bytes()
    (models / "broken.gguf").write_bytes(whole[: len(whole) // 2])
    with engine(tmp_path, models=tmp_path / "models") as running:
        reply = running.post("/api/v1/models/load", model="broken")
        assert (reply.status_code, reply.json()["error"]["type"]) == (500, "model_load_failed")
        assert running.loaded() == []
        assert workers(running) == []


def test_stop_while_busy(tmp_path: Path) -> None:
    """Neither a stream, nor a long answer, nor a load holds up the stop for good; nothing stays."""
    with engine(tmp_path, CHAT, EMBED) as running:
        running.post("/api/v1/models/load", model=CHAT)
        calls = Background(lambda: story(running), lambda: story(running, stream=True), lambda: embed(running, "a"))
        time.sleep(0.5)
        pids = [running.pid, *(worker.pid for worker in workers(running))]
        with state_folder(tmp_path):
            assert launch.stop("127.0.0.1", running.port)
        calls.answers()
        assert all(gone(pid) for pid in pids)
        assert not (tmp_path / f"engine-{running.port}.json").exists()


def test_idle_is_not_a_stream(tmp_path: Path) -> None:
    """An engine that leaves when idle finishes what it says first."""
    with engine(tmp_path, CHAT, idle_seconds=1) as running:
        reply = story(running, max_tokens=200, stream=True, seed=1)
        assert reply.text.endswith("data: [DONE]\n\n")
        eventually(lambda: gone(running.pid), "the engine has left")


def test_idle_is_not_a_download(tmp_path: Path) -> None:
    """Nobody asks how far it is, and still the download is finished before the engine leaves."""
    models = tmp_path / "models"
    with engine(tmp_path, idle_seconds=1, models=models) as running:
        assert running.post("/api/v1/models/download", model=CHAT).json()["status"] == "downloading"
        eventually(lambda: gone(running.pid), "the engine has left", 120)
    (file,) = models.rglob("*.gguf")
    assert file.stat().st_size == model_file(CHAT).stat().st_size


def test_soak() -> None:
    """Twenty seconds of everything at random; `bench/engine_soak.py` says what, and runs it for longer."""
    command = [sys.executable, "-m", "bench.engine_soak", "--seconds", "20", "--no-record"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    figures = json.loads(done.stdout)
    assert (figures["problems"], figures["tracebacks in the log"]) == ([], 0)
    assert figures["outcomes"]["well"] > 5
    assert done.returncode == 0
