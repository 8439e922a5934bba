"""What is there, and what has changed since the last time."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ingest.filters import NO_FILTER, Filter, Rules, included, left_out, posix, read_blocks, rules_at
from rag.errors import SourceNotFound, UsageProblem
from rag.store.names import UPLOADS
from rag.store.schema import DocumentRow

WEB, STDIN = "web", "stdin"  # roots of what has no folder: pages by their address, what was piped in
_NO_FOLDERS = (WEB, STDIN, UPLOADS)

_KNOWLEDGE_BASE = {"chunks.lance", "documents.lance"}  # a folder with these in it is ours
_LATEST_NS = 2**63 - 1  # a time after the year 2262 does not fit into the store


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that documents are named from: `name` is the first part of their sources."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Scope:
    """What one argument of an ingest covers: a folder at or below a root, or a single file in it.

    `prefix` is the source of that folder or file. `chosen` says what counts of a folder; a file that was named is
    never filtered.
    """

    root: Root
    path: Path
    prefix: str
    is_folder: bool
    chosen: Filter = NO_FILTER

    def covers(self, source: str) -> bool:
        """Whether a document's source lies in the scope; what no `include` pattern matches does not."""
        if not self.is_folder:
            return source == self.prefix
        below = source.removeprefix(f"{self.prefix}/")
        return below != source and (not self.chosen.include or included(self.chosen.include, below))


@dataclass(frozen=True, slots=True)
class File:
    """A file as the file system tells of it: size in bytes, time of change in nanoseconds.

    `problem` is why it can be neither looked at nor read; "" for every file that can.
    """

    path: Path
    root: str
    source: str
    size: int
    mtime_ns: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """A folder that tells nothing of what is in it: `reason` says why it cannot be listed, "" that it is empty."""

    path: Path
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an ingest has to do. A pair is what the store knows of a file and the file as it is now.

    `fresh` and `changed` are to be read; `touched` have the content they had, at another time of change; `renamed`
    have it in another place; `left` could not be read before, are as they were, and are not to be tried again.
    """

    fresh: list[File]
    changed: list[tuple[DocumentRow, File]]
    unchanged: list[DocumentRow]
    touched: list[tuple[DocumentRow, File]]
    renamed: list[tuple[DocumentRow, File]]
    removed: list[DocumentRow]
    left: list[DocumentRow] = field(default_factory=list)


def scopes(paths: Sequence[Path], known: Mapping[str, Path], chosen: Filter = NO_FILTER) -> list[Scope]:
    """Each path as a scope below a root that is known already, or below a new one named after its folder.

    Raises SourceNotFound for a path that does not exist or cannot be read and UsageProblem for what is neither file
    nor folder, before anything is done.
    """
    found: list[Scope] = []
    roots = dict(known)
    for given in paths:
        # resolve() would follow a link out of the folder that was named.
        path = Path(os.path.abspath(given.expanduser()))  # noqa: PTH100
        try:
            mode = path.stat().st_mode
        except OSError as exc:
            raise SourceNotFound(f"There is no file or folder at {given} ({exc.strerror}).") from exc
        is_folder = stat.S_ISDIR(mode)
        if not is_folder and not stat.S_ISREG(mode):
            raise UsageProblem(
                f"{given} is a pipe, a socket or a device. What is piped in is read with: ingest - --name NAME"
            )
        if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
            raise SourceNotFound(f"{given} cannot be read: permission denied.")
        root = _root_for(path if is_folder else path.parent, roots)
        path = _as_listed(root.path, path)
        roots[root.name] = root.path
        found.append(Scope(root, path, _source(root, path), is_folder, chosen))
    return found


def _root_for(folder: Path, known: Mapping[str, Path]) -> Root:
    """The root that holds the folder, a root of that name whose folder is gone from this machine, or a new one."""
    holding = [Root(name, path) for name, path in known.items() if any(_same(path, at) for at in _upwards(folder))]
    if holding:
        return max(holding, key=lambda root: len(root.path.parts))
    name = _text(folder.name) or "root"
    if name in known and not known[name].exists():
        return Root(name, folder)  # the knowledge base, or the folder, came from elsewhere
    taken, number = name, 2
    while name in known or name in _NO_FOLDERS:
        name, number = f"{taken}-{number}", number + 1
    return Root(name, folder)


def _upwards(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are written alike, or alike but for case and lead to the same place: DOCS and docs on a Mac."""
    if one == other:
        return True
    if _folded(one.name) != _folded(other.name) or len(one.parts) != len(other.parts):
        return False
    try:
        return one.samefile(other)
    except OSError:
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _as_listed(root: Path, path: Path) -> Path:
    """The path below `root` as the folders list it, so that a document has one name on systems that ignore case."""
    parts = path.parts[len(root.parts) :]
    at = root
    for part in parts:
        try:
            names = [each.name for each in at.iterdir()]
        except OSError:
            names = [part]
        if part not in names:
            part = next((name for name in names if _same(at / name, at / part)), part)
        at = at / part
    return at


def swallowed(root: Root, known: Mapping[str, Path]) -> list[Root]:
    """Known roots that lie inside this one: their documents are to be named from it."""
    return [Root(name, path) for name, path in known.items() if root.path in path.parents and name != root.name]


def moved_source(source: str, inner: Root, outer: Root) -> str:
    """The source of a document of `inner` when it is named from `outer`, which holds it."""
    relative = source.partition("/")[2]
    return _source(outer, inner.path / relative)


