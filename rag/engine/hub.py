"""Model files from Hugging Face, or a mirror of it: what a link means, which file to take, and fetching it.

`huggingface_hub` knows the hub's addresses, tokens and errors. The transfer is ours: that package begins anew after an
interruption, and a model is gigabytes.
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2

from rag.engine.quantization import best, is_projector, shard_of, split_name, unsharded
from rag.errors import DownloadFailed, MissingExtra

TRIES = 5
PAUSE_SECONDS = 2.0

_PIECE = 1 << 20
_HOSTS = {"huggingface.co", "www.huggingface.co", "hf.co"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VIEWS = ("blob", "resolve", "tree", "raw")


class NoSuchModel(Exception):
    """The hub has no such repository, or it has no file that fits."""


@dataclass(frozen=True, slots=True)
class Link:
    """A repository on the hub, and a file in it where one is named."""

    repository: str
    file: str | None
    revision: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file to fetch."""

    path: str
    size: int
    sha256: str | None
    """Of large files, from the hub's own records; a small file has none."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model's files on the hub at one commit; several where it is split."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def download_bytes(self) -> int:
        """How much will come over the network."""
        return sum(file.size for file in self.files)

    def targets(self, folder: Path) -> list[Path]:
        """Return where the files go: publisher/repository/file.gguf."""
        return [folder / self.repository / Path(file.path).name for file in self.files]


def endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT or the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def read_link(name: str) -> Link | None:
    """Return what a link, or a catalogue name of the form owner/name, points to; None where it is neither."""
    path, hosts = name, _HOSTS | {urlsplit(endpoint()).netloc}
    linked = name.startswith(("http://", "https://"))
    if linked:
        parts = urlsplit(name)
        if parts.netloc.casefold() not in hosts:
            return None
        path = unquote(parts.path)
    names = [part for part in path.strip("/").split("/") if part]
    if len(names) < 2 or (not linked and len(names) > 2) or not all(map(_NAME.fullmatch, names)):
        return None
    repository, rest = "/".join(names[:2]), names[2:]
    revision = "main"
    if rest and rest[0] in _VIEWS:
        revision, rest = (rest[1] if len(rest) > 1 else "main"), rest[2:]
    return Link(repository, "/".join(rest) or None, revision)


def find_model(link: Link, quantization: str | None) -> HubModel:
    """Ask the hub what a link means. Raises NoSuchModel, MissingExtra, DownloadFailed."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the package is imported
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as exc:
        raise MissingExtra("The package huggingface_hub", "engine") from exc
    try:
        info = HfApi(endpoint=endpoint(), library_name="lmstudio-rag").model_info(
            link.repository, revision=link.revision, files_metadata=True, timeout=30
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as exc:
        raise NoSuchModel(f"There is no repository {link.repository} ({link.revision}) that you may read.") from exc
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as exc:
        raise DownloadFailed(f"{endpoint()} could not be asked for {link.repository}: {exc}") from exc
    files = [
        HubFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else None)
        for one in info.siblings or ()
        if one.rfilename.casefold().endswith(".gguf")
    ]
    chosen = choose(files, link, quantization)
    return HubModel(link.repository, info.sha or link.revision, tuple(chosen))


def choose(files: Iterable[HubFile], link: Link, quantization: str | None) -> list[HubFile]:
    """Return the file that a link means, or all parts of a split one. Raises NoSuchModel that lists what there is.

    Of a repository's quantizations it is the one that was asked for, or else Q4_K_M or what is nearest to it.
    """
    models: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda one: one.path):
        if link.file is not None or not is_projector(file.path):
            models.setdefault(unsharded(file.path.removesuffix(".gguf")), []).append(file)
    if link.file is not None:
        wanted = unsharded(link.file.removesuffix(".gguf"))
        found = [name for name in models if name == wanted]
        if not found:
            raise NoSuchModel(f"{link.repository} has no file {link.file}. It has: {_listed(models)}.")
    else:
        labels = {name: split_name(Path(name).name)[1] for name in models}
        label = quantization.upper() if quantization else best(labels.values()) if labels else None
        found = [name for name in models if labels[name] == label]
        if not found:
            what = f"no GGUF file in {quantization}" if quantization and models else "no GGUF files"
            raise NoSuchModel(f"{link.repository} has {what}. It has: {_listed(models)}.")
    parts = models[found[0]]
    shard = shard_of(Path(parts[0].path).stem)
    if shard is not None and len(parts) != shard[1]:
        raise NoSuchModel(f"{link.repository} has {len(parts)} of the {shard[1]} parts of {found[0]}.")
    return parts


def _listed(models: dict[str, list[HubFile]]) -> str:
    return ", ".join(Path(name).name for name in models) or "none"


