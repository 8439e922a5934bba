"""Whether somebody holds a file's lock at this moment."""

from pathlib import Path


def is_held(lock: Path) -> bool:
    """Whether another process holds it, as told by taking and leaving it; a file that is not there is not made.

    Raises OSError where it cannot be opened.
    """
    from filelock import FileLock, Timeout

    if not lock.exists():
        return False
    try:
        FileLock(lock, timeout=0).acquire().lock.release()
    except Timeout:
        return True
    return False
