"""Files into a knowledge base by many workers, on one machine or several. The only door to Ray.

    sources -> parcels of files -> Ray Data: read, cut, embed, write fragments -> commit of fragments, then of rows

A worker does with a parcel what a run without Ray does with all files, by the same functions, and writes chunks beside
the table. This process alone commits, in the order that `rag.store.write` explains, so that a kill anywhere leaves each
document in its old or its new version. A parcel whose worker was killed is done again by another; what the first one
had written is never committed.
"""

import logging
import os
import pickle
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import rag.errors as errors
from ingest.flow import Totals
from ingest.ledger import Work
from ingest.members import ReadOptions
from ingest.parcels import Done, Errand, Parcel, parcels, station
from ingest.report import Outcome, Progress
from ingest.tables import Tables
from rag.lmstudio.http import Notify
from rag.settings import Settings
from rag.store.fragments import commit_fragments, library

HERE = "local"  # the address of a Ray that this run starts for itself
_COMMIT_CHUNKS = 20_000  # few commits keep searches fast; what is not committed a killed run has to do again
_COMMIT_BYTES = 64 << 20
_COMMIT_S = 10.0
_OBJECTS_BYTES = 1 << 30
_LEAST_OBJECTS_BYTES = 96 << 20  # Ray refuses less than 75 MB
_STARTS = 3  # Ray gives its programs half a minute to come up, which is short on a machine that is busy
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where Ray keeps objects; containers often have little of it


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Ray runs: HERE or an address, and how many workers at once; None for as many as it has processors."""

    address: str = HERE
    workers: int | None = None


class Distributed:
    """One run over some files by the workers of a cluster; stands where a Flow stands."""

    def __init__(
        self, work: Sequence[Work], cluster: Cluster, settings: Settings, hosts: Sequence[str], notify: Notify
    ):
        self.totals = Totals()
        self._work, self._cluster, self._notify = work, cluster, notify
        self._settings, self._hosts = settings, tuple(hosts)
        self._pending, self._since = Done(), time.monotonic()
        library()
        _ray()

    def run(self, tables: Tables, options: ReadOptions, on_progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        """Have all files read, embedded and written; yields outcomes when they are committed.

        Raises ServerError or KnowledgeBaseError, and RagError where Ray fails.
        """
        began = time.monotonic()
        files, size = len(self._work), sum(one.file.size for one in self._work)
        kb = tables.writer.store.path
        kb = kb.absolute() if isinstance(kb, Path) else kb
        errand = Errand(kb, self._settings, self._hosts, options, tables.halves)
        with session(self._cluster) as ray:
            at_once = self._cluster.workers or int(ray.cluster_resources().get("CPU", 1))
            found = _results(ray, parcels(self._work, tables.rows, at_once), errand, self._cluster)
            try:
                for done in found:
                    self.totals.add(done.totals)
                    self._pending.add(done)
                    for notice in done.notices:
                        self._notify(notice)
                    if done.problem:
                        raise done.problem
                    if self._is_due():
                        yield from self._commit(tables)
                    on_progress(self.totals.progress(files, size, began))
            except GeneratorExit:
                raise
            except BaseException:
                yield from self._commit(tables)
                raise
            yield from self._commit(tables)

    def close(self) -> None:
        """All has ended with `run`."""

    def _is_due(self) -> bool:
        totals = self._pending.totals
        is_much = totals.chunks >= _COMMIT_CHUNKS or totals.bytes >= _COMMIT_BYTES
        return is_much or time.monotonic() - self._since >= _COMMIT_S

    def _commit(self, tables: Tables) -> Iterator[Outcome]:
        """Chunks first, then the rows that make them count, then what is not there any more."""
        done, self._pending = self._pending, Done()
        writer = tables.writer
        commit = partial(commit_fragments, writer.store, done.fragments)
        writer.put_written(done.documents, commit, done.failures, done.containers)
        writer.remove(done.removed)
        self._since = time.monotonic()
        yield from done.outcomes


def _results(ray: Any, all_parcels: Sequence[Parcel], errand: Errand, cluster: Cluster) -> Iterator[Done]:
    """What came of the parcels, in the order in which they are done. Ray Data keeps few of them under way."""
    task = partial(_row_done, ray.put(errand))
    # Pickled by us: Ray Data would first try to make Arrow columns of it.
    rows = [{"parcel": pickle.dumps(parcel)} for parcel in all_parcels]
    workers = ray.data.TaskPoolStrategy(size=cluster.workers and min(cluster.workers, len(rows)))
    work = ray.data.from_items(rows, override_num_blocks=len(rows)).map(task, num_cpus=1, compute=workers)
    try:
        for row in work.iter_rows():
            yield pickle.loads(row["done"])  # noqa: S301 - what a worker of this run has made
    except ray.exceptions.RayError as exc:
        told = f"Ray could not finish the run: {_first_line(exc)} Run the same command to go on."
        raise errors.RagError(told) from exc


def _row_done(errand: Any, row: dict[str, Any]) -> dict[str, Any]:
    """One parcel, in a worker."""
    parcel = pickle.loads(row["parcel"])  # noqa: S301 - what the run's own process has made
    return {"done": pickle.dumps(station(_fetched(errand)).done(parcel))}


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Errand:
    import ray

    errand: Errand = ray.get(reference)
    return errand


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0].rstrip(".") + "."


def _ray() -> Any:
    """Ray, told to be quiet and to tell nobody."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as exc:
        raise errors.MissingExtra("Ray", "ray") from exc
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray


@contextmanager
def session(cluster: Cluster) -> Iterator[Any]:
    """A connection to the cluster, or a cluster of this machine for as long as the run takes.

    Where this process is connected already, that is used, and stays. Raises RagError where there is none.
    """
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    # Sockets lie in it, whose paths have to be short.
    folder = tempfile.mkdtemp(prefix="rag-", dir="/tmp" if os.name == "posix" else None)  # noqa: S108
    try:
        _connect(ray, cluster, folder)
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, cluster: Cluster, folder: str) -> None:
    """Connect to the cluster, or start one whose files lie in a folder."""
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    starts = 1
    if cluster.address == HERE:
        own = {"num_cpus": cluster.workers or os.cpu_count(), "object_store_memory": _object_bytes()}
        told |= own | {"_temp_dir": folder, "include_dashboard": False}
        starts = _STARTS
    for left in reversed(range(starts)):
        try:
            with warnings.catch_warnings():
                # Lance and LanceDB warn of the forks that Ray's programs start with, which are others a moment later.
                warnings.simplefilter("ignore")
                ray.init(cluster.address, **told)
            return
        except Exception as exc:  # Ray raises this very class where its programs are slow to come up
            ray.shutdown()
            if not left:
                raise errors.RagError(f"Ray cannot be used at {cluster.address}: {_first_line(exc)}") from exc


def _object_bytes() -> int:
    """How much memory Ray may keep objects in: what it lies in has to have room."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return _OBJECTS_BYTES
    return max(_LEAST_OBJECTS_BYTES, min(_OBJECTS_BYTES, free * 8 // 10))
