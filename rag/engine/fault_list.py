"""The faults that the engine shows on request: their names, what a client sees, what a number behind them means."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rag.errors import UsageProblem


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault that can be asked for."""

    name: str
    what: str
    number: str = "TIMES"
    """What VALUE in NAME=VALUE means; TIMES is how often it happens."""
    default: float = float("inf")


FAULT_KINDS = (
    FaultKind("slow-load", "each load waits before it begins", "SECONDS", 5),
    FaultKind("crash-once", "the model that is asked dies under the request", default=1),
    FaultKind("refuse-load", "loads are refused for want of memory"),
    FaultKind("evict-in-queue", "the model that is asked is unloaded while the request waits", default=1),
    FaultKind("cut-silently", "texts are cut before they are embedded, sooner than the list says", "WORDS", 32),
    FaultKind("wrong-type", "embedding models are listed, and treated, as chat models"),
    FaultKind("empty-stream", "a chat stream is well formed and has no text"),
    FaultKind("shuffled-batch", "embeddings come in another order; `index` tells"),
    FaultKind("short-batch", "the last embedding is missing"),
    FaultKind("wrong-model", "answers name another model"),
    FaultKind("error-in-stream", "a stream ends in an error after its first events"),
    FaultKind("disconnect-mid-stream", "the connection breaks after a stream's first events"),
    FaultKind("200-error", "an error in a text, under status 200"),
    FaultKind("n_ctx-overflow", "each prompt is longer than the context"),
)
_BY_NAME = {kind.name: kind for kind in FAULT_KINDS}


def read_faults(words: Iterable[str]) -> Mapping[str, float]:
    """Return the number for each fault out of NAME or NAME=VALUE. Raises UsageProblem."""
    faults: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        kind = _BY_NAME.get(name)
        if kind is None:
            raise UsageProblem(f"There is no fault {name!r}. There are: {', '.join(_BY_NAME)}.")
        try:
            faults[name] = float(value) if value else kind.default
        except ValueError:
            faults[name] = -1
        if not faults[name] >= 0:
            raise UsageProblem(f"{word!r}: {kind.number} must be a number from 0, as in {name}=2.")
    return faults


def fault_help() -> str:
    """Return all faults, one line each."""
    return "\n".join(f"{kind.name}[={kind.number}]: {kind.what}" for kind in FAULT_KINDS)