def _source(root: Root, path: Path) -> str:
    relative = PurePosixPath(*path.relative_to(root.path).parts)
    return root.name if relative == PurePosixPath() else _text(f"{root.name}/{relative}")


def _text(name: str) -> str:
    """A name as text: bytes that are none are spelled out, for a source is shown, stored and sent as JSON."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


def walk(scope: Scope) -> Iterator[File | Gap]:
    """The regular files in a scope, and folders that tell nothing; a folder's own files before those further down.

    Hidden files and folders, knowledge bases and what the rules of `scope.chosen` leave out are left out. Links to
    folders are not followed: they may lead out of the folder, or round in a circle. Nothing is opened but ignore files.
    """
    if not scope.is_folder:
        if file := _file(scope.root, scope.path, scope.prefix):
            yield file
        return
    pending: list[tuple[str, str, Rules | None]] = [(str(scope.path), scope.prefix, None)]
    while pending:
        folder, prefix, above = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as exc:
            yield Gap(Path(folder), prefix, f"the folder cannot be listed: {exc.strerror}")
            continue
        names = {entry.name for entry in entries}
        if above is not None and names >= _KNOWLEDGE_BASE:
            continue
        try:
            rules = (
                above.inside(posix(folder), names)
                if above is not None
                else rules_at(scope.path, scope.root.path, scope.chosen)
            )
        except OSError as exc:
            yield Gap(Path(folder), prefix, f"an ignore file cannot be read: {exc.strerror}")
            continue
        if not entries:
            yield Gap(Path(folder), prefix, "")
        inner = []
        for entry in entries:
            if left_out(entry.name):
                continue
            path, source = posix(entry.path), _text(f"{prefix}/{entry.name}")
            is_folder = _is_folder(entry)
            if rules.reason_to_leave(path, entry.name, is_folder):
                continue
            if is_folder:
                inner.append((entry.path, source, rules))
            elif rules.wants(path, entry.name, is_folder=False) and (
                file := _file(scope.root, Path(entry.path), source)
            ):
                yield file
        pending.extend(reversed(inner))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _file(root: Root, path: Path, source: str) -> File | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None  # gone between listing and looking, or a link to nowhere
    except OSError as exc:
        return File(path, root.name, source, 0, 0, f"the file cannot be looked at: {exc.strerror}")
    if not stat.S_ISREG(found.st_mode):
        return None
    return File(path, root.name, source, *size_and_time(found))


def size_and_time(found: os.stat_result) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds, as they are stored and compared."""
    return found.st_size, max(-_LATEST_NS, min(found.st_mtime_ns, _LATEST_NS))


def content_hash(path: Path) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    hasher = hashlib.sha256()
    for block in read_blocks(path):
        hasher.update(block)
    return hasher.hexdigest()


def compare(
    files: Iterable[File],
    known: Mapping[str, DocumentRow],
    in_scope: Iterable[DocumentRow],
    adrift: Iterable[DocumentRow] = (),
    *,
    retry: bool = True,
) -> Plan:
    """What has to be done so that the store agrees with the files.

    `known` are all documents by source, `in_scope` those that are to be removed if their file is not among `files`,
    `adrift` those whose root is gone: they may have been moved here, and are kept if they were not. A file is hashed
    only where size or time differ from what is known, or where it may have been moved here. A file that could not be
    read is tried again, unless `retry` is False and it has not changed: a reader may have been mended or installed.
    """
    present = {file.source: file for file in files}
    removed = [row for row in in_scope if row.source not in present]
    by_content: dict[str, list[DocumentRow]] = {}
    for row in (*(row for row in adrift if row.source not in present), *removed):
        if row.status == "ok":
            by_content.setdefault(row.content_hash, []).append(row)
    sizes = {row.size for rows in by_content.values() for row in rows}
    plan = Plan([], [], [], [], [], [])
    for source, file in present.items():
        before = known.get(source)
        if before is None:
            former = by_content.get(_hash_or_none(file)) if file.size in sizes else None
            if former:
                plan.renamed.append((_likeliest(former, file), file))
            else:
                plan.fresh.append(file)
        elif before.status == "ok" and (before.size, before.mtime_ns) == (file.size, file.mtime_ns):
            plan.unchanged.append(before)
        elif before.status != "ok":
            is_same = (before.size, before.mtime_ns) == (file.size, file.mtime_ns)
            if is_same and not retry:
                plan.left.append(before)
            else:
                plan.changed.append((before, file))
        elif before.size == file.size and _hash_or_none(file) == before.content_hash:
            plan.touched.append((before, file))
        else:
            plan.changed.append((before, file))
    moved = {row.id for row, _ in plan.renamed}
    plan.removed.extend(row for row in removed if row.id not in moved)
    return plan


def _likeliest(former: list[DocumentRow], file: File) -> DocumentRow:
    """Which of several documents with one content was moved here; it is taken out of the list."""
    name = file.source.rpartition("/")[2]
    at = next((at for at, row in enumerate(former) if row.source.rpartition("/")[2] == name), -1)
    return former.pop(at)


def _hash_or_none(file: File) -> str:
    """The content's hash, or "" where it cannot be read: the reader will meet the same error and report it."""
    if file.problem:
        return ""
    try:
        return content_hash(file.path)
    except OSError:
        return ""
