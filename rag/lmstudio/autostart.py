"""A connection to a server that answers, with the embedded engine started where none does."""

import importlib.util
import subprocess
import sys
import time

import rag.errors as errors
from rag.lmstudio.http import Connection, Notify, log_notice
from rag.settings import Settings

_START_TIMEOUT_S = 60
_PATIENCE_S = 15  # for a server that was there and is not


def connect(settings: Settings, notify: Notify = log_notice) -> Connection:
    """A connection whose server has answered.

    Where nothing answers on this machine and `settings.engine` allows it, the embedded engine is started in the
    background, on the port that was asked for, and `notify` is told. Raises ServerUnreachable or EngineStartFailed.
    """
    connection = Connection(settings)
    if not answers(connection):
        _begin(connection, notify)
    return connection


def wait_for(connection: Connection, notify: Notify = log_notice) -> None:
    """Return when a server that has answered before answers again; it is given time to come back.

    LM Studio that is restarted must find its port free, so the embedded engine is started only where nobody comes.
    Raises as `connect` does.
    """
    if answers(connection):
        return
    notify(f"Nothing answers at {connection.base} any more; waiting up to {_PATIENCE_S} s for it to come back.")
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(0.5)
        if answers(connection):
            return
    _begin(connection, notify)


def _begin(connection: Connection, notify: Notify) -> None:
    """Start the embedded engine at the connection's address. Raises ServerUnreachable or EngineStartFailed."""
    settings = connection.settings
    if not settings.engine or not connection.is_local:
        raise errors.ServerUnreachable(
            f"Nothing answers at {connection.base}. Start LM Studio's server (Developer tab, or `lms server start`); "
            "LMSTUDIO_HOST names another address."
        )
    if importlib.util.find_spec("xllamacpp") is None:
        raise errors.ServerUnreachable(
            f"Nothing answers at {connection.base}. Start LM Studio's server (Developer tab, or `lms server start`), "
            "or install the embedded engine: pip install 'lmstudio-rag[engine]'"
        )
    notify(f"Nothing answers at {connection.base}; starting the embedded engine there, in the background.")
    _start_engine(connection.port, settings.engine_idle_s)
    if not answers(connection):
        raise errors.EngineStartFailed(
            f"The engine started but does not answer at {connection.base}. See: rag engine logs"
        )


def answers(connection: Connection) -> bool:
    """Whether any HTTP server answers at the address, whatever it says."""
    try:
        connection.request("GET", "/lmstudio-greeting", timeout_s=5)
    except errors.ServerUnreachable:
        return False
    except errors.ServerError:
        return True
    return True


def _start_engine(port: int, idle_s: int) -> None:
    """By command, not by import: the engine is a program of its own and this side knows only its HTTP."""
    command = [sys.executable, "-m", "rag.engine", "start", "--port", str(port), "--idle-seconds", str(idle_s)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_START_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise errors.EngineStartFailed(
            f"The embedded engine did not come up within {_START_TIMEOUT_S} s. See: rag engine logs"
        ) from exc
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise errors.EngineStartFailed(f"The embedded engine did not start on port {port}: {said}")
