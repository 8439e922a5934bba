"""Download jobs: one thread each, one per model, their progress as LM Studio shows it."""

import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rag.engine.catalogue import DEMO_MODELS, DemoModel, demo_model
from rag.engine.fetch import Fetch
from rag.errors import DownloadFailed

log = logging.getLogger("rag.engine")

State = Literal["downloading", "completed", "failed"]


@dataclass(slots=True, eq=False)
class Job:
    """One download. The thread that does it writes `state`, `error` and `finished`, each once."""

    id: str
    fetch: Fetch
    started: float = field(default_factory=time.time)
    finished: float | None = None
    state: State = "downloading"
    error: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return the job's status in LM Studio's form; `error` is ours and there only where it failed."""
        total = self.fetch.model.download_bytes
        done = total if self.state == "completed" else min(self.fetch.downloaded_bytes(), total)
        shown: dict[str, Any] = {"job_id": self.id, "status": self.state}
        if self.state == "downloading":
            speed = done / max(time.time() - self.started, 1e-3)
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

    def entry(self, name: str) -> DemoModel | None:
        """Return the catalogue's entry for a key."""
        return demo_model(name)

    def job(self, job_id: str) -> Job | None:
        """Return the job with that id."""
        return self._jobs.get(job_id)

    def busy(self) -> bool:
        """Whether a download is going on."""
        return any(job.state == "downloading" for job in list(self._jobs.values()))

    def start(self, model: DemoModel) -> Job | None:
        """Return the job that fetches a model, a running one where there is one; None where the model is there."""
        with self._changing:
            for job in self._jobs.values():
                if job.fetch.model.key == model.key and job.state == "downloading":
                    return job
            if (self._folder / model.file).is_file():
                return None
            job = Job(f"job_{secrets.token_hex(5)}", Fetch(model, self._folder))
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
    log.info("download of %s begins: %s", job.fetch.model.key, job.id)
    try:
        job.fetch.run()
    except DownloadFailed as exc:
        job.error = str(exc)
        log.error("download of %s failed: %s", job.fetch.model.key, exc)
    except Exception as exc:  # the thread's boundary: the job has to say that it is over
        job.error = f"{type(exc).__name__}: {exc}"
        log.exception("download of %s failed", job.fetch.model.key)
    job.finished = time.time()
    job.state = "failed" if job.error else "completed"
    log.info("download %s: %s", job.id, job.state)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
