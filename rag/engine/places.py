"""Where the engine keeps its models, its state and its log."""

import os
from dataclasses import dataclass
from pathlib import Path

_APPLICATION = "lmstudio-rag"


@dataclass(frozen=True, slots=True)
class Places:
    """The files of the engine that serves one port; several engines can live side by side."""

    folder: Path
    port: int

    @property
    def record(self) -> Path:
        """Who serves the port: process id, start time."""
        return self.folder / f"engine-{self.port}.json"

    @property
    def lock(self) -> Path:
        """Held while an engine for the port is being started."""
        return self.folder / f"engine-{self.port}.lock"

    @property
    def log(self) -> Path:
        """What the engine and its workers wrote to stderr."""
        return self.folder / f"engine-{self.port}.log"


def places(port: int) -> Places:
    """Return the engine's files for `port`, below RAG_STATE_DIR or the user's state folder; makes the folder."""
    folder = _folder("RAG_STATE_DIR")
    if folder is None:
        from platformdirs import user_state_path

        folder = user_state_path(_APPLICATION, appauthor=False)
    folder.mkdir(parents=True, exist_ok=True)
    return Places(folder, port)


def models_folder() -> Path:
    """Return the engine's own model folder: RAG_ENGINE_MODELS or the user's cache folder."""
    folder = _folder("RAG_ENGINE_MODELS")
    if folder is None:
        from platformdirs import user_cache_path

        folder = user_cache_path(_APPLICATION, appauthor=False) / "models"
    return folder


def lm_studio_models_folder() -> Path:
    """Return the folder where LM Studio keeps what it downloaded, whether or not it exists."""
    return Path.home() / ".lmstudio" / "models"


def _folder(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser().resolve() if value else None
