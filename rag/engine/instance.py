"""One loaded model: what it is, how it was loaded, and what its worker is told."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Literal

from rag.engine.faults import Fault
from rag.engine.library import Model
from rag.engine.process import WorkerProcess
from rag.engine.worker import WorkerSpec

Origin = Literal["jit", "explicit"]

DEFAULT_LLM_CONTEXT = 4096
DEFAULT_EMBEDDING_CONTEXT = 2048
MOST_PARALLEL = 4
MOST_KV_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is to be loaded; None leaves it to the engine."""

    context_length: int | None = None
    eval_batch_size: int | None = None
    flash_attention: bool | None = None
    offload_kv_cache_to_gpu: bool | None = None


@dataclass(slots=True, eq=False)
class Instance:
    """A model that is being loaded, is loaded, or was. `worker` is there once it has been loaded."""

    id: str
    model: Model
    spec: WorkerSpec
    origin: Origin
    ttl_seconds: float | None
    turns: asyncio.Semaphore
    """An embedding instance serves one request at a time, a chat model one per slot."""
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when loading is over, well or not."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker has ended."""
    worker: WorkerProcess | None = None
    failure: Fault | None = None
    """Why there is no worker, or none any more."""
    load_seconds: float = 0.0
    last_used: float = field(default_factory=time.monotonic)
    running: int = 0
    life: asyncio.Task[None] | None = None

    def config(self) -> dict[str, int | bool]:
        """Return the loaded configuration in the words of LM Studio's model list."""
        config = self.load_config()
        if self.model.kind == "llm":
            config["parallel"] = self.spec.parallel
        return config

    def load_config(self) -> dict[str, int | bool]:
        """Return what `echo_load_config` shows."""
        config: dict[str, int | bool] = {"context_length": self.spec.context_length}
        if self.model.kind == "llm":
            config["eval_batch_size"] = self.spec.batch
            config["flash_attention"] = self.spec.flash_attention is not False
            config["offload_kv_cache_to_gpu"] = self.spec.offload_kv_cache
        return config

    def expired(self, now: float) -> bool:
        """Whether it has been idle for longer than its TTL."""
        idle = self.running == 0 and self.worker is not None
        return idle and self.ttl_seconds is not None and now - self.last_used >= self.ttl_seconds


def worker_spec(model: Model, options: LoadOptions, threads: int, verbose: bool) -> WorkerSpec:
    """Return how a worker has to load the model.

    An embedding model gets no more context than it was trained for: it has no positions beyond. A chat model does, as
    in LM Studio, which clamps nothing.
    """
    embedding = model.kind == "embedding"
    default = DEFAULT_EMBEDDING_CONTEXT if embedding else DEFAULT_LLM_CONTEXT
    context = options.context_length or min(default, model.max_context_length)
    if embedding:
        context = min(context, model.max_context_length)
    return WorkerSpec(
        path=str(model.path),
        embedding=embedding,
        context_length=context,
        parallel=1 if embedding else chat_slots(context, model.kv_bytes_per_token),
        threads=threads or default_threads(),
        mean_pooling=embedding and not model.pooled,
        projector=str(model.projector) if model.projector else None,
        batch=options.eval_batch_size or 512,
        flash_attention=options.flash_attention,
        offload_kv_cache=options.offload_kv_cache_to_gpu is not False,
        verbose=verbose,
    )


def kv_bytes(model: Model, spec: WorkerSpec) -> int:
    """Return how much memory the key-value cache of all slots takes; an embedding model keeps none."""
    return 0 if spec.embedding else spec.context_length * spec.parallel * model.kv_bytes_per_token


def chat_slots(context: int, kv_bytes_per_token: int) -> int:
    """Return how many requests may run together, each with the whole context, within a bounded amount of memory."""
    affordable = MOST_KV_BYTES // max(1, context * kv_bytes_per_token)
    return max(1, min(MOST_PARALLEL, affordable))


def default_threads() -> int:
    """Return how many threads a worker takes: one per physical core."""
    import psutil

    physical = psutil.cpu_count(logical=False) or 1
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # neither Windows nor macOS has it
        usable = os.cpu_count() or 1
    return max(1, min(physical, usable))
