"""What a knowledge base holds, as it shows itself: how much of what, and its documents."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rag.display import as_text, human_bytes, text_table
from rag.display_html import html_frame, html_table
from rag.display_markdown import markdown_table
from rag.display_rows import Rows
from rag.location import Location
from rag.store.schema import DocumentRow, Identity
from rag.store.upkeep import Coverages

_COLUMNS = ("source", "chunks", "size", "indexed", "status")


@dataclass(frozen=True, slots=True)
class Status:
    """What a knowledge base holds. `bytes` is the size of its files, `coverage` that of its two indexes."""

    path: Location
    documents: int
    failed: int
    chunks: int
    bytes: int
    identity: Identity
    coverage: Coverages
    roots: dict[str, Path]

    def table(self) -> list[tuple[str, object]]:
        """Names and values."""
        return [
            ("knowledge base", self.path),
            ("documents", self.documents),
            ("failed", self.failed),
            ("chunks", self.chunks),
            ("size", human_bytes(self.bytes)),
            ("embedding model", f"{self.identity.embedding_model}, {self.identity.dimension} dimensions"),
            *((f"root {name}", path) for name, path in sorted(self.roots.items())),
        ]

    def __str__(self) -> str:
        return text_table(("", ""), self.table()).lstrip("\n")

    _repr_pretty_ = as_text

    def _repr_markdown_(self) -> str:
        """What a notebook shows that shows no HTML."""
        return markdown_table(("", ""), self.table())

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_frame([html_table(self.table())])


def listed(rows: Iterable[DocumentRow]) -> Rows[DocumentRow]:
    """Documents as a list that shows itself."""
    return Rows(rows, _COLUMNS, _cells)


def _cells(row: DocumentRow) -> tuple[object, ...]:
    when = datetime.datetime.fromtimestamp(row.indexed_at).astimezone()
    status = f"failed: {row.error}" if row.status == "failed" else row.status
    return row.source, row.chunks, human_bytes(row.size), when.isoformat(sep=" ", timespec="minutes")[:16], status
