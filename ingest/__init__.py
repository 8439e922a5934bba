"""Fill a knowledge base with documents.

from ingest import ingest
report = ingest("docs/", into=kb)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.pipeline import ingest as ingest
    from ingest.report import IngestReport as IngestReport
    from ingest.report import Outcome as Outcome

_HOMES = {"IngestReport": "ingest.report", "Outcome": "ingest.report", "ingest": "ingest.pipeline"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names are fetched at first use: importing a command line's help must not import a database."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'ingest' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
