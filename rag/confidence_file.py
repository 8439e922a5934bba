"""What `rag eval --answers --fit` learnt of a knowledge base, beside its tables: its weights and its threshold."""

import json
from dataclasses import asdict

import rag.errors as errors
from rag.confidence import Confidence, Weights, cosine_scale
from rag.location import Location
from rag.store.objects import read, write
from rag.store.schema import Origin
from rag.store.tables import store_errors

_NAME = "confidence.json"


def load_confidence(kb: Location, made_with: Origin) -> Confidence:
    """How a knowledge base decides whether to answer: as fitted, else by default; the scale is that of its embedder.

    Raises KnowledgeBaseError where the file cannot be read. What was fitted for another embedder is not used.
    """
    identity, canaries = made_with
    scale = cosine_scale(canaries)
    try:
        content = read(kb, _NAME)
        if content is None:
            return Confidence(scale)
        stored = json.loads(content)
        if stored["identity"] != asdict(identity):
            return Confidence(scale)
        return Confidence(scale, Weights(**stored["weights"]), float(stored["threshold"]), int(stored["questions"]))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise errors.KnowledgeBaseError(
            f"{kb}/{_NAME} cannot be read ({exc}). Delete it to go back to the default; "
            "`rag eval --answers --fit` makes one."
        ) from exc


def save_confidence(kb: Location, made_with: Origin, fitted: Confidence) -> None:
    """Keep what was fitted, whole or not at all. Raises KnowledgeBaseError."""
    stored = {
        "weights": asdict(fitted.weights),
        "threshold": fitted.threshold,
        "questions": fitted.fitted,
        "identity": asdict(made_with[0]),
    }
    with store_errors(kb):
        write(kb, _NAME, (json.dumps(stored, indent=2) + "\n").encode())
