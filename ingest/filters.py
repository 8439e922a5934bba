"""Which files of a folder count: `.gitignore` and `.ragignore` files, and the patterns of `--include` and `--exclude`.

Patterns mean what Git makes of them, decided level by level from the top as Git does: what is in a folder that is left
out is never looked at, and a later pattern overrules an earlier one. (pathspec judges whole paths: it leaves out the
folder that `*` and `!*/` keep, and keeps a file that Git leaves out with its folder.)
"""

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from rag.errors import UsageProblem

GITIGNORE, RAGIGNORE = ".gitignore", ".ragignore"

_BLOCK = 1 << 20
_IGNORE_BYTES, _IGNORE_LINES = 1 << 20, 10_000
_CASE = re.IGNORECASE if os.name == "nt" or sys.platform == "darwin" else re.NOFLAG  # as the file systems there
_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9a-fA-F",
    "cntrl": r"\x00-\x1f\x7f",
    "print": " -~",
    "graph": "!-~",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """What the user asked for: only what `include` matches, nothing that `exclude` matches, Git's rules or not.

    A `.ragignore` always counts: it was written for us.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool = True

    def __post_init__(self) -> None:
        for option, given in (("--include", self.include), ("--exclude", self.exclude)):
            for line in given:
                if _pattern(line) is None:
                    raise UsageProblem(
                        f"{line!r} is not a pattern that {option} can use, such as '*.pdf' or 'drafts/'."
                    )


NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re.Pattern[str]
    negated: bool
    folders_only: bool
    names_only: bool  # without a slash in it: matched against the name, at any depth


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The patterns of one place; they count in the folder whose path is `base` long, with its slash."""

    origin: str
    base: int
    patterns: tuple[_Pattern, ...]  # last line first: it has the last word

    def verdict(self, path: str, name: str, is_folder: bool) -> bool | None:
        """Whether a pattern matches, False where it is negated; None where none has a say."""
        below = path[self.base :]
        for pattern in self.patterns:
            if (is_folder or not pattern.folders_only) and pattern.regex.fullmatch(
                name if pattern.names_only else below
            ):
                return not pattern.negated
        return None


@dataclass(frozen=True, slots=True)
class Rules:
    """The patterns that count in one folder. Paths are strings with `/` between their parts, as `posix` makes them."""

    git: tuple[_Patterns, ...] = ()  # outermost first; an inner one overrules
    rag: tuple[_Patterns, ...] = ()  # overrule all of Git's
    exclude: _Patterns | None = None
    include: _Patterns | None = None
    gitignore: bool = True
    wanted: bool = True  # whether a folder above, or the absence of any `include`, takes all files in

    def reason_to_leave(self, path: str, name: str, is_folder: bool) -> str:
        """Why an entry of the folder is left out; "" where it is not. What `include` says is `wants`'s affair."""
        for patterns in (*((self.exclude,) if self.exclude else ()), *reversed(self.rag), *reversed(self.git)):
            verdict = patterns.verdict(path, name, is_folder)
            if verdict is not None:
                return f"excluded by {patterns.origin}" if verdict else ""
        return ""

    def wants(self, path: str, name: str, is_folder: bool) -> bool:
        """Whether the entry is matched by an `include` pattern, or needs none."""
        if self.include is None:
            return True
        verdict = self.include.verdict(path, name, is_folder)
        return self.wanted if verdict is None else verdict

    def inside(self, path: str, name: str) -> "Rules":
        """The rules for a folder in this one, its own ignore files added. Raises OSError where one cannot be read."""
        wanted = self.wants(path, name, is_folder=True)
        git = self.git + (_file_patterns(path, GITIGNORE) if self.gitignore else ())
        return replace(self, git=git, rag=self.rag + _file_patterns(path, RAGIGNORE), wanted=wanted)


def included(include: tuple[str, ...], below: str) -> bool:
    """Whether `include` patterns match a file, given as its path below the folder that was named, or a folder above."""
    rules = Rules(include=_compiled(include), wanted=False)
    *folders, name = below.split("/")
    at = ""
    for folder in folders:
        at += folder
        rules = replace(rules, wanted=rules.wants(at, folder, is_folder=True))
        at += "/"
    return rules.wants(below, name, is_folder=False)


@lru_cache(maxsize=16)
def _compiled(include: tuple[str, ...]) -> _Patterns:
    return _patterns("--include", 0, include)


def posix(path: Path | str) -> str:
    """The path as a string with `/` between its parts."""
    return str(path).replace(os.sep, "/") if os.sep != "/" else str(path)


def rules_at(folder: Path, root: Path, chosen: Filter) -> Rules:
    """The rules that count in `folder`.

    They start at `root` or at the top of the Git repository around the folder, whichever is further up: so it does not
    matter whether a folder or its parent is named. Raises OSError where an ignore file cannot be read.
    """
    repository = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)
    top = min(root, repository, folder, key=lambda each: len(each.parts))
    base = len(posix(folder).rstrip("/")) + 1
    rules = Rules(
        exclude=_patterns("--exclude", base, chosen.exclude) if chosen.exclude else None,
        include=_patterns("--include", base, chosen.include) if chosen.include else None,
        gitignore=chosen.gitignore,
        wanted=not chosen.include,
    )
    for each in reversed((folder, *folder.parents)):
        if len(each.parts) >= len(top.parts):
            git = _file_patterns(posix(each), GITIGNORE) if chosen.gitignore else ()
            rules = replace(rules, git=rules.git + git, rag=rules.rag + _file_patterns(posix(each), RAGIGNORE))
    return rules


