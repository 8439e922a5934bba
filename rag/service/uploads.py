"""Files that come over the network: their names, where they are kept, and how they get into the knowledge base."""

import os
import re
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import rag.errors as errors
from ingest.pipeline import ingest
from ingest.report import IngestReport, Outcome, Progress
from ingest.sources import File, size_and_time
from rag.knowledge_base import KnowledgeBase
from rag.settings import own_folder
from rag.store.names import UPLOADS
from rag.web.threads import Put

LONGEST_NAME = 180  # bytes; file systems take 255, and a suffix of ours must fit

# What Windows forbids in names, besides what is no character at all.
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]')
_DEVICES = re.compile(r"(?i)^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")

Event = tuple[str, dict[str, object]]  # its name and what it says


def safe_name(given: str | None) -> str:
    """A file's name, as a client gave it, as one that is a plain file's on every system: `../a\\b.pdf` is `b.pdf`.

    Raises UsageProblem where nothing is left of it.
    """
    last = PurePosixPath((given or "").replace("\\", "/")).name
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", last)).strip(" .")
    if _DEVICES.match(name):
        name = f"_{name}"
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    room = LONGEST_NAME - len((dot + suffix).encode())
    name = stem.encode()[: max(1, room)].decode("utf-8", "ignore") + dot + suffix
    if not name.strip("_. ") or len(name.encode()) > LONGEST_NAME:
        raise errors.UsageProblem(f"{given!r} is no name for a file. Send one such as notes.pdf.")
    return name


def receive(kb: KnowledgeBase, given: Sequence[tuple[str | None, BinaryIO]]) -> list[File]:
    """Keep files in the knowledge base's own folder, each as a whole or not at all; one of the same name is replaced.

    Raises UsageProblem for names that cannot be, or the same name twice; nothing is kept then.
    """
    names = [safe_name(name) for name, _ in given]
    folded = [name.casefold() for name in names]
    if twice := next((name for at, name in enumerate(names) if folded[at] in folded[:at]), None):
        raise errors.UsageProblem(f"Two of the files are called {twice!r}.")
    if kb.exists and UPLOADS in kb.store.roots():
        raise errors.UsageProblem(
            f"A folder called {UPLOADS} is in this knowledge base already, so it takes no uploads: copy files there."
        )
    folder = own_folder(kb.path) / UPLOADS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_kept(folder, name, stream) for name, (_, stream) in zip(names, given, strict=True)]
    except OSError as exc:
        raise errors.KnowledgeBaseError(f"Files cannot be kept in {folder}: {exc.strerror}.") from exc


def _kept(folder: Path, name: str, stream: BinaryIO) -> File:
    path, part = folder / name, folder / f".{name}.part"
    with part.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
    return File(path, UPLOADS, f"{UPLOADS}/{name}", *size_and_time(path.stat()))


def read(kb: KnowledgeBase, files: Sequence[File], put: Put[Event]) -> IngestReport:
    """Ingest files that were kept, and such as were left over, telling each step as `ingest --json` does."""

    def progress(now: Progress) -> None:
        told: dict[str, object] = {
            "files_done": now.files_done,
            "files_total": now.files_total,
            "chunks": now.chunks,
            "eta_s": now.eta_s,
        }
        put(("progress", told))

    def outcome(one: Outcome) -> None:
        put(("file", one.to_dict()))

    given = {file.source for file in files}
    report = ingest(
        [],
        kb,
        also=[*files, *(file for file in _left_over(kb) if file.source not in given)],
        on_plan=lambda total: put(("plan", {"total": total})),
        on_outcome=outcome,
        on_progress=progress,
    )
    put(("report", report.to_dict()))
    return report


def forget(kb: KnowledgeBase, source: str) -> int:
    """Remove a document, or all below a folder, and their files where they were uploaded; other files are not touched.

    Raises DocumentNotFound, KnowledgeBaseBusy.
    """
    before = _uploaded(kb)
    removed = kb.remove(source)
    for gone in before - _uploaded(kb):
        (own_folder(kb.path) / gone).unlink(missing_ok=True)
    return removed


def is_upload(kb: KnowledgeBase, source: str) -> bool:
    """Whether a source is of what was uploaded."""
    return source.startswith(f"{UPLOADS}/") and UPLOADS not in kb.store.roots()


def _uploaded(kb: KnowledgeBase) -> set[str]:
    """The sources of the uploaded files that the knowledge base knows: their paths in its folder."""
    if not kb.exists or UPLOADS in kb.store.roots():
        return set()
    rows = kb.store.documents().values()
    return {row.source for row in rows if row.root == UPLOADS and not row.part_of}


def _left_over(kb: KnowledgeBase) -> list[File]:
    """Files that were kept and not read, for the knowledge base was busy or the service was stopped."""
    known = _uploaded(kb)
    paths = sorted(path for path in (own_folder(kb.path) / UPLOADS).iterdir() if not path.name.startswith("."))
    found = [File(path, UPLOADS, f"{UPLOADS}/{path.name}", *size_and_time(path.stat())) for path in paths]
    return [file for file in found if file.source not in known]
