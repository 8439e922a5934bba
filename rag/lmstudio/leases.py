"""Who of us loaded which model, until when, and who is using it now: a small file per user and server.

LM Studio's load endpoint takes no TTL, so expiry is ours to do. Only instances that this project loaded have a lease;
what others loaded is never unloaded.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rag.settings import state_dir

if TYPE_CHECKING:
    from filelock import FileLock

FOREVER = -1  # seconds of TTL: until somebody unloads it


@dataclass(frozen=True, slots=True)
class Lease:
    """One loaded instance. Times are seconds since 1970; `ttl_s` counts from `last_used`, FOREVER never ends.

    `users` are the processes that are using it at this moment, each as `pid:start time`, so that a process id that
    was given to another process does not keep a model alive.
    """

    instance_id: str
    key: str
    ttl_s: int
    loaded_at: float
    last_used: float
    owner: str
    users: tuple[str, ...] = ()

    def remaining_s(self, now: float) -> float | None:
        """Seconds until it may be unloaded, at least 0; None where it never is."""
        return None if self.ttl_s == FOREVER else max(0.0, self.last_used + self.ttl_s - now)

    def expired(self, now: float) -> bool:
        """Whether its time is over and nobody who is alive uses it."""
        return self.remaining_s(now) == 0 and not any(map(is_alive, self.users))


class Leases:
    """The leases on one server's models. Every change is made under a lock and replaces the file at once."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.folder = state_dir() / "leases"
        self.name = hashlib.blake2b(base.encode(), digest_size=8).hexdigest()
        self.path = self.folder / f"{self.name}.json"

    def all(self) -> dict[str, Lease]:
        """The leases by instance id; none where the file is missing or is not one of ours."""
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))["leases"]
            return {row["instance_id"]: Lease(**{**row, "users": tuple(row["users"])}) for row in rows}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def ending(self) -> list[Lease]:
        """The leases that will end by themselves."""
        return [lease for lease in self.all().values() if lease.ttl_s != FOREVER]

    def loaded(self, instance_id: str, key: str, ttl_s: int) -> None:
        """Record that this process has loaded an instance."""
        now, me = time.time(), this_process()
        # Without a TTL it is in use for as long as this process is: `released`, or its death, is the end.
        lease = Lease(instance_id, key, ttl_s, now, now, me, (me,) if ttl_s == 0 else ())
        self._change(lambda leases: {**leases, instance_id: lease})

    def released(self, instance_id: str) -> bool:
        """End this process's hold on an instance; True where it was to be unloaded then and nobody uses it any more."""
        me = this_process()
        lease = self.all().get(instance_id)
        if lease is None or lease.ttl_s != 0 or lease.owner != me:
            return False
        self._touch(instance_id, lambda users: _without_one(users, me))
        return not any(map(is_alive, self.all()[instance_id].users)) if instance_id in self.all() else False

    def set_ttl(self, instance_id: str, ttl_s: int) -> None:
        """Give a lease another TTL, counted from now."""
        self._touch(instance_id, lambda users: users, ttl_s)

    def forget(self, *instance_ids: str) -> None:
        """Drop leases: the instances are gone, or are not ours any more."""
        self._change(lambda leases: {id_: lease for id_, lease in leases.items() if id_ not in instance_ids})

    @contextmanager
    def using(self, instance_id: str) -> Iterator[bool]:
        """Keep an instance from expiring meanwhile; its time begins anew at the end. False where it has no lease."""
        me = this_process()
        held = instance_id in self.all() and instance_id in self._touch(instance_id, lambda users: (*users, me))
        try:
            yield held
        finally:
            if held:
                self._touch(instance_id, lambda users: _without_one(users, me))

    def end(self, instance_id: str, unload: Callable[[], object]) -> None:
        """Unload an instance whose time is over and drop its lease: one step for everybody who asks for the lease."""
        with self._lock():
            lease = self.all().get(instance_id)
            if lease is not None and lease.expired(time.time()):
                unload()
                self._write({id_: kept for id_, kept in self.all().items() if id_ != instance_id})

    def end_idle(self, instance_id: str, unload: Callable[[], object]) -> bool:
        """Unload an instance before its time and drop its lease, unless somebody is using it at this moment."""
        with self._lock():
            lease = self.all().get(instance_id)
            if lease is None or any(map(is_alive, lease.users)):
                return False
            unload()
            self._write({id_: kept for id_, kept in self.all().items() if id_ != instance_id})
            return True

    def _touch(
        self, instance_id: str, change: Callable[[tuple[str, ...]], tuple[str, ...]], ttl_s: int | None = None
    ) -> dict[str, Lease]:
        def touched(leases: dict[str, Lease]) -> dict[str, Lease]:
            if instance_id not in leases:
                return leases
            lease = leases[instance_id]
            ttl = lease.ttl_s if ttl_s is None else ttl_s
            return {**leases, instance_id: replace(lease, last_used=time.time(), users=change(lease.users), ttl_s=ttl)}

        return self._change(touched)

    def _change(self, change: Callable[[dict[str, Lease]], dict[str, Lease]]) -> dict[str, Lease]:
        """The leases after a change that nobody else can come between."""
        with self._lock():
            before = self.all()
            after = change(before)
            if after != before:
                self._write(after)
            return after

    def _lock(self) -> "FileLock":
        from filelock import FileLock as Lock

        self.folder.mkdir(parents=True, exist_ok=True)
        return Lock(self.folder / f"{self.name}.lock", timeout=60)  # an unload may be going on under it

    def _write(self, leases: dict[str, Lease]) -> None:
        if not leases:
            self.path.unlink(missing_ok=True)
            return
        draft = self.path.with_suffix(f".{os.getpid()}.new")
        draft.write_text(json.dumps({"server": self.base, "leases": [asdict(x) for x in leases.values()]}), "utf-8")
        draft.replace(self.path)


def _without_one(users: tuple[str, ...], gone: str) -> tuple[str, ...]:
    """The users without one entry of `gone`: a process may use an instance from several threads."""
    at = users.index(gone) if gone in users else len(users)
    return users[:at] + users[at + 1 :]


@lru_cache(maxsize=1)
def this_process() -> str:
    """This process as leases name it."""
    import psutil

    return f"{os.getpid()}:{psutil.Process().create_time():.0f}"


def is_alive(process: str) -> bool:
    """Whether the process of that name still runs, and is not another one with its id."""
    import psutil

    pid, _, started = process.partition(":")
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < 2)
    except (psutil.Error, ValueError):
        return False


def keeper_lock(leases: Leases) -> Path:
    """The file whose lock the server's keeper holds."""
    return leases.folder / f"{leases.name}.keeper"
