"""The two commands as a shell runs them, without a process for each."""

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.cli import main as ingest_main
from rag.cli.app import main as rag_main

MAINS = {"rag": rag_main, "ingest": ingest_main}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def run(
    name: str,
    *arguments: str | Path,
    stdin: bytes | str = "",
    environment: Mapping[str, str] | None = None,
    within: Path | None = None,
) -> Done:
    """Run `rag …` or `ingest …`, piped; an error that no user should meet is raised."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))
        for variable, value in (environment or {}).items():
            patch.setenv(variable, value)
        if within is not None:
            patch.chdir(within)
        try:
            MAINS[name]()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
