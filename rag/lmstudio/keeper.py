"""`python -m rag.lmstudio.keeper SERVER`: unloads what we loaded when its time is over, and ends with the last lease.

A detached process of its own, because a model is to leave memory also after the command that loaded it has ended, or
has been killed. One for a server and user; whoever loads a model, or finds leases, starts it if it does not run.
"""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import rag.errors as errors
from rag.lmstudio.http import Connection
from rag.lmstudio.leases import Leases, keeper_lock
from rag.lmstudio.models import unload
from rag.settings import load_settings

_LONGEST_NAP_S = 2.0  # a lease may be made, or its time begin anew, while it sleeps


def start_keeper(leases: Leases) -> None:
    """Start the keeper in the background unless it runs already; it inherits the token in the environment."""
    from filelock import FileLock, Timeout

    leases.folder.mkdir(parents=True, exist_ok=True)
    try:
        FileLock(keeper_lock(leases), timeout=0).acquire().lock.release()
    except Timeout:
        return
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    keeper = subprocess.Popen(
        [sys.executable, "-m", "rag.lmstudio.keeper", leases.base],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **detached,
    )
    # Somebody has to take note of its end while we live, or it stays in the process table.
    threading.Thread(target=keeper.wait, daemon=True).start()


def keep(base: str) -> None:
    """Watch the leases of one server until none is left that will end."""
    from filelock import FileLock, Timeout

    leases = Leases(base)
    try:
        while leases.ending():  # once more after the lock is free: who made a lease meanwhile has seen it taken
            with FileLock(keeper_lock(leases), timeout=0):
                while ending := leases.ending():
                    now = time.time()
                    for lease in ending:
                        if lease.expired(now):
                            leases.end(lease.instance_id, partial(_end, base, lease.instance_id))
                    left = [lease.remaining_s(now) or 0.0 for lease in leases.ending()]
                    time.sleep(max(0.1, min([_LONGEST_NAP_S, *left])))
    except Timeout:
        return  # another one watches


def _end(base: str, instance_id: str) -> None:
    """Unload an instance; where the server or the instance is gone, there is nothing to do."""
    with suppress(errors.RagError), Connection(load_settings(host=base)) as connection:
        unload(connection, instance_id)


if __name__ == "__main__":
    keep(sys.argv[1])
