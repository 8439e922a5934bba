"""Where figures go: a file named by program and commit, so that a number always says what it was measured on."""

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def commit() -> str:
    """The commit that is checked out, with `-changed` where the tree differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, cwd=RESULTS.parent
        ).stdout.strip()

    return git("rev-parse", "--short=10", "HEAD") + (
        "-changed" if git("status", "--porcelain", "--", "../rag", "../ingest", "../data") else ""
    )


def record(name: str, figures: dict[str, Any]) -> Path:
    """Write figures as JSON and return the file; also print them."""
    path = RESULTS / f"{name}-{commit()}.json"
    machine = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    path.write_text(
        json.dumps({"commit": commit(), "machine": machine, **figures}, indent=2, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
    print(json.dumps(figures, indent=2, ensure_ascii=False))
    print(f"written to {path.relative_to(RESULTS.parents[1])}")
    return path
