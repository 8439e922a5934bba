"""`rag status`, `rag ls` and `rag rm`."""

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.complete as complete
import rag.cli.flags as flags
from rag.cli.common import busy, console, knowledge_base, notify, print_json
from rag.search.where import all_of

if TYPE_CHECKING:
    from rag.confidence import Confidence
    from rag.store.schema import DocumentRow
    from rag.store.upkeep import Coverage


def status(kb: flags.Kb = None, at: flags.At = None, json: flags.Json = False) -> None:
    """Show what the knowledge base holds and how its index stands.

    Example: rag status --kb notes.kb
    """
    from rag.display import human_bytes, print_table

    with knowledge_base(kb, at) as base:
        found, confidence = base.status(), base.confidence
    if json:
        print_json(asdict(found) | {"path": str(found.path), "confidence": asdict(confidence)})
        return
    identity, cover = found.identity, found.coverage
    rows = [
        ("knowledge base", found.path),
        (
            "documents",
            f"{found.documents}" + (f", {found.failed} of them failed (rag ls --failed)" if found.failed else ""),
        ),
        ("chunks", found.chunks),
        ("size", human_bytes(found.bytes)),
        (
            "embedding model",
            f"{identity.embedding_model}, {identity.dimension} dimensions, {identity.quantization or 'unknown quant'}",
        ),
        ("chunk size", f"at most {identity.chunk_tokens} tokens"),
        ("full-text index", _covered(cover.words)),
        ("vector index", _covered(cover.vectors)),
        ("answers given", _answers_given(confidence)),
        *((f"root {name}", path) for name, path in sorted(found.roots.items())),
    ]
    print_table(console(), ("", ""), rows)


def _answers_given(confidence: "Confidence") -> str:
    fitted = f"fitted on {confidence.fitted} questions" if confidence.fitted else "by default"
    return f"where their score is at least {confidence.threshold:.2f}, {fitted}"


def _covered(cover: "Coverage") -> str:
    if not cover.kind:
        return f"none yet: all {cover.unindexed} chunks are compared"
    return f"{cover.kind}: {cover.indexed} chunks, {cover.unindexed} more are compared one by one"


def ls(
    kb: flags.Kb = None,
    at: flags.At = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only documents that could not be read, with the reason.")
    ] = False,
    where: flags.Where = None,
    path: flags.Paths = None,
    json: flags.Json = False,
) -> None:
    """List the documents.

    Example: rag ls --where 'format = pdf and modified > 2026-01-01'
    """
    from rag.display import print_table
    from rag.display_answer import link_to

    with knowledge_base(kb, at) as base:
        everything = base.documents(where=all_of(where or ()), paths=path or ())
        rows = [row for row in everything if not failed or row.status == "failed"]
    if json:
        for row in rows:
            print_json(asdict(row))
        return
    out = console()
    link = partial(link_to, out, page=None, file_of=base.file_of)
    if failed:
        broken = ((row.source, row.error, _held(row)) for row in rows)
        print_table(out, ("source", "reason", "searchable"), broken, link=link)
    else:
        print_table(out, everything.columns, map(everything.cells, rows), link=link)
    if failed and rows:
        notify("The next `ingest` of their folders tries them again.")


def _held(row: "DocumentRow") -> str:
    return f"as it was before, {row.chunks} chunks" if row.chunks else "no"


def rm(
    source: Annotated[
        str,
        typer.Argument(help="A document as `rag ls` names it, or a folder of them.", autocompletion=complete.sources),
    ],
    kb: flags.Kb = None,
    json: flags.Json = False,
) -> None:
    """Remove a document, or all below a folder, from the knowledge base. Files are not touched.

    Example: rag rm docs/old
    """
    with knowledge_base(kb) as base, busy("Removing"):
        removed = base.remove(source)
    if json:
        print_json({"removed": removed})
    else:
        print(f"{removed} removed")
