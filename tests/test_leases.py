"""Leases: what we loaded leaves memory at its time, also after a kill, and never while somebody uses it."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from engine_fixture import RunningEngine, engine
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rag.lmstudio.embeddings import Embedder
from rag.lmstudio.http import Connection
from rag.lmstudio.keeper import start_keeper
from rag.lmstudio.leases import FOREVER, Lease, Leases, is_alive, this_process
from rag.lmstudio.models import load, unload
from rag.lmstudio.residency import ensure
from rag.settings import Settings

KEY = "text-embedding-all-minilm-l6-v2"
PATIENCE_S = 30.0  # how long a test waits for what has to come; it asserts that it comes, not when


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """An engine whose models no other test holds."""
    with engine(tmp_path_factory.mktemp("leases"), KEY, idle_seconds=600) as running:
        yield running


@pytest.fixture
def server(own_engine: RunningEngine) -> Settings:
    own_engine.unload_all()
    leases = Leases(own_engine.url)
    leases.forget(*leases.all())
    return Settings(host=f"127.0.0.1:{own_engine.port}", embedding_model=KEY, engine=False, ttl_s=2)


def until_gone(running: RunningEngine) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while running.loaded():
        assert time.monotonic() < deadline, f"still loaded: {running.loaded()}"
        time.sleep(0.2)


def test_an_idle_model_is_unloaded_at_its_ttl(own_engine: RunningEngine, server: Settings) -> None:
    with closing(Embedder(server)) as embedder:
        embedder.embed_query("battery")
        assert own_engine.loaded() == [KEY]
        until_gone(own_engine)
        assert embedder.embed_query("battery").shape == (384,), "and comes back when it is wanted"
    until_gone(own_engine)
    assert Leases(own_engine.url).all() == {}


def test_it_is_unloaded_after_its_process_was_killed(own_engine: RunningEngine, server: Settings) -> None:
    code = (
        "import sys, time; from rag.settings import Settings; from rag.lmstudio.embeddings import Embedder; "
        f"Embedder(Settings(host={server.host!r}, engine=False, ttl_s=2)).embed_query('x'); "
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "ready\n"
        assert own_engine.loaded() == [KEY]
        victim.kill()
        victim.wait()
    until_gone(own_engine)


def test_it_stays_while_a_second_process_uses_it(own_engine: RunningEngine, server: Settings) -> None:
    with Connection(server) as connection:
        instance = ensure(connection, "embedding", KEY, 512, ttl_s=1)
    leases = Leases(own_engine.url)
    with leases.using(instance.instance_id):
        time.sleep(4)
        assert own_engine.loaded() == [KEY]
    until_gone(own_engine)


def test_what_others_loaded_is_never_unloaded(own_engine: RunningEngine, server: Settings) -> None:
    with Connection(server) as connection:
        load(connection, KEY, 512)
        with closing(Embedder(replace(server, ttl_s=0))) as embedder:
            embedder.embed_query("x")
        assert Leases(own_engine.url).all() == {}
        assert own_engine.loaded() == [KEY]


def test_a_ttl_of_zero_unloads_at_the_end_and_not_before(own_engine: RunningEngine, server: Settings) -> None:
    with closing(Embedder(replace(server, ttl_s=0))) as embedder:
        embedder.embed_query("x")
        time.sleep(3)
        assert own_engine.loaded() == [KEY]
    assert own_engine.loaded() == []


def test_a_ttl_of_minus_one_keeps_it(own_engine: RunningEngine, server: Settings) -> None:
    with closing(Embedder(replace(server, ttl_s=FOREVER))) as embedder:
        embedder.embed_query("x")
    assert Leases(own_engine.url).all()[KEY].remaining_s(time.time()) is None
    assert own_engine.loaded() == [KEY]


def test_the_next_run_starts_a_keeper_that_was_killed(own_engine: RunningEngine, server: Settings) -> None:
    with Connection(server) as connection:
        load(connection, KEY, 512)
        leases = Leases(own_engine.url)
        leases.loaded(KEY, KEY, 1)  # as a run leaves it whose keeper died with it
        ensure(connection, "embedding", KEY, 512)
    until_gone(own_engine)


def test_a_lease_on_what_is_gone_is_dropped(own_engine: RunningEngine, server: Settings) -> None:
    leases = Leases(own_engine.url)
    leases.loaded("long-gone", "long-gone", 3600)
    with Connection(server) as connection:
        loaded = ensure(connection, "embedding", KEY, 512, ttl_s=FOREVER)
        assert set(leases.all()) == {KEY}
        unload(connection, loaded.instance_id)


def test_two_keepers_are_one(own_engine: RunningEngine, server: Settings) -> None:
    with Connection(server) as connection:
        ensure(connection, "embedding", KEY, 512, ttl_s=4)
        for _ in range(3):
            start_keeper(Leases(own_engine.url))
    until_gone(own_engine)


@pytest.mark.parametrize(
    ("lease", "expired"),
    [
        (Lease("i", "k", 10, 0, 90, "1:1"), True),
        (Lease("i", "k", 10, 0, 91, "1:1"), False),
        (Lease("i", "k", FOREVER, 0, 0, "1:1"), False),
        (Lease("i", "k", 10, 0, 0, "1:1", (this_process(),)), False),
        (Lease("i", "k", 10, 0, 0, "1:1", (f"{os.getpid()}:1",)), True),
    ],
)
def test_when_a_lease_ends(lease: Lease, expired: bool) -> None:
    """Time over, and nobody alive uses it; a process id that was given away does not count."""
    assert lease.expired(100.0) is expired


def test_a_process_is_alive_under_its_own_name_only() -> None:
    assert is_alive(this_process())
    assert not is_alive(f"{os.getpid()}:12345")
    assert not is_alive("no process")


def _work(folder: str, name: str, rounds: int) -> None:
    os.environ["RAG_STATE_DIR"] = folder
    leases = Leases("http://test")
    for number in range(rounds):
        own = f"{name}-{number}"
        leases.loaded(own, name, 3600)
        with leases.using("shared"):
            pass
        if number % 2:
            leases.forget(own)


@hypothesis_settings(max_examples=5, deadline=None)
@given(rounds=st.lists(st.integers(1, 12), min_size=2, max_size=4))
def test_many_writers_lose_nothing(tmp_path_factory: pytest.TempPathFactory, rounds: list[int]) -> None:
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAG_STATE_DIR", str(folder))
        leases = Leases("http://test")
        leases.loaded("shared", "shared", 3600)
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=_work, args=(str(folder), f"w{at}", count)) for at, count in enumerate(rounds)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * len(workers)
        kept = {f"w{at}-{n}" for at, count in enumerate(rounds) for n in range(count) if n % 2 == 0}
        assert set(leases.all()) == kept | {"shared"}
        assert leases.all()["shared"].users == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"leases": [{"instance_id": 1}]}'])
def test_a_damaged_file_is_no_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("RAG_STATE_DIR", str(tmp_path))
    leases = Leases("http://test")
    leases.folder.mkdir(parents=True)
    leases.path.write_text(content)
    assert leases.all() == {}
    leases.loaded("a", "a", 1)
    assert set(leases.all()) == {"a"}
