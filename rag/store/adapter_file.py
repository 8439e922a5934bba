"""The adapter of a knowledge base on disk: a matrix for question vectors, and the identity that it was learnt for."""

import io
import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

import rag.errors as errors
from rag.store.schema import Identity
from rag.store.tables import store_errors

_NAME = "adapter.npz"


def save_adapter(kb: Path, turn: npt.NDArray[np.float64], identity: Identity) -> None:
    """Keep an adapter, whole or not at all. Raises KnowledgeBaseError."""
    unfinished = kb / f"{_NAME}.{os.getpid()}.part"
    with store_errors(kb):
        try:
            with unfinished.open("wb") as file:
                np.savez(file, turn=turn.astype(np.float32), identity=np.array(json.dumps(asdict(identity))))
            unfinished.replace(kb / _NAME)
        finally:
            unfinished.unlink(missing_ok=True)


def load_adapter(kb: Path, identity: Identity) -> npt.NDArray[np.float32] | None:
    """The adapter, shape (dimension, dimension); None where there is none.

    Raises IdentityMismatch where it was learnt for other vectors, KnowledgeBaseError where it cannot be read.
    """
    try:
        with np.load(io.BytesIO((kb / _NAME).read_bytes()), allow_pickle=False) as stored:
            turn: npt.NDArray[np.float32] = stored["turn"]
            learnt_for = Identity(**json.loads(str(stored["identity"])))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as exc:
        raise errors.KnowledgeBaseError(f"The adapter in {kb / _NAME} cannot be read: {exc}") from exc
    if differences := learnt_for.differences(identity):
        raise errors.IdentityMismatch(f"The adapter of {kb} was learnt for {'; '.join(differences)}.")
    if turn.shape != (identity.dimension, identity.dimension) or not np.isfinite(turn).all():
        raise errors.KnowledgeBaseError(f"The adapter in {kb / _NAME} is damaged.")
    return turn


def remove_adapter(kb: Path) -> bool:
    """Remove the adapter; whether there was one."""
    path = kb / _NAME
    with store_errors(kb):
        existed = path.is_file()
        path.unlink(missing_ok=True)
    return existed
