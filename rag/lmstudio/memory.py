"""Load what the machine can hold: contexts are cut to its memory, and idle models of ours make way for a new one."""

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial

import rag.errors as errors
from rag.lmstudio.http import Connection, Notify
from rag.lmstudio.leases import Leases
from rag.lmstudio.models import Instance, Model, ServerKind, list_models, load, unload

LEAST_CONTEXT = 512  # tokens; with less not even one passage is left

# The cache of so many tokens takes as much memory as the weights do: about the least among today's models (four bits,
# grouped queries; 33,000 for Qwen2.5 0.5B, 37,000 for Llama 3.1 8B, 82,000 for Qwen2.5 7B). LM Studio does not say.
_TOKENS_LIKE_WEIGHTS = 32_768
_LM_STUDIOS_DEFAULT = 4096  # tokens that the server itself would try, whatever we think of the machine
_SHARE = 0.9  # of the memory that is free now


def affordable_context(model: Model, free_bytes: int) -> int:
    """How many tokens of context the machine can hold beside the model's weights, by a cautious rule.

    It knows main memory alone; what a graphics card can hold, the server finds out.
    """
    if not model.size_bytes:
        return model.max_context_length or _LM_STUDIOS_DEFAULT
    left = free_bytes * _SHARE - model.size_bytes
    return max(_LM_STUDIOS_DEFAULT, int(left / model.size_bytes * _TOKENS_LIKE_WEIGHTS))


def free_memory() -> int:
    """Bytes of main memory that programs can still have."""
    import psutil

    return int(psutil.virtual_memory().available)


def load_affordable(
    connection: Connection,
    model: Model,
    context_length: int,
    notify: Notify,
    *,
    in_hand: Collection[str] = (),
    enough: Callable[[int], Instance | None] = lambda context: None,
) -> Instance:
    """Load a model with this context; where memory is refused, first free our own idle models, then try less context.

    `in_hand` are instances that this process is about to use again. `enough` may offer an instance that is loaded
    already once no more than its context is left to try. Raises ModelLoadFailed; NotEnoughMemory with what to close.
    """
    context = context_length
    while True:
        try:
            return load(connection, model.key, context)
        except errors.ModelLoadFailed as exc:
            if not _for_want_of_memory(exc):
                raise
            refused = exc
        if freed := free_idle(connection, {*in_hand, *(instance.id for instance in model.instances)}):
            notify(f"Memory is short for {model.key}; unloaded {', '.join(freed)}, which we had loaded and was idle.")
            continue
        smaller = context // 2
        if there := enough(smaller):
            notify(f"Memory is short for {model.key} with {context} tokens of context; using {there.id} as it is.")
            return there
        if smaller < LEAST_CONTEXT:
            raise errors.NotEnoughMemory(f"{refused} {_what_to_close(connection)}") from refused
        notify(f"Memory is short for {model.key} with {context} tokens of context; trying {smaller}.")
        context = smaller


def free_idle(connection: Connection, spare: Collection[str]) -> list[str]:
    """Unload what our processes loaded and nobody of them is using now, but for `spare`; returns the ids."""
    leases = Leases(connection.base)
    return [
        instance_id
        for instance_id in leases.all()
        if instance_id not in spare and leases.end_idle(instance_id, partial(unload, connection, instance_id))
    ]


def _for_want_of_memory(exc: errors.ModelLoadFailed) -> bool:
    """Also a loader that died without a word: on Windows that is how a graphics card that is full looks."""
    return isinstance(exc, errors.NotEnoughMemory) or bool(re.search(r"\(exit code", str(exc), re.IGNORECASE))


def _what_to_close(connection: Connection) -> str:
    loaded = list(_loaded(connection))
    if not loaded:
        return "Nothing else is loaded: close other programs, or use a smaller model (`rag models ls` shows sizes)."
    return f"Loaded now: {'; '.join(loaded)}. Unload one, close other programs, or use a smaller model."


def _loaded(connection: Connection) -> Iterator[str]:
    ours = Leases(connection.base).all()
    for model in list_models(connection, ServerKind.LMSTUDIO):
        for instance in model.instances:
            size = f", {model.size_bytes / 1e9:.1f} GB" if model.size_bytes else ""
            who = "lmstudio-rag" if instance.id in ours else "another program"
            yield f"{instance.id} (by {who}{size}; `rag models unload {instance.id}`)"
