"""What the kinds of `rag eval` share: a set's knowledge base, progress, figures of an earlier run."""

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rag.errors as errors
from rag.cli.common import console, notify, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rag.knowledge_base import KnowledgeBase

T = TypeVar("T")


def cache_folder() -> Path:
    """Where the knowledge bases of evaluation sets and kept answers are."""
    import platformdirs

    from rag.settings import APP

    return Path(platformdirs.user_cache_dir(APP, appauthor=False)) / "eval"


def set_base(set_name: str, source: Path, *, download: bool | None) -> "KnowledgeBase":
    """Documents of a set, ingested at the first time; later only what changed."""
    import hashlib

    from ingest.cli import with_progress
    from ingest.members import ReadOptions
    from rag.knowledge_base import KnowledgeBase
    from rag.store.schema import FORMAT

    configured = settings(download=download)
    made_of = f"{source.resolve()} {configured.embedding_model} {configured.chunk_tokens}"
    name = f"{set_name}-{hashlib.blake2b(made_of.encode(), digest_size=6).hexdigest()}-{FORMAT}"
    base = KnowledgeBase(cache_folder() / name, settings=configured, notify=notify)
    records = ReadOptions(record_id="_id", record_title="title", record_text=("text",))
    report = with_progress(base, [source], options=records if source.is_file() else ReadOptions(), quiet=True)
    if report.failed:
        notify(f"{report.failed} documents of {set_name} could not be read; what they answer counts as missed.")
    return base


def tracked(what: str, items: "Sequence[T]") -> "Iterator[T]":
    """The items one by one, with progress on a terminal."""
    from rich.progress import track

    out = console(stderr=True)
    yield from track(items, f"{what}:", console=out, disable=not out.is_terminal, transient=True)


def earlier(baseline: Path, measures: "Sequence[str]") -> dict[str, float]:
    """The figures of an earlier run, as `--json` printed them: those of the measures, and how many questions."""
    try:
        before = json_.loads(baseline.read_text(encoding="utf-8"))
        return {name: float(before[name]) for name in ("queries", *measures) if name in before}
    except (OSError, ValueError, TypeError) as exc:
        raise errors.UsageProblem(f"{baseline} holds no figures of `rag eval --json`: {exc}") from exc


def worse_than(figures: dict[str, Any], before: dict[str, float], gate: float) -> list[str]:
    """A line for each figure that is lower than the baseline's by more than the gate."""
    if before.get("queries", figures["queries"]) != figures["queries"]:
        notify(f"The baseline was measured on {before['queries']:.0f} questions, this on {figures['queries']}.")
    return [
        f"worse: {name} {figures.get(name, 0.0):.4f}, was {before[name]:.4f}"
        for name in before
        if name != "queries" and figures.get(name, 0.0) < before[name] - gate
    ]
