"""Checks of the knowledge base: whether it opens, who writes, what it was made with, and what it has not seen yet."""

import shlex
from collections.abc import Collection, Iterator

import rag.errors as errors
from rag.checks.check import Check, fail, ok, warn
from rag.checks.locks import is_held
from rag.contents import Status
from rag.identity import check_lead, rebuild_command
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.models import Model
from rag.location import Location, Remote
from rag.store.lease import writing
from rag.store.schema import CANARY_QUESTION, CANARY_TEXTS
from rag.store.upkeep import LARGE, Coverage


def knowledge_checks(base: KnowledgeBase, models: Collection[Model]) -> Iterator[Check]:
    """`models` are those of the server; what is asked of them loads none."""
    kb = shlex.quote(str(base.path))
    if not base.exists:
        yield warn("knowledge base", f"none at {base.path}", f"`ingest PATH --kb {kb}`")
        return
    try:
        status = base.status()
    except errors.KnowledgeBaseError as exc:
        yield fail("knowledge base", str(exc), f"Move it away, then `ingest PATH --kb {kb}`.")
        return
    yield ok("knowledge base", f"{status.documents} documents, {status.chunks} chunks at {status.path}")
    yield _writer(base.path)
    yield _documents(status, kb)
    yield _index(status, kb)
    yield _roots(status)
    yield _fresh(base, kb)
    yield _identity(base, models)


def _writer(path: Location) -> Check:
    """Who writes holds a lock of the operating system's, which ends with its process: a dead one holds none here."""
    if isinstance(path, Remote):
        told = writing(path)
        return warn("writer", told, "Wait for it.") if told else ok("writer", "nobody is writing to it")
    file = path / "write.lock"
    try:
        held = is_held(file)
    except OSError as exc:
        return fail("writer", f"{file} cannot be opened: {exc}", "Give yourself the right to write there.")
    if not held:
        return ok("writer", "nobody is writing to it")
    return warn(
        "writer",
        "another process is writing to it",
        f"Wait for it. If it died on another machine that shares this folder: `rm {shlex.quote(str(file))}`",
    )


def _documents(status: Status, kb: str) -> Check:
    if status.failed:
        return warn("documents", f"{status.failed} could not be read", f"`rag ls --failed --kb {kb}` says why.")
    return ok("documents", "all could be read")


def _index(status: Status, kb: str) -> Check:
    cover = status.coverage
    behind = [f"{name}: {_told(one)}" for name, one in (("words", cover.words), ("vectors", cover.vectors))]
    if cover.words.unindexed > LARGE or cover.vectors.unindexed > LARGE:
        return warn("indexes", "; ".join(behind), f"Searches are slow. The next `ingest PATH --kb {kb}` extends them.")
    return ok("indexes", "; ".join(behind))


def _told(cover: Coverage) -> str:
    return f"{cover.indexed} chunks" + (f", {cover.unindexed} one by one" if cover.unindexed else "")


def _roots(status: Status) -> Check:
    gone = [f"{name} ({path})" for name, path in status.roots.items() if not path.exists()]
    if gone:
        return warn(
            "roots", f"not on this machine: {', '.join(gone)}", "Attach the disk, or ingest them from where they are."
        )
    return ok("roots", ", ".join(str(path) for path in status.roots.values()) or "none")


def _fresh(base: KnowledgeBase, kb: str) -> Check:
    """How many files have another size or time than when they were read; what is not on this machine says nothing."""
    changed = 0
    for row in base.store.rows():
        path = base.file_of(row.source)
        if row.part_of or path is None or not path.parent.is_dir():
            continue
        try:
            stat = path.stat()
        except OSError:
            changed += 1
        else:
            changed += (stat.st_size, stat.st_mtime_ns) != (row.size, row.mtime_ns)
    if changed:
        roots = " ".join(shlex.quote(str(path)) for path in base.store.roots().values())
        return warn("freshness", f"{changed} files changed or vanished since", f"`ingest {roots} --kb {kb}`")
    return ok("freshness", "no file has changed since it was read")


def _identity(base: KnowledgeBase, models: Collection[Model]) -> Check:
    """Whether the model that is set is the one that made the index; where it is loaded, its vectors as well."""
    name = "index model"
    try:
        origin = base.store.made_with()
        made_with, wanted = origin[0].embedding_model, base.settings.embedding_model
        if wanted and wanted.lower() != made_with.lower():
            return fail(
                name,
                f"made with {made_with}, RAG_EMBEDDING_MODEL says {wanted}",
                f"Unset RAG_EMBEDDING_MODEL, or `{rebuild_command(base.path, wanted)}`",
            )
        if not any(model.key == made_with and model.instances for model in models):
            return ok(name, f"made with {made_with}; the first question compares its vectors")
        check_lead(base.path, origin, base.embedder, base.embedder.embed_together(CANARY_TEXTS, (CANARY_QUESTION,)))
    except errors.IdentityMismatch as exc:
        return fail(name, str(exc), f"`{rebuild_command(base.path)}`")
    except errors.RagError as exc:
        return fail(name, str(exc), "`rag models ls` lists what the server has.")
    return ok(name, f"made with {made_with}, whose vectors are the same today")
