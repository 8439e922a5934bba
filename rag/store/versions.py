"""What a knowledge base held when a command that changed it had ended: kept for a week, or for as long as it is tagged.

A version is a folder below `versions/` with all three tables, which can be opened like a knowledge base. It is made of
hard links: LanceDB never changes a file that it has written. So it takes no room of its own until the present has moved
on, and whatever is done to the present tables, it stays whole. (LanceDB has tags too, but it refuses to delete any old
version while an old one is tagged.)
"""

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import rag.errors as errors
from rag.location import Location, Remote
from rag.store.names import digest
from rag.store.tables import Store, store_errors
from rag.store.upkeep import tidy
from rag.store.write import RESTORING, write_lock

_KEEP = timedelta(days=7)
_MOST = 20  # without a tag: a folder that is watched makes hundreds a day
_TABLES = ("documents", "chunks", "roots")
_LONGEST_TAG = 100
_PARTS = ".part"


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its number, when it was made in seconds since 1970, and what it holds.

    `tables` are the versions of the tables in LanceDB's count, `content` is equal where the documents are equal.
    """

    number: int
    at: int
    documents: int
    chunks: int
    tables: dict[str, int]
    content: str
    tags: tuple[str, ...] = field(default=())


def versions(place: Location) -> list[Version]:
    """The versions of the knowledge base at a place, oldest first. Raises UsageProblem for a bucket."""
    path = _on_disk(place)
    tags = _tags(path)
    found = []
    for file in path.glob("versions/*/version.json"):
        if file.parent.name.isdecimal():
            values = json.loads(file.read_text(encoding="utf-8"))
            number = values["number"]
            found.append(Version(**values, tags=tuple(sorted(tag for tag, named in tags.items() if named == number))))
    return sorted(found, key=lambda version: version.number)


def find(path: Path, wanted: str | int) -> Version:
    """The version of a number or a tag. Raises VersionNotFound."""
    for version in versions(path):
        if str(wanted) in (str(version.number), *version.tags):
            return version
    raise errors.VersionNotFound(
        f"The knowledge base {path} has no version {str(wanted)!r}. `rag versions` lists them; "
        "without a tag they are kept for a week."
    )


def open_version(place: Location, wanted: str | int) -> Store:
    """The knowledge base as it was, for reading only. Raises VersionNotFound, UsageProblem for a bucket."""
    path = _on_disk(place)
    if not (path / "chunks.lance").is_dir():
        return Store.open(path)  # which says what is wrong
    number = find(path, wanted).number
    return Store.open(_folder(path, number), version=str(number))


def record(store: Store, *, keep: timedelta = _KEEP) -> Version | None:
    """Keep the present state as a version, unless the last one is the same, and delete what is due.

    None in a bucket, and on a disk without hard links, where only what is tagged is kept. Make it within the write
    lock.
    """
    if isinstance(store.path, Remote):
        return None
    with store_errors(store.path):
        present = _present(store)
        if present.number:
            version = present
        else:
            try:
                version = _keep(store, present, os.link)
            except OSError as exc:
                if exc.errno == errno.ENOSPC:
                    raise
                return None
        _forget(_on_disk(store.path), keep)
    return version


def tag(store: Store, name: str, wanted: str | int | None = None) -> Version:
    """Give a version a name, which keeps it until the name is deleted; without `wanted` the present one.

    Raises VersionNotFound, and UsageProblem for a name that cannot be one or is taken. Make it within the write lock.
    """
    _check_name(name)
    path = _on_disk(store.path)
    tags = _tags(path)
    if name in tags:
        raise errors.UsageProblem(
            f"{name!r} is version {tags[name]} already. Choose another name, or first: rag tag --delete {name}"
        )
    with store_errors(store.path):
        if wanted is not None:
            version = find(path, wanted)
        else:
            version = _present(store)
            version = version if version.number else _keep(store, version, _link_or_copy)
        _write(path / "versions" / "tags.json", {**tags, name: version.number})
    return find(path, version.number)


def untag(place: Location, name: str) -> None:
    """Delete a tag; its version goes when it is a week old. Raises VersionNotFound. Make it within the write lock."""
    path = _on_disk(place)
    tags = _tags(path)
    if name not in tags:
        raise errors.VersionNotFound(f"The knowledge base {path} has no tag {name!r}. `rag versions` lists them.")
    with store_errors(path):
        _write(path / "versions" / "tags.json", {tag: number for tag, number in tags.items() if tag != name})


def restore(place: Location, wanted: str | int) -> Version:
    """Make a version the present one; that is a new version, so it can be undone.

    A restore that is cut short is finished by the next one, and until then nothing else is written. Raises
    VersionNotFound, KnowledgeBaseBusy, UsageProblem for a bucket.
    """
    path = _on_disk(place)
    with write_lock(path):
        store = Store.open(path)
        version = find(path, wanted)
        marker = path / RESTORING
        with store_errors(path):
            if not marker.exists():
                present = _present(store)
                if present.content == version.content and present.number:
                    return present
                if not present.number:
                    _keep(store, present, _link_or_copy)
            _write(marker, version.number)
            for name in _TABLES:
                folder = f"{name}.lance"
                kept = _folder(path, version.number) / folder
                for file in sorted(file for file in kept.rglob("*") if file.is_file()):
                    _place(file, path / folder / file.relative_to(kept), _link_or_copy)
                table = store.open_table(name)
                table.checkout(version.tables[name])
                table.restore()
            marker.unlink()
        store = Store.open(path)
        tidy(store)
        return record(store) or _present(store)


def _on_disk(place: Location) -> Path:
    """The folder of a knowledge base that keeps versions. Raises UsageProblem."""
    if isinstance(place, Remote):
        raise errors.UsageProblem(
            f"{place} keeps no versions: they are hard links, which object storage does not know. Turn on the bucket's "
            "own versioning, or copy the knowledge base to another URL before a change."
        )
    return place


def _present(store: Store) -> Version:
    """The present state: the last version if that holds the same, else one without a number."""
    rows = sorted(store.documents().values(), key=lambda row: row.id)
    held = (f"{row.id} {row.revision} {row.source} {row.status}" for row in rows)
    content = digest(repr(store.made_with()), *held)
    known = versions(store.path)
    if known and known[-1].content == content:
        return known[-1]
    return Version(
        number=0,
        at=int(time.time()),
        documents=sum(bool(row.revision) or row.status != "ok" for row in rows),
        chunks=sum(row.chunks for row in rows),
        tables={
            "documents": int(store.documents_table.version),
            "chunks": int(store.chunks_table.version),
            "roots": int(store.roots_table.version),
        },
        content=content,
    )


def _keep(store: Store, present: Version, place: Callable[[Path, Path], Any]) -> Version:
    """Make the folder of a version. It gets its name when it is whole."""
    path = _on_disk(store.path)
    known = versions(path)
    number = known[-1].number + 1 if known else 1
    folder = _folder(path, number)
    parts = folder.with_suffix(_PARTS)
    shutil.rmtree(parts, ignore_errors=True)
    try:
        for name, version in present.tables.items():
            table = path / f"{name}.lance"
            for file in _files(table, version):
                _place(file, parts / table.name / file.relative_to(table), place)
        values = {**asdict(present), "number": number}
        del values["tags"]
        _write(parts / "version.json", values)
        parts.rename(folder)
    except OSError:
        shutil.rmtree(parts, ignore_errors=True)
        raise
    return find(path, number)


def _files(table: Path, version: int) -> Iterator[Path]:
    """The files of one version of a Lance table.

    A manifest holds the names of its data files and the bytes of its indexes' UUIDs. One file too many does no harm.
    """
    names = (f"{2**64 - 1 - version:020}.manifest", f"{version}.manifest")
    manifest = next(file for name in names if (file := table / "_versions" / name).exists())
    yield manifest
    content = manifest.read_bytes()
    yield from (file for file in table.glob("data/*") if file.name.encode() in content)
    yield from (file for file in table.glob("_deletions/*") if int(file.name.split("-")[1]) <= version)
    for index in table.glob("_indices/*"):
        if uuid.UUID(index.name).bytes in content:
            yield from (file for file in index.rglob("*") if file.is_file())


def _forget(path: Path, keep: timedelta) -> None:
    """Delete versions that are too old or too many; never a tagged one, nor the last."""
    untagged = [version for version in versions(path)[:-1] if not version.tags]
    oldest = time.time() - keep.total_seconds()
    for index, version in enumerate(reversed(untagged), 1):
        if version.at < oldest or index >= _MOST:
            gone = _folder(path, version.number).with_suffix(_PARTS)
            _folder(path, version.number).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    for parts in path.glob(f"versions/*{_PARTS}"):
        shutil.rmtree(parts, ignore_errors=True)


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or len(name) > _LONGEST_TAG or name.isdecimal() or name.startswith("-"):
        raise errors.UsageProblem(
            f"{name!r} cannot be a tag: that is up to {_LONGEST_TAG} printable characters, no number, no - in front."
        )


def _folder(path: Path, number: int) -> Path:
    return path / "versions" / str(number)


def _tags(path: Path) -> dict[str, int]:
    file = path / "versions" / "tags.json"
    tags: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return tags


def _place(file: Path, target: Path, place: Callable[[Path, Path], Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        place(file, target)


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # exFAT and some network disks know no hard links
        shutil.copy2(file, target)


def _write(file: Path, value: object) -> None:
    """Write JSON so that a crash leaves the former or the new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps(value), encoding="utf-8")
    new.replace(file)
