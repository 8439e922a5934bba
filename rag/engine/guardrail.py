"""May this model be loaded: what it will take against what the machine has."""

from pathlib import Path

# Compute buffers, the tokenizer and the process itself; measured at 60 to 250 MB for models of up to 1.5B.
WORKER_BYTES = 200 << 20

STOPPED = (
    "Model loading was stopped due to insufficient system resources. Continuing to load the model would likely "
    "overload your system and cause it to freeze. If you think this is incorrect, you can adjust the model loading "
    "guardrails in settings."
)


def too_large(weight_bytes: int, kv_bytes: int, available_bytes: int) -> bool:
    """Whether a load plainly needs more memory than there is.

    Weights and key-value cache are known to the byte, the rest is an allowance. Memory of a graphics card is not
    counted: whoever has a build that uses one, and less main memory than that, switches the guardrail off.
    """
    return weight_bytes + kv_bytes + WORKER_BYTES > available_bytes


def available_bytes() -> int:
    """Return how much memory a new process could take now: the machine's, or the container's where that is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    container = _container_bytes(Path("/sys/fs/cgroup"))
    return free if container is None else min(free, container)


def _container_bytes(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such limits on this system
        return None
    if not limit.isdigit():
        return None
    # Files in the page cache count as used, and are given up when memory is wanted.
    cached = sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))
    return max(0, int(limit) - used + cached)
