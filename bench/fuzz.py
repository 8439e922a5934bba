"""Damaged files, each read in a process with limits: how many crash, hang, or raise what is no ParseError.

    python -m bench.fuzz --count 2000 [--first 0] [--keep DIR] [--seeds DIR]

Goes round the formats of tests/seeds.py, or the files below another folder (up to 300 kB each). A damaged file may
give a document or a ParseError; everything else is kept in DIR, where given, under the number that makes it again.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench.record import record
from bench.workers import NEVER, read_files
from ingest.parse import SUFFIXES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from mutations import mutated
from seeds import seeds

SECONDS = 20.0
MEMORY = 2 << 30
LARGEST = 300_000


def main() -> None:
    """Measure and record."""
    arguments = argparse.ArgumentParser(description="Read damaged files.")
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--first", type=int, default=0, help="the first seed")
    arguments.add_argument("--only", help="one suffix, without its dot")
    arguments.add_argument("--seeds", type=Path, help="a folder of files to damage instead of the tests' own")
    arguments.add_argument("--keep", type=Path, help="where to keep what should not be")
    given = arguments.parse_args()
    files = _below(given.seeds) if given.seeds else seeds()
    files = {name: data for name, data in files.items() if given.only in {None, name.rpartition(".")[2]}}
    sources = tuple(files.values())
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    never: list[str] = []
    slowest: dict[str, float] = defaultdict(float)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:

        def damaged() -> Iterator[Path]:
            names = list(files)
            for number in range(given.first, given.first + given.count):
                name = names[number % len(names)]
                path = Path(folder, f"{number:06}{Path(name).suffix}")
                path.write_bytes(mutated(files[name], number, sources))
                yield path

        for path, reading in read_files(damaged(), seconds=SECONDS, memory=MEMORY):
            suffix = path.suffix
            outcomes[suffix][reading.outcome] += 1
            slowest[suffix] = max(slowest[suffix], reading.seconds)
            if reading.outcome in NEVER:
                never.append(f"{path.name} {reading.outcome}: {reading.reason}")
                print(never[-1])
                if given.keep:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / path.name).write_bytes(path.read_bytes())
            path.unlink()
    figures = {
        "files": given.count,
        "first seed": given.first,
        "limits": {"seconds": SECONDS, "bytes": MEMORY},
        "never": {kind: sum(counts[kind] for counts in outcomes.values()) for kind in sorted(NEVER)},
        "which": never,
        "formats": {
            suffix: {**counts, "slowest, s": round(slowest[suffix], 2)} for suffix, counts in sorted(outcomes.items())
        },
        "seconds": round(time.perf_counter() - started, 1),
    }
    record("fuzz-real" if given.seeds else "fuzz", figures)


def _below(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < LARGEST)
    return {str(path): path.read_bytes() for path in found if path.suffix.lower() in SUFFIXES}


if __name__ == "__main__":
    main()
