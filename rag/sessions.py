"""Conversations on disk: one file each in the user's state folder, a line a turn, so that a kill costs no earlier turn.

They lie there and not in the knowledge base, which may be shared, read-only, or given to somebody else.
"""

import itertools
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import rag.errors as errors
from rag.location import Location, location_of, whole
from rag.settings import state_dir
from rag.types import Answer, Citation, CitationStatus, Cut, Hit, Place

if TYPE_CHECKING:
    from filelock import FileLock

_FORMAT = 1
# A name becomes a file's: no folder, nothing hidden, none of the names that Windows keeps for devices.
_NAME = re.compile(r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))\w(?:[\w.-]{0,62}\w)?", re.IGNORECASE)
_SUFFIX = ".jsonl"
_NEAREST = 3  # passages that an abstention shows


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that was asked in a conversation, and its answer; `at` are seconds since 1970.

    Of a saved turn's hits those are kept that a citation stands in, or that an abstention shows.
    """

    answer: Answer
    at: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A saved conversation as a list shows it; `at` is its last turn's time, else that of its beginning."""

    name: str
    kb: Location
    turns: int
    at: float


class Session:
    """A saved conversation with one knowledge base. The file is made with the first turn.

    Several processes may use it at once: each line is written whole, under a lock.
    """

    def __init__(self, name: str, kb: Location) -> None:
        self.name, self.path = name, _path(name)
        self._kb = whole(kb)

    def turns(self) -> tuple[list[Turn], int]:
        """The turns, oldest first, and how many lines cannot be read.

        A last line that a kill cut short is none of them. Raises SessionProblem where it belongs to another knowledge
        base or cannot be read.
        """
        with _file_errors(self.name):
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                return [], 0
        header, turns, damaged = _parsed(self.name, content)
        self._check(header)
        return turns, damaged

    def add(self, turn: Turn, instead_of: Turn | None = None) -> None:
        """Write a turn and have it on disk, in the place of another one if that is named. Raises SessionProblem."""
        record = {"id": turn.id, "at": turn.at, **_kept(turn.answer)}
        if instead_of is not None:
            record["instead_of"] = instead_of.id
        with self._opened() as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            self._check(_parsed(self.name, content[:whole])[0])
            file.seek(whole)
            file.truncate()  # what a kill left of the last line
            file.write((b"" if whole else self._header()) + _line(record))

    def clear(self) -> None:
        """Forget all turns, on disk as well. Raises SessionProblem."""
        with self._opened() as file:
            self._check(_parsed(self.name, file.read())[0])
            file.seek(0)
            file.truncate()
            file.write(self._header())

    def _header(self) -> bytes:
        return _line({"format": _FORMAT, "kb": str(self._kb), "begun": time.time()})

    def _check(self, header: Mapping[str, Any] | None) -> None:
        if header is not None and location_of(str(header["kb"])) != self._kb:
            raise errors.SessionProblem(
                f"The session {self.name!r} belongs to the knowledge base {header['kb']}, not to {self._kb}. "
                f"Go on with that one by --kb, or take another name; `rag chat --list` lists what there is."
            )

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The file to read and write, made if need be, in nobody else's hands; on disk at the end."""
        with _file_errors(self.name):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (
                _lock(self.path.parent),
                os.fdopen(
                    os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600), "r+b"
                ) as file,
            ):
                yield file
                file.flush()
                os.fsync(file.fileno())


def sessions() -> list[SessionRow]:
    """All saved conversations that can be read, the last used first."""
    rows = []
    for path in sorted(_folder().glob(f"*{_SUFFIX}")):
        try:
            header, turns, _ = _parsed(path.stem, path.read_bytes())
        except (OSError, errors.SessionProblem):
            continue
        if header is not None:
            at = turns[-1].at if turns else float(header["begun"])
            rows.append(SessionRow(path.stem, location_of(str(header["kb"])), len(turns), at))
    return sorted(rows, key=lambda row: row.at, reverse=True)


def questions(kb: Location) -> list[str]:
    """What was asked in all saved conversations with a knowledge base, the oldest first; nothing twice in a row."""
    asked: list[tuple[float, str]] = []
    for path in _folder().glob(f"*{_SUFFIX}"):
        try:
            header, turns, _ = _parsed(path.stem, path.read_bytes())
        except (OSError, errors.SessionProblem):
            continue
        if header is not None and location_of(str(header["kb"])) == whole(kb):
            asked += [(turn.at, turn.answer.question) for turn in turns]
    return [question for question, _ in itertools.groupby(question for _, question in sorted(asked))]


