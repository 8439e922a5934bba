"""What `rag eval --answers --fit` learnt of a knowledge base, on disk: its weights and its threshold."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import rag.errors as errors
from rag.confidence import Confidence, Weights, cosine_scale
from rag.store.schema import Origin
from rag.store.tables import store_errors

_NAME = "confidence.json"


def load_confidence(kb: Path, made_with: Origin) -> Confidence:
    """How a knowledge base decides whether to answer: as fitted, else by default; the scale is that of its embedder.

    Raises KnowledgeBaseError where the file cannot be read. What was fitted for another embedder is not used.
    """
    identity, canaries = made_with
    scale = cosine_scale(canaries)
    path = kb / _NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["identity"] != asdict(identity):
            return Confidence(scale)
        return Confidence(scale, Weights(**stored["weights"]), float(stored["threshold"]), int(stored["questions"]))
    except FileNotFoundError:
        return Confidence(scale)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise errors.KnowledgeBaseError(
            f"{path} cannot be read ({exc}). Delete it to go back to the default; `rag eval --answers --fit` makes one."
        ) from exc


def save_confidence(kb: Path, made_with: Origin, fitted: Confidence) -> None:
    """Keep what was fitted, whole or not at all. Raises KnowledgeBaseError."""
    stored = {
        "weights": asdict(fitted.weights),
        "threshold": fitted.threshold,
        "questions": fitted.fitted,
        "identity": asdict(made_with[0]),
    }
    unfinished = kb / f"{_NAME}.{os.getpid()}.part"
    with store_errors(kb):
        try:
            unfinished.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
            unfinished.replace(kb / _NAME)
        finally:
            unfinished.unlink(missing_ok=True)
