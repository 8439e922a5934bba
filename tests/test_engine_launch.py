"""Starting, stopping and leaving: one engine per port, and nothing left behind."""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from engine_fixture import EMBED, engine, free_port, state_folder

from rag.engine import launch
from rag.errors import EngineStartFailed


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait_until_gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return _gone(pid)


def test_start_twice_stop_once(tmp_path: Path) -> None:
    """Two starts at the same moment give one engine; stop ends it with its workers, and says when there is none."""
    port = free_port()
    with state_folder(tmp_path):
        code = f"from rag.engine import launch; print(launch.start('127.0.0.1', {port}).pid)"
        starters = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
        pids = {int(starter.communicate()[0]) for starter in starters}
        assert len(pids) == 1
        again = launch.start("127.0.0.1", port)
        assert again.pid in pids
        assert again.running
        assert launch.status("127.0.0.1", port) == again
        assert any("engine on http://" in line for line in launch.logs("127.0.0.1", port))
        assert launch.stop("127.0.0.1", port)
        assert again.pid is not None
        assert _gone(again.pid)
        assert not launch.status("127.0.0.1", port).running
        assert not launch.stop("127.0.0.1", port)
        assert {path.suffix for path in tmp_path.iterdir()} <= {".log", ".lock"}


def test_workers_die_with_a_killed_engine(tmp_path: Path) -> None:
    with engine(tmp_path, EMBED) as running:
        assert running.post("/v1/embeddings", model=EMBED, input="a").status_code == 200
        (worker,) = psutil.Process(running.pid).children()
        psutil.Process(running.pid).kill()
        assert _wait_until_gone(worker.pid, 5)
        assert not launch.stop("127.0.0.1", running.port)


def test_leaves_when_idle(tmp_path: Path) -> None:
    with engine(tmp_path, EMBED, idle_seconds=1) as running:
        running.post("/v1/embeddings", model=EMBED, input="a")
        (worker,) = psutil.Process(running.pid).children()
        assert _wait_until_gone(running.pid, 8)
        assert _wait_until_gone(worker.pid, 5)
        assert not (tmp_path / f"engine-{running.port}.json").exists()


def test_port_of_another_program(tmp_path: Path) -> None:
    other = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=other.serve_forever)
    thread.start()
    try:
        with state_folder(tmp_path), pytest.raises(EngineStartFailed, match="used by another program"):
            launch.start("127.0.0.1", other.server_port)
    finally:
        other.shutdown()
        thread.join()
        other.server_close()


def test_no_just_in_time(tmp_path: Path) -> None:
    """Without it, the list shows what is loaded and a request loads nothing."""
    with engine(tmp_path, EMBED, jit=False) as running:
        assert running.http.get("/v1/models").json()["data"] == []
        reply = running.post("/v1/embeddings", model=EMBED, input="a")
        assert reply.status_code == 400
        assert reply.json()["error"].startswith("No models loaded.")
        running.post("/api/v1/models/load", model=EMBED)
        assert [row["id"] for row in running.http.get("/v1/models").json()["data"]] == [EMBED]
        assert running.post("/v1/embeddings", model=EMBED, input="a").status_code == 200


def test_launch_imports_in_milliseconds() -> None:
    slow = "{'httpx2', 'fastapi', 'psutil', 'filelock'}"
    code = f"import sys; import rag.engine.launch; print(sorted({slow} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
