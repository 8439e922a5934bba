"""What is there, and what has changed since the last time."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rag.errors import SourceNotFound
from rag.store.schema import DocumentRow

_HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that documents are named from: `name` is the first part of their sources."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Scope:
    """What one argument of an ingest covers: a folder at or below a root, or a single file in it.

    `prefix` is the source of that folder or file.
    """

    root: Root
    path: Path
    prefix: str

    @property
    def is_folder(self) -> bool:
        """Whether it covers a folder."""
        return self.path.is_dir()

    def covers(self, source: str) -> bool:
        """Whether a document's source lies in the scope."""
        return source == self.prefix or (self.is_folder and source.startswith(f"{self.prefix}/"))


@dataclass(frozen=True, slots=True)
class File:
    """A file as the file system tells of it: size in bytes, time of change in nanoseconds."""

    path: Path
    root: str
    source: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What an ingest has to do. A pair is what the store knows of a file and the file as it is now.

    `fresh` and `changed` are to be read; `touched` have the content they had, at another time of change; `renamed`
    have it in another place.
    """

    fresh: list[File]
    changed: list[tuple[DocumentRow, File]]
    unchanged: list[DocumentRow]
    touched: list[tuple[DocumentRow, File]]
    renamed: list[tuple[DocumentRow, File]]
    removed: list[DocumentRow]


def scopes(paths: Sequence[Path], known: Mapping[str, Path]) -> list[Scope]:
    """Each path as a scope below a root that is known already, or below a new one named after its folder.

    Raises SourceNotFound for a path that does not exist or cannot be read, before anything is done.
    """
    found: list[Scope] = []
    roots = dict(known)
    for given in paths:
        # resolve() would follow a link out of the folder that was named.
        path = Path(os.path.abspath(given.expanduser()))  # noqa: PTH100
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
            readable = os.access(path, os.R_OK)
        except OSError as exc:
            raise SourceNotFound(f"There is no file or folder at {given} ({exc.strerror}).") from exc
        if not readable:
            raise SourceNotFound(f"{given} cannot be read: permission denied.")
        root = _root_for(path if is_folder else path.parent, roots)
        roots[root.name] = root.path
        found.append(Scope(root, path, _source(root, path)))
    return found


def _root_for(folder: Path, known: Mapping[str, Path]) -> Root:
    """The root that holds the folder, a root of that name whose folder is gone from this machine, or a new one."""
    holding = [Root(name, path) for name, path in known.items() if folder == path or path in folder.parents]
    if holding:
        return max(holding, key=lambda root: len(root.path.parts))
    name = folder.name or "root"
    if name in known and not known[name].exists():
        return Root(name, folder)  # the knowledge base, or the folder, came from elsewhere
    taken, number = name, 2
    while name in known:
        name, number = f"{taken}-{number}", number + 1
    return Root(name, folder)


def swallowed(root: Root, known: Mapping[str, Path]) -> list[Root]:
    """Known roots that lie inside this one: their documents are to be named from it."""
    return [Root(name, path) for name, path in known.items() if root.path in path.parents and name != root.name]


def moved_source(source: str, inner: Root, outer: Root) -> str:
    """The source of a document of `inner` when it is named from `outer`, which holds it."""
    relative = source.partition("/")[2]
    return _source(outer, inner.path / relative)


def _source(root: Root, path: Path) -> str:
    relative = PurePosixPath(*path.relative_to(root.path).parts)
    return root.name if relative == PurePosixPath() else f"{root.name}/{relative}"


def walk(scope: Scope) -> Iterator[File]:
    """The regular files in a scope, in order of their sources.

    Hidden files and folders and knowledge bases are left out, and links to folders are not followed: they may lead
    out of the folder, or round in a circle.
    """
    if not scope.is_folder:
        if file := _file(scope.root, scope.path):
            yield file
        return
    pending = [scope.path]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # a folder that cannot be listed; `unlistable` reports it
        for entry in entries:
            if entry.name.startswith(".") or entry.name in ("__pycache__", "node_modules"):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not (Path(entry.path) / "chunks.lance").is_dir():
                    pending.append(Path(entry.path))
            elif entry.is_file() and (file := _file(scope.root, Path(entry.path))):
                yield file


def unlistable(scope: Scope) -> list[Path]:
    """Folders in the scope that cannot be listed: what is in them is not known, and so not removed."""
    if not scope.is_folder:
        return []
    failed: list[Path] = []
    for _ in os.walk(scope.path, onerror=lambda error: failed.append(Path(error.filename))):
        pass
    return failed


def _file(root: Root, path: Path) -> File | None:
    try:
        found = path.stat()
    except OSError:
        return None  # gone between listing and looking, or a link to nowhere
    if not stat.S_ISREG(found.st_mode):
        return None
    # A name may hold bytes that are no text; a source is shown, stored and sent as JSON.
    source = _source(root, path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return File(path, root.name, source, found.st_size, found.st_mtime_ns)


def content_hash(path: Path) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def compare(files: Iterable[File], known: Mapping[str, DocumentRow], in_scope: Iterable[DocumentRow]) -> Plan:
    """What has to be done so that the store agrees with the files.

    `known` are all documents by source, `in_scope` those that are to be removed if their file is not among `files`. A
    file is hashed only where size or time differ from what is known, or where it may have been moved here.
    """
    present = {file.source: file for file in files}
    removed = [row for row in in_scope if row.source not in present]
    by_content: dict[str, list[DocumentRow]] = {}
    for row in removed:
        if row.status == "ok":
            by_content.setdefault(row.content_hash, []).append(row)
    sizes = {row.size for row in removed}
    plan = Plan([], [], [], [], [], [])
    for source, file in present.items():
        before = known.get(source)
        if before is None:
            former = by_content.get(_hash_or_none(file)) if file.size in sizes else None
            if former:
                plan.renamed.append((former.pop(), file))
            else:
                plan.fresh.append(file)
        elif before.status != "ok":
            plan.changed.append(
                (before, file)
            )  # failed ones are tried again: a reader may have been mended or installed
        elif (before.size, before.mtime_ns) == (file.size, file.mtime_ns):
            plan.unchanged.append(before)
        elif before.size == file.size and _hash_or_none(file) == before.content_hash:
            plan.touched.append((before, file))
        else:
            plan.changed.append((before, file))
    moved = {row.id for row, _ in plan.renamed}
    plan.removed.extend(row for row in removed if row.id not in moved)
    return plan


def _hash_or_none(file: File) -> str:
    """The content's hash, or "" where it cannot be read: the reader will meet the same error and report it."""
    try:
        return content_hash(file.path)
    except OSError:
        return ""