def delete(name: str) -> None:
    """Delete a saved conversation. Raises SessionProblem where there is none of that name."""
    path = _path(name)
    with _file_errors(name):
        try:
            path.unlink()
        except FileNotFoundError as exc:
            raise errors.SessionProblem(
                f"There is no session {name!r}. `rag chat --list` lists what there is."
            ) from exc


def _folder() -> Path:
    return state_dir() / "sessions"


def _path(name: str) -> Path:
    """Where a session lies. Raises SessionProblem for a name that is none."""
    if not _NAME.fullmatch(name):
        raise errors.SessionProblem(
            f"{name!r} cannot be a session's name: at most 64 letters, digits, '.', '-' and '_', a letter or a digit "
            "first and last."
        )
    return _folder() / f"{name}{_SUFFIX}"


def _lock(folder: Path) -> "FileLock":
    from filelock import FileLock

    return FileLock(folder / ".lock", mode=0o600)


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise errors.SessionProblem(f"The session {name!r} cannot be read or written: {exc}") from exc


def _line(record: Mapping[str, Any]) -> bytes:
    # Characters that UTF-8 cannot have, as in names of files, stay readable as escapes.
    return json.dumps(record, ensure_ascii=True).encode() + b"\n"


def _parsed(name: str, content: bytes) -> tuple[dict[str, Any] | None, list[Turn], int]:
    """A file's header, None where it has none yet, its turns, and how many lines are neither."""
    first, *rest = content[: content.rfind(b"\n") + 1].splitlines() or [b""]
    if not first:
        return None, [], 0
    try:
        header = json.loads(first)
        version, _, _ = int(header["format"]), str(header["kb"]), float(header["begun"])
    except (ValueError, KeyError, TypeError) as exc:
        raise errors.SessionProblem(
            f"The file of the session {name!r} is damaged. `rag chat --delete {name}` ends it."
        ) from exc
    if version > _FORMAT:
        raise errors.SessionProblem(f"The session {name!r} was written by a newer lmstudio-rag. Update this one.")
    turns: dict[str, Turn] = {}
    damaged = 0
    for line in rest:
        try:
            record = json.loads(line)
            turn = Turn(_answer(record), float(record["at"]), str(record["id"]))
        except (ValueError, KeyError, TypeError):
            damaged += 1
            continue
        # What was asked again stands where it was asked first.
        replaced = record.get("instead_of")
        turns = {
            (turn.id if id_ == replaced else id_): (turn if id_ == replaced else old) for id_, old in turns.items()
        }
        turns[turn.id] = turn
    return header, list(turns.values()), damaged


def _kept(answer: Answer) -> dict[str, Any]:
    """An answer as it is saved: as `to_dict` has it, with the hits that its sources are shown with."""
    if answer.abstained:
        hits = answer.hits[:_NEAREST]
    else:
        hits = tuple(
            hit
            for hit in answer.hits
            if any(c.source == hit.source and hit.start <= c.start < hit.end for c in answer.citations)
        )
    return replace(answer, hits=hits).to_dict()


def _answer(values: Mapping[str, Any]) -> Answer:
    """An answer as it was saved. What a newer program has added to it is left out."""
    question, searched = str(values["question"]), str(values["searched"])
    return Answer(
        question=question,
        text=str(values["answer"]),
        abstained=bool(values["abstained"]),
        citations=tuple(map(_citation, values["citations"])),
        hits=tuple(map(_hit, values["hits"])),
        model=str(values["model"]),
        reason=str(values["reason"]),
        usage=dict(values["usage"]),
        timings=dict(values["timings"]),
        cut=Cut(values["cut"]) if values["cut"] else None,
        left_out=int(values["left_out"]),
        searched="" if searched == question else searched,
    )


def _citation(values: Mapping[str, Any]) -> Citation:
    return Citation(
        n=int(values["n"]),
        quote=str(values["quote"]),
        status=CitationStatus(values["status"]),
        stale=values["stale"],
        beside=bool(values.get("beside", False)),
        **_where(values),
    )


def _hit(values: Mapping[str, Any]) -> Hit:
    return Hit(
        document_id="",  # a rebuild may have given it another
        title="",
        text=str(values["text"]),
        score=float(values["score"]),
        similarity=values["similarity"],
        metadata=dict(values["metadata"]),
        **_where(values),
    )


def _where(values: Mapping[str, Any]) -> dict[str, Any]:
    """What citations and hits say of their place."""
    return {
        "source": str(values["source"]),
        "page": values["page"],
        "headings": tuple(map(str, values["headings"])),
        "start": int(values["start"]),
        "end": int(values["end"]),
        "also": tuple(Place(**place) for place in values["also"]),
        "box": tuple(values["box"]) if values["box"] else None,
    }
