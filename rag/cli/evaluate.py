"""`rag eval`: how well questions with known answers are found, by each way of searching."""

import json as json_
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.errors as errors
from rag.cli.common import DownloadOption, JsonOption, console, notify, print_json, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.datasets import Dataset
    from rag.knowledge_base import KnowledgeBase
    from rag.retrieval_eval import QueryScore, Search

SHOWN = (
    *("ndcg@10", "recall@3", "recall@5", "recall@20", "mrr"),
    *("span_recall", "span_precision", "span_iou"),
)


def evaluate(
    path: Annotated[Path, typer.Argument(help="A folder in the BEIR layout.", show_default=False)],
    ablation: Annotated[bool, typer.Option("--ablation", help="Also by vector alone and by words alone.")] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="Figures of an earlier run (--json), to compare with.", show_default=False)
    ] = None,
    gate: Annotated[
        float, typer.Option(min=0, help="Exit code 1 if a figure is lower than the baseline's by more than this.")
    ] = 0.01,
    download: DownloadOption = None,
    json: JsonOption = False,
) -> None:
    """Measure retrieval on questions with known answers: nDCG, recall, MRR, and recall, precision, IoU of gold spans.

    The folder holds queries.jsonl, qrels.tsv, corpus.jsonl or docs/, and spans.jsonl where it has gold spans. Its
    documents are ingested once into a knowledge base in the user's cache. No judge model is asked.

    Example: rag eval sets/scifact --ablation
    """
    from rag.datasets import read_dataset
    from rag.retrieval_eval import document_names, query_scores, set_scores

    dataset = read_dataset(path)
    with _knowledge_base(dataset, download=download) as base:
        names = document_names(base, dataset)
        scores = {
            name: set_scores(_with_progress(query_scores(dataset, names, search), len(dataset.queries), name))
            for name, search in _ways(base, ablation)
        }
        model = base.store.identity.embedding_model
    figures: dict[str, Any] = {"set": dataset.name, "embedding_model": model, **scores["default"].to_dict()}
    if ablation:
        figures["ablation"] = {name: score.to_dict() for name, score in scores.items()}
    worse = _worse(figures, baseline, gate) if baseline else []
    if json:
        print_json(figures)
    else:
        _print(dataset, {name: score.to_dict() for name, score in scores.items()})
    for line in worse:
        notify(line)
    if worse:
        sys.exit(1)


def _ways(base: "KnowledgeBase", ablation: bool) -> "list[tuple[str, Search]]":
    """The ways of searching: the default, and with each part alone."""
    modes = {"default": "hybrid"} | ({"vector": "vector", "words": "words"} if ablation else {})
    return [(name, partial(base.search, mode=mode)) for name, mode in modes.items()]


def _knowledge_base(dataset: "Dataset", *, download: bool | None) -> "KnowledgeBase":
    """The set's documents, ingested at the first time; later only what changed."""
    import hashlib

    import platformdirs

    from ingest.cli import with_progress
    from ingest.members import ReadOptions
    from rag.knowledge_base import KnowledgeBase
    from rag.settings import APP

    configured = settings(download=download)
    made_of = f"{dataset.source.resolve()} {configured.embedding_model} {configured.chunk_tokens}"
    name = f"{dataset.name}-{hashlib.blake2b(made_of.encode(), digest_size=6).hexdigest()}"
    folder = Path(platformdirs.user_cache_dir(APP, appauthor=False)) / "eval" / name
    base = KnowledgeBase(folder, settings=configured, notify=notify)
    records = ReadOptions(record_id="_id", record_title="title", record_text=("text",))
    report = with_progress(base, [dataset.source], options=records if dataset.is_corpus else ReadOptions(), quiet=True)
    if report.failed:
        notify(f"{report.failed} documents of {dataset.name} could not be read; what they answer counts as missed.")
    return base


def _with_progress(scores: "Iterator[QueryScore]", total: int, name: str) -> "list[QueryScore]":
    from rich.progress import track

    out = console(stderr=True)
    return list(track(scores, f"{name}:", total=total, console=out, disable=not out.is_terminal, transient=True))


def _worse(figures: dict[str, Any], baseline: Path, gate: float) -> list[str]:
    """A line for each figure that is lower than the baseline's by more than the gate."""
    try:
        before = json_.loads(baseline.read_text(encoding="utf-8"))
        known = {name: float(before[name]) for name in SHOWN if name in before}
    except (OSError, ValueError, TypeError) as exc:
        raise errors.UsageProblem(f"{baseline} holds no figures of `rag eval --json`: {exc}") from exc
    return [
        f"worse: {name} {figures.get(name, 0.0):.4f}, was {value:.4f}"
        for name, value in known.items()
        if figures.get(name, 0.0) < value - gate
    ]


def _print(dataset: "Dataset", scores: dict[str, dict[str, Any]]) -> None:
    from rag.display import print_table

    names = [name for name in SHOWN if name in next(iter(scores.values()))]
    print_table(
        console(),
        (f"{dataset.name}, {len(dataset.queries)} questions", *names),
        ((way, *(_shown(score, name) for name in names)) for way, score in scores.items()),
    )


def _shown(score: dict[str, Any], name: str) -> str:
    low, high = score["intervals"][name]
    return f"{score[name]:.3f} ({low:.3f}-{high:.3f})"
