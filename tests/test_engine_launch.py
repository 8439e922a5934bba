"""Starting, stopping and leaving: one engine per port, and nothing left behind."""

import json
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import psutil
import pytest
from engine_fixture import EMBED, engine, free_port, state_folder

from rag.engine import launch
from rag.errors import EngineStartFailed
from rag.web.sockets import listen


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
        assert _wait_until_gone(running.pid, 5)  # a process that gives back its memory is not dead yet
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


def test_every_flag_reaches_the_engine(tmp_path: Path) -> None:
    """What `start` is told stands in the record of who serves the port, and in the engine's own command line."""
    port = free_port()
    flags = [
        "--no-jit",
        "--no-auto-evict",
        "--no-guardrail",
        "--auth",
        "--cors",
        "--jit-ttl",
        "7",
        "--max-body-mb",
        "3",
    ]
    command = [sys.executable, "-m", "rag.engine", "start", "--port", str(port), "--idle-seconds", "60", *flags]
    command += ["--fault", "slow-load=1", "--fault", "wrong-type", "--models", str(tmp_path / "models")]
    with state_folder(tmp_path):
        try:
            subprocess.run(command, check=True, capture_output=True)
            record = json.loads((tmp_path / f"engine-{port}.json").read_text(encoding="utf-8"))
            assert {name: record[name] for name in ("jit", "auto_evict", "guardrail", "auth", "cors", "faults")} == {
                "jit": False,
                "auto_evict": False,
                "guardrail": False,
                "auth": True,
                "cors": True,
                "faults": ["slow-load=1", "wrong-type"],
            }
            line = " ".join(psutil.Process(record["pid"]).cmdline())
            assert "--jit-ttl 7.0 --max-body-mb 3.0" in line
            assert f"--models {tmp_path / 'models'}" in line
        finally:
            launch.stop(port=port)


def _has_ipv6() -> bool:
    try:
        listen("::1", 0).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_another_address(tmp_path: Path) -> None:
    """Bound to one address it is found there by its port alone, and its URL can be used."""
    port = free_port()
    with state_folder(tmp_path):
        try:
            launch.start("::1", port)
            found = launch.status(port=port)
            assert (found.running, found.url) == (True, f"http://[::1]:{port}")
            assert httpx2.get(f"{found.url}/lmstudio-greeting", trust_env=False).json() == {"lmstudio": True}
            with pytest.raises(EngineStartFailed, match="not with the --host"):
                launch.start("0.0.0.0", port)
        finally:
            assert launch.stop(port=port)


def test_logs_follow(tmp_path: Path) -> None:
    """New lines come as they are written."""
    with engine(tmp_path) as running:
        lines = launch.logs(port=running.port, follow=True, lines=0)
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(next(line for line in lines if "/nope" in line)))
        thread.start()
        time.sleep(0.5)
        running.http.get("/nope")
        thread.join(10)
        assert seen
        assert "GET /nope" in seen[0]


def test_the_command_starts_with_flags(tmp_path: Path) -> None:
    """`rag engine start` lists the faults in its help, and warns where others could use the engine."""
    rag = [sys.executable, "-c", "from rag.cli.app import main; main()", "engine"]
    told = subprocess.run([*rag, "start", "--help"], capture_output=True, text=True, check=True).stdout
    for name in ("--bind", "--auth", "--cors", "--fault", "--no-guardrail", "--models", "n_ctx-overflow", "slow-load"):
        assert name in told
    port = str(free_port())
    with state_folder(tmp_path):
        try:
            command = [*rag, "start", "--port", port, "--bind", "0.0.0.0", "--fault", "refuse-load"]
            started = subprocess.run(command, capture_output=True, text=True, check=True)
            assert started.stdout.startswith("the engine runs at http://127.0.0.1:")
            assert "warning: The engine listens on 0.0.0.0 and asks for no token" in started.stderr
            again = subprocess.run([*rag, "start", "--port", port, "--auth"], capture_output=True, text=True)
            assert (again.returncode, "not with the --auth that you ask for" in again.stderr) == (5, True)
            wrong = subprocess.run([*rag, "start", "--port", port, "--fault", "x"], capture_output=True, text=True)
            assert (
                wrong.returncode,
                wrong.stderr.startswith("error: There is no fault 'x'. There are: slow-load"),
            ) == (
                2,
                True,
            )
        finally:
            launch.stop(port=int(port))


def test_answers_are_not_held_back() -> None:
    """asyncio sends at once only on sockets that name their protocol, and connections take it from their listener."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.proto == socket.IPPROTO_TCP


def test_launch_imports_in_milliseconds() -> None:
    slow = "{'httpx2', 'fastapi', 'psutil', 'filelock'}"
    code = f"import sys; import rag.engine.launch; print(sorted({slow} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
