"""Ask your own documents on your own machine, with citations that have been checked.

from rag import KnowledgeBase
from ingest import ingest

kb = KnowledgeBase("notes.kb")
ingest("docs/", into=kb)
print(kb.ask("How long is the warranty?"))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag.conversation import Conversation as Conversation
    from rag.display_live import live as live
    from rag.errors import RagError as RagError
    from rag.evaluation.report import evaluate as evaluate
    from rag.formed_answer import FormedAnswer as FormedAnswer
    from rag.knowledge_base import KnowledgeBase as KnowledgeBase
    from rag.lmstudio.client import LMStudio as LMStudio
    from rag.search.why import why as why
    from rag.settings import Settings as Settings
    from rag.settings import load_settings as load_settings
    from rag.source_view import view as view
    from rag.types import Answer as Answer
    from rag.types import Citation as Citation
    from rag.types import CitationStatus as CitationStatus
    from rag.types import Hit as Hit

_HOMES = {
    "Answer": "rag.types",
    "Citation": "rag.types",
    "CitationStatus": "rag.types",
    "Conversation": "rag.conversation",
    "FormedAnswer": "rag.formed_answer",
    "Hit": "rag.types",
    "KnowledgeBase": "rag.knowledge_base",
    "LMStudio": "rag.lmstudio.client",
    "RagError": "rag.errors",
    "Settings": "rag.settings",
    "evaluate": "rag.evaluation.report",
    "live": "rag.display_live",
    "load_settings": "rag.settings",
    "view": "rag.source_view",
    "why": "rag.search.why",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names are fetched at first use: importing a command line's help must not import a database."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'rag' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
