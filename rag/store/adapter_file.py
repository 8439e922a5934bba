"""The adapter beside a knowledge base's tables: a matrix for question vectors, and the identity it was learnt for."""

import io
import json
import zipfile
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

import rag.errors as errors
from rag.location import Location
from rag.store.objects import read, remove, write
from rag.store.schema import Identity
from rag.store.tables import store_errors

_NAME = "adapter.npz"


def save_adapter(kb: Location, turn: npt.NDArray[np.float64], identity: Identity) -> None:
    """Keep an adapter, whole or not at all. Raises KnowledgeBaseError."""
    content = io.BytesIO()
    np.savez(content, turn=turn.astype(np.float32), identity=np.array(json.dumps(asdict(identity))))
    with store_errors(kb):
        write(kb, _NAME, content.getvalue())


def load_adapter(kb: Location, identity: Identity) -> npt.NDArray[np.float32] | None:
    """The adapter, shape (dimension, dimension); None where there is none.

    Raises IdentityMismatch where it was learnt for other vectors, KnowledgeBaseError where it cannot be read.
    """
    try:
        content = read(kb, _NAME)
        if content is None:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            turn: npt.NDArray[np.float32] = stored["turn"]
            learnt_for = Identity(**json.loads(str(stored["identity"])))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as exc:
        raise errors.KnowledgeBaseError(f"The adapter in {kb}/{_NAME} cannot be read: {exc}") from exc
    if differences := learnt_for.differences(identity):
        raise errors.IdentityMismatch(f"The adapter of {kb} was learnt for {'; '.join(differences)}.")
    if turn.shape != (identity.dimension, identity.dimension) or not np.isfinite(turn).all():
        raise errors.KnowledgeBaseError(f"The adapter in {kb}/{_NAME} is damaged.")
    return turn


def remove_adapter(kb: Location) -> bool:
    """Remove the adapter; whether there was one."""
    with store_errors(kb):
        return remove(kb, _NAME)
