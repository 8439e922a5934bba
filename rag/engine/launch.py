"""Start the embedded engine in the background, ask for it, stop it, read its log. Talks to it from the outside only.

Imported by every command, so the standard library alone stands at the top.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.engine.fault_list import read_faults
from rag.engine.places import Places, places
from rag.errors import EngineStartFailed, MissingExtra

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LARGEST_LOG = 5_000_000
_USUAL = {"host": "127.0.0.1", "jit": True, "auto_evict": True, "guardrail": True}
_USUAL |= {"auth": False, "cors": False, "faults": []}
_FLAGS = {"jit": "--no-jit", "auto_evict": "--no-auto-evict", "guardrail": "--no-guardrail", "faults": "--fault"}
_PARTS = ("xllamacpp", "fastapi", "uvicorn", "gguf", "psutil")


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What answers at an address."""

    host: str
    port: int
    running: bool
    """Something there greets as LM Studio does."""
    pid: int | None
    """Of our engine; None where it is not running, or where it is an LM Studio or another user's engine."""
    started_at: float | None
    log: Path

    @property
    def url(self) -> str:
        """The address to talk to."""
        host = _reachable(self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def require_engine() -> None:
    """Raise MissingExtra where a package of the `engine` extra is not installed."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in _PARTS):
        raise MissingExtra("The embedded engine", "engine")


def start(
    host: str = "127.0.0.1",
    port: int = 1234,
    *,
    idle_seconds: float = 1800.0,
    models: Path | None = None,
    jit: bool = True,
    auto_evict: bool = True,
    jit_ttl_seconds: float = 3600.0,
    guardrail: bool = True,
    auth: bool = False,
    cors: bool = False,
    most_body_megabytes: float = 64.0,
    faults: Sequence[str] = (),
    threads: int = 0,
    verbose: bool = False,
) -> EngineStatus:
    """Start an engine in the background and return when it answers; where one answers already, return its status.

    It outlives this process, and leaves by itself after `idle_seconds` without work (0: never). Processes that start
    one at the same time get the same one. Raises EngineStartFailed with the end of the log, or where the engine that
    runs already is not the one that was asked for (one without `auth`, say), or MissingExtra.
    """
    from filelock import FileLock, Timeout

    require_engine()
    read_faults(faults)
    where = places(port)
    wanted = {"host": host, "jit": jit, "auto_evict": auto_evict, "guardrail": guardrail}
    wanted |= {"auth": auth, "cors": cors, "faults": list(faults)}
    try:
        with FileLock(where.lock, timeout=START_SECONDS + STOP_SECONDS):
            before = status(host, port)
            if before.running:
                _must_be_as_wanted(before, _live_record(where) or {}, wanted)
                return before
            if _port_is_taken(host, port):
                raise EngineStartFailed(
                    f"Port {port} on {host} is used by another program that is not LM Studio. "
                    "Stop that program, or choose another port for the engine."
                )
            command = [sys.executable, "-m", "rag.engine", "serve", "--host", host, "--port", str(port)]
            command += ["--idle-seconds", str(idle_seconds), "--threads", str(threads)]
            command += ["--models", str(models)] if models else []
            command += ["--jit-ttl", str(jit_ttl_seconds), "--max-body-mb", str(most_body_megabytes)]
            command += [word for fault in faults for word in ("--fault", fault)]
            switches = {"--no-jit": not jit, "--no-auto-evict": not auto_evict, "--no-guardrail": not guardrail}
            switches |= {"--auth": auth, "--cors": cors, "--verbose": verbose}
            command += [flag for flag, given in switches.items() if given]
            return _wait_until_it_answers(_spawn(command, where), host, port, where)
    except Timeout as exc:
        raise EngineStartFailed(f"Another process has been starting the engine on port {port} for too long.") from exc


def _must_be_as_wanted(found: EngineStatus, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    # Whoever asks for tokens must not be told that all is well by an engine that wants none.
    different = [name for name, usual in _USUAL.items() if wanted[name] not in (usual, record.get(name))]
    if different:
        flags = ", ".join(_FLAGS.get(name, f"--{name}") for name in different)
        what = "An engine" if found.pid is not None else "LM Studio, or the engine of somebody else,"
        how = f" Stop it first: rag engine stop --port {found.port}" if found.pid is not None else ""
        raise EngineStartFailed(f"{what} runs at {found.url} already, and not with the {flags} that you ask for.{how}")


def _spawn(command: list[str], where: Places) -> "subprocess.Popen[bytes]":
    if where.log.exists() and where.log.stat().st_size > LARGEST_LOG:
        where.log.replace(where.log.with_suffix(".old.log"))
    # The engine has to find this package also where it is run from a checkout.
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        detached = {"creationflags": flags}
    with where.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=where.folder,
            **detached,
        )
    # Nobody waits for a process that is to outlive us; where it ends first, this thread keeps it from being a zombie.
    threading.Thread(target=process.wait, name="engine-reaper", daemon=True).start()
    return process


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", host: str, port: int, where: Places) -> EngineStatus:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = process.returncode is not None
        now = status(host, port)
        if now.running and now.pid is not None:
            return now
        if ended:
            break
        time.sleep(0.05)
    else:
        process.kill()
    end = "\n".join(_last_lines(where.log, 15)) or "(the log is empty)"
    raise EngineStartFailed(
        f"The engine did not come up on {host}:{port} (exit code {process.returncode}). "
        f"Its log, {where.log}, ends with:\n{end}"
    )


def status(host: str = "127.0.0.1", port: int = 1234) -> EngineStatus:
    """Return what answers there now."""
    where = places(port)
    record = _live_record(where)
    if record is not None:
        host = record["host"]  # where it was bound to one address only, it does not answer at another
    running = _greets(host, port)
    pid, created = (record["pid"], record["created"]) if record and running else (None, None)
    return EngineStatus(host, port, running, pid, created, where.log)


def stop(host: str = "127.0.0.1", port: int = 1234) -> bool:
    """Stop our engine on that port and its models; return False where none is running.

    Ends the process that the engine wrote down as itself, only while it is still that process.
    """
    import psutil

    where = places(port)
    record = _live_record(where)
    if record is None:
        return False
    try:
        process = psutil.Process(record["pid"])
        workers = process.children(recursive=True)
        process.terminate()
        _, alive = psutil.wait_procs([process], STOP_SECONDS)
        for one in alive:
            one.kill()
        # They end when the engine does; this waits for it and does not trust it.
        _, alive = psutil.wait_procs([process, *workers], STOP_SECONDS)
        for one in alive:
            one.kill()
    except psutil.NoSuchProcess:
        pass
    where.record.unlink(missing_ok=True)
    return True


def logs(host: str = "127.0.0.1", port: int = 1234, *, follow: bool = False, lines: int = 50) -> Iterator[str]:
    """Yield the last lines of the engine's log, then, with `follow`, the coming ones until the caller stops."""
    path = places(port).log
    yield from _last_lines(path, lines)
    position = path.stat().st_size if path.exists() else 0
    while follow:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position = 0  # a new log has begun
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                fresh = file.read(size - position)
            whole = fresh[: fresh.rfind(b"\n") + 1]
            position += len(whole)
            yield from whole.decode("utf-8", "replace").splitlines()
        time.sleep(0.2)


def _last_lines(path: Path, count: int) -> list[str]:
    if not path.exists() or count < 1:
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * count))
        return file.read().decode("utf-8", "replace").splitlines()[-count:]


def _live_record(where: Places) -> dict[str, Any] | None:
    if not where.record.exists():
        return None
    import psutil

    try:
        record: dict[str, Any] = json.loads(where.record.read_text(encoding="utf-8"))
        record["host"]
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
    return record if same else None


def _greets(host: str, port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection(_reachable(host), port, timeout=2)
    try:
        connection.request("GET", "/lmstudio-greeting")
        reply = json.loads(connection.getresponse().read(200))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(reply, dict) and reply.get("lmstudio") is True


def _port_is_taken(host: str, port: int) -> bool:
    import socket

    try:
        with socket.create_connection((_reachable(host), port), timeout=2):
            return True
    except OSError:
        return False


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - read, not bound
