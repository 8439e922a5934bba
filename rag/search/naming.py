"""Which document is meant by what a person calls it: its source, its file, or the end of either."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import rag.errors as errors
from rag.search.paths import path_test
from rag.store.schema import DocumentRow
from rag.store.tables import Store

_SHOWN = 5

Unread = Callable[[Path, Path], str]  # why an ingest of a folder leaves a file in it out; "" where it does not


@dataclass(frozen=True, slots=True)
class Absent:
    """A document that the knowledge base does not have: why, as far as that can be told, and what to do about it."""

    reason: str
    advice: str


def named(
    store: Store, documents: Iterable[DocumentRow], name: str, unread: Unread = lambda _file, _root: ""
) -> DocumentRow | Absent:
    """The one of these documents that a name means. Raises UsageProblem where several end with it."""
    rows = {row.source: row for row in documents}
    path, places = _places(store, name)
    for source in (name, *(source for _, _, source in places)):
        if source in rows:
            return rows[source]
    wanted = "/" + name.replace(os.sep, "/").strip("/").lower()
    if ending := [row for source, row in rows.items() if f"/{source.lower()}".endswith(wanted)]:
        if len(ending) > 1:
            raise errors.UsageProblem(
                f"{len(ending)} documents end with {name!r}: {_listed(row.source for row in ending)}. Name one in full."
            )
        return ending[0]
    if path.is_file():
        return _unread(store, path, [folder for _, folder, _ in places], unread)
    if inside := [
        source for source in rows if source.lower().startswith(f"{wanted[1:]}/") or f"{wanted}/" in source.lower()
    ]:
        return Absent(f"{name} holds {len(inside)} documents and is none itself", f"Name one: {_listed(inside)}.")
    near = _near(name, rows)
    return Absent(
        f"no document of {store.path} is called {name!r}, and there is no such file",
        f"Is it one of these? {_listed(near)}" if near else "`rag ls` lists all documents.",
    )


def below(store: Store, documents: Iterable[DocumentRow], name: str) -> list[DocumentRow]:
    """Those of these documents that lie in the folder, or match the glob, of that name; a folder on disk counts too."""
    patterns = [name, *(source.removesuffix("/.") for _, _, source in _places(store, name)[1])]
    test = path_test(patterns)
    return [row for row in documents if test(row.source)]


def _places(store: Store, name: str) -> tuple[Path, list[tuple[str, Path, str]]]:
    """The path that a name is on disk, and for each root that it lies in: its name, its folder, the source there."""
    path = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100 a link is named as it was ingested
    return path, [
        (root, folder, f"{root}/{path.relative_to(folder).as_posix()}")
        for root, folder in store.roots().items()
        if path.is_relative_to(folder)
    ]


def _unread(store: Store, path: Path, folders: list[Path], unread: Unread) -> Absent:
    ingest = f"ingest {path} --kb {store.path}"
    if not folders:
        return Absent(f"{path} lies in no folder that was ingested", f"Ingest it: {ingest}")
    if reason := unread(path, max(folders, key=lambda folder: len(folder.parts))):
        return Absent(f"{path} is left out: {reason}", f"If it can be read, naming the file itself helps: {ingest}")
    return Absent(f"{path} was not there when its folder was ingested, or was left out then", f"Ingest it: {ingest}")


def _near(name: str, sources: Iterable[str]) -> list[str]:
    """Sources whose last part is nearly the name's."""
    by_name: dict[str, list[str]] = {}
    for source in sources:
        by_name.setdefault(source.rpartition("/")[2].lower(), []).append(source)
    last = name.replace(os.sep, "/").rstrip("/").rpartition("/")[2].lower()
    return [source for each in get_close_matches(last, by_name, n=_SHOWN) for source in by_name[each]]


def _listed(sources: Iterable[str]) -> str:
    every = sorted(sources)
    return ", ".join(every[:_SHOWN]) + (", …" if len(every) > _SHOWN else "")
