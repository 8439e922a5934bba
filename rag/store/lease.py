"""The one writer of a knowledge base in a bucket: a lease, written on condition, renewed, and taken over when it ends.

The object `lease.json` says who writes and until when. It is only ever changed by a conditional put, so of two who want
it one gets it. Who stops renewing it, for its machine sleeps or the network is gone, loses it to the next. Clocks that
differ or a writer that wakes up later harm nothing: whoever takes over first closes the tables to the former one
(`fence`), and a commit of that one onto a closed state is refused by Lance itself.
"""

import getpass
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import rag.errors as errors
from rag.location import Remote
from rag.store.objects import read_marked, write_if

LEASE = "lease.json"
_LASTS = timedelta(seconds=60)
_RENEWED = 4  # times while it lasts


@dataclass(frozen=True, slots=True)
class Holder:
    """What the lease says. `until` is in seconds since 1970; `turn` makes each content another, `token` each holder.

    `machine` is the name that a machine gave itself, for hosts may share one. Without a token nobody holds it.
    """

    token: str
    who: str
    machine: str
    until: float
    turn: int


class Lease:
    """A lease that is held. `taken_over` says that its former holder may still believe that it is the holder's."""

    def __init__(self, place: Remote, holder: Holder, mark: dict[str, str], taken_over: bool, lasts: timedelta) -> None:
        self.taken_over = taken_over
        self._place, self._holder, self._mark, self._lasts = place, holder, mark, lasts
        self._lost: errors.KnowledgeBaseBusy | None = None
        self._changing = threading.Lock()

    def confirm(self) -> None:
        """Renew it. Raises KnowledgeBaseBusy where it is another's, KnowledgeBaseError where nobody can say."""
        with self._changing:
            if self._lost:
                raise self._lost
            self._change(replace(self._holder, until=time.time() + self._lasts.total_seconds()))

    def release(self) -> None:
        """Let others have it at once."""
        with self._changing, suppress(errors.KnowledgeBaseError):  # then it ends by itself
            if not self._lost:
                self._change(replace(self._holder, token="", until=0.0))

    def _change(self, wanted: Holder) -> None:
        wanted = replace(wanted, turn=self._holder.turn + 1)
        mark = write_if(self._place, LEASE, _content(wanted), self._mark)
        if mark is None:
            found = _read(self._place)
            # A put whose answer was lost is sent again, and then fails for what it has done itself.
            if found is None or found[0] != wanted:
                self._lost = errors.KnowledgeBaseBusy(
                    f"{found[0].who if found and found[0].token else 'Another writer'} has taken over {self._place}: "
                    "this one did not renew its lease in time. What it had committed stays; run it again."
                )
                raise self._lost
            mark = found[1]
        self._holder, self._mark = wanted, mark


@contextmanager
def lease_of(place: Remote, machine: str, lasts: timedelta = _LASTS) -> Iterator[Lease]:
    """Hold the lease of a knowledge base and renew it, until the end. Raises KnowledgeBaseBusy, saying who has it.

    `machine` names this one, on which nobody else may be within: what was left here by a crash is taken over at once.
    """
    lease = _taken(place, machine, lasts)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(lasts.total_seconds() / _RENEWED):
            try:
                lease.confirm()
            except errors.KnowledgeBaseBusy:
                return
            except errors.KnowledgeBaseError:
                continue  # the storage may be back before the lease ends

    renewing = threading.Thread(target=renew, name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        ended.set()
        renewing.join()
        lease.release()


def fence(tables: Any) -> None:
    """Close LanceDB tables to a former writer: a commit of its own onto a state before this one fails.

    A restore is committed after whatever came before it. Where something did, between the look and the restore, that is
    what holds: it is restored, and nothing can follow it any more.
    """
    for table in tables:
        table.checkout_latest()
        content = int(table.version)
        table.checkout(content)
        table.restore()
        closed = int(table.version)
        if closed > content + 1:
            table.checkout(closed - 1)
            table.restore()


def machine_name(folder: Path) -> str:
    """The name of this machine in a folder of its own, made once."""
    file = folder / "machine"
    if not file.exists():
        file.write_text(secrets.token_hex(8), encoding="ascii")
    return file.read_text(encoding="ascii")


def _taken(place: Remote, machine: str, lasts: timedelta) -> Lease:
    found = _read(place)
    before, mark = found or (None, None)
    if before and before.token and before.until > time.time() and before.machine != machine:
        raise _busy(place, before)
    holder = Holder(
        token=secrets.token_hex(8),
        who=_who(),
        machine=machine,
        until=time.time() + lasts.total_seconds(),
        turn=before.turn + 1 if before else 1,
    )
    made = write_if(place, LEASE, _content(holder), mark)
    if made is None:
        now = _read(place)
        if now is None or now[0] != holder:
            raise _busy(place, now[0] if now else None)
        made = now[1]
    return Lease(place, holder, made, bool(before and before.token), lasts)


def writing(place: Remote) -> str:
    """Who writes to a knowledge base and until when; "" where nobody does."""
    found = _read(place)
    if found is None or not found[0].token or found[0].until < time.time():
        return ""
    return str(_busy(place, found[0]))


def _busy(place: Remote, holder: Holder | None) -> errors.KnowledgeBaseBusy:
    if holder is None or not holder.token:
        return errors.KnowledgeBaseBusy(f"Another process has just written to {place}. Try again.")
    until = datetime.fromtimestamp(holder.until).astimezone().strftime("%H:%M:%S")
    return errors.KnowledgeBaseBusy(
        f"{holder.who} is writing to {place}, until {until} or longer. Wait for it, or end it, and try again; "
        "where it has crashed, its turn ends then."
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # in a container the user may have no name
        user = "somebody"
    return f"{user} on {socket.gethostname()}"


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _read(place: Remote) -> tuple[Holder, dict[str, str]] | None:
    found = read_marked(place, LEASE)
    if found is None:
        return None
    try:
        return Holder(**json.loads(found[0])), found[1]
    except (ValueError, TypeError) as exc:
        raise errors.KnowledgeBaseError(
            f"{place}/{LEASE} is not what lmstudio-rag wrote there. Delete it while nobody writes."
        ) from exc
