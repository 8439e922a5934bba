"""Which documents `--path` means: globs on sources."""

import re
from collections.abc import Callable, Sequence
from fnmatch import translate

from rag.errors import UsageProblem

_ANY_DEPTH = "**"


def path_test(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A test of sources: whether any pattern matches, or there are only exclusions, and no exclusion does.

    `*`, `?` and `[a-z]` stay between two slashes, `**` stands for any number of folders, `!` before a pattern excludes.
    A pattern with a slash in it is matched against the source with and without its root's name, another one against
    names at any depth; with a slash at the end it means folders only. A folder that matches covers all in it. Case does
    not matter. Raises UsageProblem.
    """
    wanted = [_Glob(pattern) for pattern in patterns if not pattern.startswith("!")]
    unwanted = [_Glob(pattern[1:]) for pattern in patterns if pattern.startswith("!")]

    def test(source: str) -> bool:
        parts = source.lower().split("/")
        return (not wanted or any(glob.covers(parts) for glob in wanted)) and not any(
            glob.covers(parts) for glob in unwanted
        )

    return test


class _Glob:
    def __init__(self, pattern: str) -> None:
        parts = [part for part in pattern.lower().removeprefix("./").split("/") if part]
        if not parts:
            raise UsageProblem(f"{pattern!r} is no pattern of paths, such as 'reports/**/*.pdf' or '!drafts/*'.")
        if "/" not in pattern.rstrip("/"):
            parts.insert(0, _ANY_DEPTH)
        if pattern.endswith("/"):
            parts.append(_ANY_DEPTH)
        self._parts = [None if part == _ANY_DEPTH else re.compile(translate(part)) for part in parts]

    def covers(self, parts: Sequence[str]) -> bool:
        """Whether the pattern matches a path, the same without its first part, or a folder above it."""
        return self._matches(parts) or self._matches(parts[1:])

    def _matches(self, parts: Sequence[str]) -> bool:
        """Whether the pattern matches a beginning of a path. Goes back to the last `**` only: linear times linear."""
        at = here = 0
        retry: tuple[int, int] | None = None
        while at < len(self._parts):
            part = self._parts[at]
            if part is None:
                retry = (at, here)
                at += 1
            elif here < len(parts) and part.match(parts[here]):
                at, here = at + 1, here + 1
            elif retry is not None and retry[1] < len(parts):
                retry = (retry[0], retry[1] + 1)
                at, here = retry[0] + 1, retry[1]
            else:
                return False
        return here < len(parts) or self._parts[-1] is not None