def why_absent(path: Path, folder: Path, root: Path, chosen: Filter) -> str:
    """Why a file that is there, below `folder`, was not found by a walk: "excluded by docs/.gitignore", "hidden"."""
    try:
        rules = rules_at(folder, root, chosen)
        at = folder
        for part in path.relative_to(folder).parts:
            at = at / part
            if left_out(part):
                return "excluded: it is hidden or a tool's own"
            is_folder = at.is_dir()
            if reason := rules.reason_to_leave(posix(at), part, is_folder):
                return reason
            if is_folder:
                if at.is_symlink():
                    return "excluded: it lies behind a link to a folder"
                rules = rules.inside(posix(at), part)
    except (OSError, ValueError):
        pass
    return "excluded"


def left_out(name: str) -> bool:
    """Whether files and folders of this name are left out everywhere: hidden ones, and what tools pile up."""
    return name.startswith(".") or name in ("__pycache__", "node_modules")


def read_blocks(path: str | Path, limit: int | None = None) -> Iterator[bytes]:
    """A regular file's content in blocks, up to about `limit` bytes.

    Raises OSError, also where it is anything else by now: a pipe would never end.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        while (limit is None or file.tell() < limit) and (block := file.read(_BLOCK)):
            yield block


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _file_patterns(folder: str, name: str) -> tuple[_Patterns, ...]:
    path = f"{folder.rstrip('/')}/{name}"
    try:
        data = b"".join(read_blocks(path, _IGNORE_BYTES))
    except FileNotFoundError:
        return ()
    lines = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).split("\n")
    if len(data) >= _IGNORE_BYTES or len(lines) > _IGNORE_LINES:
        raise OSError(errno.EFBIG, f"it has more than {_IGNORE_LINES} lines", path)
    origin = f"{folder.rpartition('/')[2]}/{name}"
    found = _patterns(origin, len(folder.rstrip("/")) + 1, lines)
    return (found,) if found.patterns else ()


def _patterns(origin: str, base: int, lines: Iterable[str]) -> _Patterns:
    found = [pattern for line in lines if (pattern := _pattern(line)) is not None]
    return _Patterns(origin, base, tuple(reversed(found)))


def _pattern(line: str) -> _Pattern | None:
    """One line of a `.gitignore`; None for a comment, an empty line, or what Git can match with nothing."""
    line = re.sub(r"(?<!\\)((?:\\\\)*) +$", r"\1", line.removesuffix("\r"))
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line.removeprefix("!")
    folders_only = line.endswith("/")
    line = line.removesuffix("/")
    names_only = "/" not in line
    line = line.removeprefix("/")
    if not line or "//" in f"/{line}/":
        return None
    try:
        regex = re.compile(_segment(line) if names_only else _path(line.split("/")), _CASE | re.DOTALL)
    except (_Malformed, re.error):
        return None
    return _Pattern(regex, negated, folders_only, names_only)


class _Malformed(Exception):
    """A bracket without end, or a backslash at the end: Git matches nothing with it."""


def _path(segments: list[str]) -> str:
    """A pattern with slashes; a segment of `**` stands for any number of folders.

    What lies between two `**` is taken at the first place where it fits and then kept (an atomic group): it cannot fit
    better further on, and a hostile pattern costs no more than a plain one.
    """
    blocks: list[list[str]] = [[]]
    for segment in segments:
        if set(segment) == {"*"} and len(segment) > 1:
            blocks.append([])
        else:
            blocks[-1].append(_segment(segment))
    first, *others = ["/".join(block) for block in blocks]
    if not others:
        return first
    *middle, last = others
    regex = f"{first}/" if first else ""
    regex += "".join(f"(?>(?:[^/]+/)*?{block}/)" for block in middle if block)
    return regex + (f"(?:[^/]+/)*{last}" if last else ".+")


def _segment(glob: str) -> str:
    """The part of a pattern between two slashes, in time linear in the name: see `_path`."""
    first, *others = ["".join(part) for part in _split_at_stars(glob)]
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>[^/]*?{part})" for part in middle if part) + f"[^/]*{last}"


def _split_at_stars(glob: str) -> Iterator[list[str]]:
    """What stands between the stars, as regular expressions that match one character each."""
    part: list[str] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            yield part
            part = []
        elif char == "?":
            part.append("[^/]")
        elif char == "[":
            found, at = _bracket(glob, at)
            part.append(found)
        elif char == "\\":
            if at == len(glob):
                raise _Malformed
            part.append(re.escape(glob[at]))
            at += 1
        else:
            part.append(re.escape(char))
    yield part


def _bracket(glob: str, at: int) -> tuple[str, int]:
    """A set such as `[a-z]` that begins before `at`, and the place after it."""
    negated = glob[at : at + 1] in ("!", "^") and bool(glob[at : at + 1])
    at += negated
    members: list[str] = []
    begin = at
    while at < len(glob) and (glob[at] != "]" or at == begin):
        if named := re.compile(r"\[:(\w*):\]").match(glob, at):
            if named[1] not in _CLASSES:
                raise _Malformed
            members.append(_CLASSES[named[1]])
            at = named.end()
            continue
        low, at = _member(glob, at)
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(glob, at + 1)
            if low <= high:
                members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))
    if at >= len(glob):
        raise _Malformed
    within = "".join(members)
    if not within:
        return ("[^/]" if negated else r"[^\s\S]"), at + 1
    return (f"[^/{within}]" if negated else f"(?!/)[{within}]"), at + 1


def _member(glob: str, at: int) -> tuple[str, int]:
    if glob[at] == "\\":
        at += 1
        if at >= len(glob):
            raise _Malformed
    return glob[at], at + 1
