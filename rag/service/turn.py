"""The one turn to change the knowledge base, among all requests of all processes of the service."""

import threading
from pathlib import Path

from filelock import FileLock, Timeout


class Turn:
    """Taken by one request at a time; with a `folder` that processes share, of all of them."""

    def __init__(self, folder: Path | None) -> None:
        self._here = threading.Lock()
        self._file = folder / "turn.lock" if folder else None
        # Taken in one thread and given back in another; a moment's patience, for `locked` takes it for a moment.
        self._everywhere = FileLock(self._file, timeout=0.2, thread_local=False) if self._file else None

    def acquire(self) -> bool:
        """Take it; False where another request has it."""
        if not self._here.acquire(blocking=False):
            return False
        if self._everywhere is not None:
            try:
                self._everywhere.acquire()
            except Timeout:
                self._here.release()
                return False
        return True

    def release(self) -> None:
        """Give it back."""
        if self._everywhere is not None:
            self._everywhere.release()
        self._here.release()

    def locked(self) -> bool:
        """Whether some request has it."""
        if self._file is None or self._here.locked():
            return self._here.locked()
        try:
            with FileLock(self._file, timeout=0):
                return False
        except Timeout:
            return True