class HubFetch:
    """The fetching of one model into a models folder. `run` is called once; the rest from any thread.

    Files are written to a hidden folder, which a later fetch of the same model goes on with, and appear under their
    names only when all of them are whole and checked.
    """

    def __init__(
        self,
        model: HubModel,
        folder: Path,
        pause_seconds: float = PAUSE_SECONDS,
        targets: list[Path] | None = None,
    ) -> None:
        """Prepare to fetch the model, to publisher/repository/file.gguf where no other targets are given."""
        self.model = model
        self.paused = False
        """Whether the connection was lost, and is to be tried again."""
        self._targets = targets or model.targets(folder)
        self._folder = folder
        digest = hashlib.sha256(f"{model.repository}/{model.files[0].path}".encode()).hexdigest()
        self._work = folder / f".download-hub-{digest[:16]}"
        self._pause_seconds = pause_seconds
        self._cancelled = threading.Event()

    @property
    def key(self) -> str:
        """What is fetched, for messages and to find a running job."""
        return f"{self.model.repository}/{self.model.files[0].path}"

    @property
    def total_bytes(self) -> int:
        """How much there will be at the end."""
        return self.model.download_bytes

    def downloaded_bytes(self) -> int:
        """Return how much is there so far, what an earlier fetch left behind included."""
        sizes = 0
        for number in range(len(self.model.files)):
            part = self._part(number)
            sizes += part.stat().st_size if part.is_file() else 0
        return sizes

    def present(self) -> bool:
        """Whether all files are in their places, with the sizes that the hub names."""
        pairs = zip(self._targets, self.model.files, strict=True)
        return all(target.is_file() and target.stat().st_size == file.size for target, file in pairs)

    def cancel(self) -> None:
        """Break off; what has come stays for the next time."""
        self._cancelled.set()

    def run(self) -> None:
        """Fetch the model. Raises DownloadFailed; no file appears under its name but whole."""
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._work.with_suffix(".lock")):
            if self.present():
                return
            self._begin()
            try:
                for number, file in enumerate(self.model.files):
                    self._fetch(file, self._part(number))
                self._put()
            except OSError as exc:
                raise DownloadFailed(f"{self.key} could not be written to {self._folder}: {exc}") from exc

    def _part(self, number: int) -> Path:
        return self._work / f"{number}.part"

    def _begin(self) -> None:
        """Keep what an earlier fetch left of these very files, and nothing of others."""
        marks = self._work / "files.json"
        wanted = json.dumps([[file.path, file.size, file.sha256] for file in self.model.files])
        if not marks.is_file() or marks.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work.mkdir()
            marks.write_text(wanted, encoding="utf-8")
        missing = self.model.download_bytes - self.downloaded_bytes()
        free = shutil.disk_usage(self._folder).free
        if missing > free:
            raise DownloadFailed(f"{self.key} needs {missing:,} more bytes; the disk of {self._folder} has {free:,}.")

    def _put(self) -> None:
        self._targets[0].parent.mkdir(parents=True, exist_ok=True)
        # The first part makes a split model visible: it comes last.
        for number in reversed(range(len(self.model.files))):
            self._part(number).replace(self._targets[number])
        shutil.rmtree(self._work, ignore_errors=True)

    def _fetch(self, file: HubFile, part: Path) -> None:
        failures = 0
        while True:
            before = part.stat().st_size if part.is_file() else 0
            try:
                self._transfer(file, part)
                break
            except (httpx2.TransportError, _Unavailable) as exc:
                moved = part.is_file() and part.stat().st_size > before
                failures = 1 if moved else failures + 1
                if failures >= TRIES:
                    raise DownloadFailed(f"{self.key}: the connection to {endpoint()} keeps breaking: {exc}") from exc
                self._pause()
        self._check(file, part)

    def _pause(self) -> None:
        self.paused = True
        if self._cancelled.wait(self._pause_seconds):
            raise DownloadFailed(f"the download of {self.key} was broken off")
        self.paused = False

    def _transfer(self, file: HubFile, part: Path) -> None:
        from huggingface_hub import get_token, hf_hub_url

        have = part.stat().st_size if part.is_file() else 0
        if have == file.size and part.is_file():
            return
        url = hf_hub_url(self.model.repository, file.path, revision=self.model.commit, endpoint=endpoint())
        headers = {"User-Agent": "lmstudio-rag", "Accept-Encoding": "identity"}
        if token := get_token():
            headers["Authorization"] = f"Bearer {token}"
        if have:
            headers["Range"] = f"bytes={have}-"
        # A redirect to another host loses the token: httpx2 sends it to the first alone.
        with httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=30) as response:
            if response.status_code == 429 or response.status_code >= 500:
                raise _Unavailable(f"HTTP {response.status_code}")
            if response.is_error:
                raise DownloadFailed(f"{self.key}: {endpoint()} answered HTTP {response.status_code}")
            with part.open("ab" if response.status_code == 206 else "wb") as written:
                # As it comes: gathered into pieces of a size, what has come would be lost when the connection breaks.
                for piece in response.iter_bytes():
                    if self._cancelled.is_set():
                        raise DownloadFailed(f"the download of {self.key} was broken off")
                    written.write(piece)
        size = part.stat().st_size
        if size < file.size:
            raise _Unavailable(f"{size:,} of {file.size:,} bytes came")

    def _check(self, file: HubFile, part: Path) -> None:
        size, digest = part.stat().st_size, _digest(part, self._cancelled.is_set)
        if size != file.size or (file.sha256 is not None and digest != file.sha256):
            shutil.rmtree(self._work, ignore_errors=True)
            raise DownloadFailed(
                f"{self.key} is not the file that {endpoint()} promised: {size:,} bytes with SHA-256 {digest}, "
                f"not {file.size:,} with {file.sha256 or 'any'}. Nothing was kept."
            )


class _Unavailable(Exception):
    """The server does not give the file now."""


def _digest(path: Path, cancelled: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            if cancelled():
                raise DownloadFailed(f"the check of {path.name} was broken off")
    return digest.hexdigest()
