"""How long the two commands take to say their help, and the two packages to import: medians of whole processes."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.record import record

RUNS = 15


def median_ms(command: list[str]) -> float:
    """The median wall time of a command, in milliseconds, after one run that warms the caches."""
    times = []
    for run in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if run:
            times.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(times), 1)


def main() -> None:
    """Measure and record."""
    scripts = Path(sys.executable).parent
    python = sys.executable
    bare = median_ms([python, "-c", "pass"])
    record(
        "startup",
        {
            "runs": RUNS,
            "python -c pass (ms)": bare,
            "python -c 'import rag, ingest' (ms)": median_ms([python, "-c", "import rag, ingest"]),
            "rag --help (ms)": median_ms([str(scripts / "rag"), "--help"]),
            "ingest --help (ms)": median_ms([str(scripts / "ingest"), "--help"]),
        },
    )


if __name__ == "__main__":
    main()
