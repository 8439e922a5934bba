"""Checks of the embedded engine's program and of the model files that it would load."""

import hashlib
import importlib.metadata
import importlib.util
import shlex
from collections.abc import Iterator
from pathlib import Path

from rag.checks.check import Check, fail, ok, warn
from rag.engine.catalogue import DEMO_MODELS
from rag.engine.header import NotGguf, read_header
from rag.engine.places import lm_studio_models_folder, models_folder
from rag.settings import Settings


def engine_checks(settings: Settings) -> Iterator[Check]:
    """Starts nothing."""
    yield _program(settings)
    yield _files()


def _program(settings: Settings) -> Check:
    if importlib.util.find_spec("xllamacpp") is None:
        return warn("embedded engine", "not installed; LM Studio is needed", "Or: `pip install 'lmstudio-rag[engine]'`")
    state = "starts by itself where nothing answers" if settings.engine else "switched off by RAG_ENGINE"
    return ok("embedded engine", f"llama.cpp as xllamacpp {importlib.metadata.version('xllamacpp')}; {state}")


def _files() -> Check:
    """Whether each model file has a header that can be read, and those that we know the checksum that is expected."""
    folders = (models_folder(), lm_studio_models_folder())
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.gguf"))]
    known = {folders[0] / model.file: model for model in DEMO_MODELS if not model.convert}
    matching = 0
    for path in files:
        try:
            read_header(path)
            intact = path not in known or _sha256(path) == known[path].sha256
        except (NotGguf, OSError):
            intact = False
        if not intact:
            again = f", then `rag models get {known[path].key}`" if path in known else ", then download it again"
            return fail("model files", f"{path} is damaged", f"`rm {shlex.quote(str(path))}`{again}")
        matching += path in known
    if not files:
        return ok("model files", f"none in {folders[0]} or {folders[1]}", "`rag demo` fetches two small ones.")
    return ok("model files", f"{len(files)} can be read, {matching} of them with the checksum that we know")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
