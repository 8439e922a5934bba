"""Following changes: a run after each batch of them, and through failures that pass."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ingest.filters import GITIGNORE, RAGIGNORE, left_out
from rag.errors import KnowledgeBaseBusy, ServerError, UsageProblem

_TICK_MS = 1000  # how often named files, and the folders themselves, are looked at
_QUIET_MS = 300  # a batch ends when nothing has changed for so long,
_BATCH_MS = 3000  # or after this
_RESCAN_S = 300.0  # no system tells of every change on every disk, so now and then all is compared
_WAIT_S = (5.0, 60.0)  # shortest and longest wait for a server that is away

_PASSING = (ServerError, KnowledgeBaseBusy, UsageProblem)  # a folder that is empty now may be a disk that comes back


def follow(
    paths: Sequence[Path],
    kb: Path,
    run: Callable[[], None],
    notify: Callable[[str], None],
    *,
    trouble: str = "",
    tick_ms: int = _TICK_MS,
    wait_s: tuple[float, float] = _WAIT_S,
) -> None:
    """Call `run` when the watch stands and after each batch of changes at or below `paths`, for ever.

    Only an interrupt or an error ends it.

    What passes (a server that is away, another writer, a folder that is not there) is told once by `notify` and tried
    again, with longer and longer waits; `trouble` is what a run before this has met. `kb` is the knowledge base, whose
    own changes do not count.
    """
    wait = wait_s[0]
    due = time.monotonic() + (wait if trouble else _RESCAN_S)
    if trouble:
        notify(f"waiting: {trouble}")
    for changed in _ticks(paths, kb, tick_ms):
        if not changed and time.monotonic() < due:
            continue
        try:
            run()
        except _PASSING as exc:
            if str(exc) != trouble:
                trouble = str(exc)
                notify(f"waiting: {trouble}")
            due = time.monotonic() + wait
            wait = min(2 * wait, wait_s[1])
        else:
            if trouble:
                notify("Going on.")
            trouble, wait = "", wait_s[0]
            due = time.monotonic() + _RESCAN_S


def _ticks(paths: Sequence[Path], kb: Path, tick_ms: int) -> Iterator[bool]:
    """Whether something changed, at least once a tick."""
    import watchfiles

    polling: bool | None = None
    marks = _marks(paths)
    is_behind = True  # what changed before a watch stood, or between two, was heard by nobody
    while True:
        folders = [path for path in paths if path.is_dir()]
        if not folders:
            time.sleep(tick_ms / 1000)
            before, marks = marks, _marks(paths)
            changed, is_behind = marks != before or is_behind, False
            yield changed
            continue
        try:
            for changes in watchfiles.watch(
                *folders,
                watch_filter=_Counting(folders, kb),
                debounce=_BATCH_MS,
                step=_QUIET_MS,
                rust_timeout=tick_ms,
                yield_on_timeout=True,
                force_polling=polling,
                ignore_permission_denied=True,
            ):
                before, marks = marks, _marks(paths)
                changed, is_behind = bool(changes) or marks != before or is_behind, False
                yield changed
                if _places(before) != _places(marks):
                    break  # a folder came, went, or was replaced: what is watched is not what has the name now
        except FileNotFoundError:
            pass  # it went between looking and watching
        except OSError:
            if polling:
                raise
            polling = True  # the system has no room for so many watches
        is_behind = True


def _marks(paths: Sequence[Path]) -> list[tuple[int, int, int, int] | None]:
    """What tells that a file changed or a folder was replaced."""
    return [_mark(path) for path in paths]


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return found.st_dev, found.st_ino, 0, 0
    return 0, 0, found.st_size, found.st_mtime_ns


def _places(marks: Sequence[tuple[int, int, int, int] | None]) -> list[tuple[int, int] | None]:
    """Which folders and files are there, whatever is in them."""
    return [mark and mark[:2] for mark in marks]


class _Counting:
    """Whether a change counts: not in the knowledge base, nor where a walk would not go."""

    def __init__(self, folders: Sequence[Path], kb: Path) -> None:
        self._folders = [f"{folder}{os.sep}" for folder in folders]
        self._kb = os.path.abspath(kb)  # noqa: PTH100

    def __call__(self, change: object, path: str) -> bool:
        if path == self._kb or path.startswith(f"{self._kb}{os.sep}"):
            return False
        for folder in self._folders:
            if path.startswith(folder):
                parts = Path(path[len(folder) :]).parts
                return parts[-1] in (GITIGNORE, RAGIGNORE) or not any(map(left_out, parts))
        return True
