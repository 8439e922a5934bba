"""One loaded model in a process of its own: `python -m rag.engine.worker SPEC`.

A process per instance gives all memory back when it ends, and a crash costs one instance. The worker leaves as soon as
its stdin ends, so it cannot outlive the engine, however the engine died.
"""

import json
import os
import secrets
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any

PROMPT_CACHE_MIB = 512
EMBEDDING_BATCH = 512


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker needs to know; travels as JSON on its command line."""

    path: str
    embedding: bool
    context_length: int
    parallel: int
    threads: int
    mean_pooling: bool = False
    """Average the token vectors where the model file names no pooling."""
    projector: str | None = None
    """The file that turns images into what the model reads, where it has one."""
    batch: int = 512
    flash_attention: bool | None = None
    offload_kv_cache: bool = True
    verbose: bool = False

    def to_json(self) -> str:
        """Return the spec for the command line."""
        return json.dumps(asdict(self))


def server_parameters(spec: WorkerSpec, token: str) -> Any:
    """Return xllamacpp's parameters for a spec.

    A chat model's slots have a context each, all of the promised length: with llama.cpp's unified cache the requests
    share one, and when together they outgrow it all of them fail with `Context size has been exceeded.`
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = spec.path
    if spec.projector:
        params.mmproj.path = spec.projector
    params.port = 0
    params.api_keys = [token]
    params.verbosity = 3 if spec.verbose else 2
    params.endpoint_slots = False
    params.ui = False
    params.n_parallel = spec.parallel
    params.n_ctx = spec.context_length * spec.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads
    params.no_kv_offload = not spec.offload_kv_cache
    if spec.flash_attention is not None:
        params.flash_attn_type = (
            xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if spec.flash_attention
            else xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
    if spec.embedding:
        params.embedding = True
        params.embd_normalize = 2
        # Attention without a causal mask needs the whole text in one physical batch.
        params.n_batch = params.n_ubatch = max(spec.context_length, EMBEDDING_BATCH)
        if spec.mean_pooling:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    else:
        params.use_jinja = True
        params.cache_prompt = True
        params.cache_ram_mib = PROMPT_CACHE_MIB
        params.n_batch = max(spec.batch, 2048)
        params.n_ubatch = spec.batch
    return params


def main() -> int:
    """Load the model, say on stdout where it listens, and serve until stdin ends."""
    spec = WorkerSpec(**json.loads(sys.argv[1]))
    # llama.cpp and its parts print where they like: keep stdout for the one line that the engine reads.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the engine decides
    threading.Thread(target=_leave_at_end_of_stdin, daemon=True).start()
    token = secrets.token_urlsafe(24)
    try:
        import xllamacpp

        server = xllamacpp.Server(server_parameters(spec, token))
    except Exception as exc:  # noqa: BLE001 - a process boundary: whatever it was, the engine must hear of it
        print(json.dumps({"error": str(exc)}), file=reply, flush=True)
        return 1
    print(json.dumps({"address": server.listening_address, "token": token}), file=reply, flush=True)
    threading.Event().wait()
    return 0


def _leave_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
