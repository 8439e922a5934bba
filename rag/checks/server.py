"""Checks of the model server: which it is, whether it lets us in, its models, and what we have loaded there."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import rag.errors as errors
from rag.checks.check import Check, fail, ok, warn
from rag.checks.locks import is_held
from rag.display import human_bytes
from rag.lmstudio.autostart import answers
from rag.lmstudio.choice import EXAMPLE, NAMES, choose
from rag.lmstudio.http import Connection
from rag.lmstudio.leases import Leases, keeper_lock
from rag.lmstudio.memory import free_memory
from rag.lmstudio.models import Model, ModelType, ServerKind, list_models, server_kind

_START = "Start LM Studio's server (Developer tab, or `lms server start`), or: `rag engine start`"
_KINDS = {
    ServerKind.LMSTUDIO: "LM Studio 0.4 or newer, or our engine (there is no telling a version)",
    ServerKind.LEGACY: "LM Studio before 0.4",
    ServerKind.PLAIN: "an OpenAI-compatible server",
}
_JIT = {
    ServerKind.LMSTUDIO: ok("model loading", "ours: just-in-time loading and auto-evict cannot exchange our models"),
    ServerKind.LEGACY: warn(
        "model loading",
        "just in time: with auto-evict the embedder and the chat model push each other out at every question",
        "Update LM Studio, or switch off Only Keep Last JIT Loaded Model (Developer, Server Settings).",
    ),
    ServerKind.PLAIN: ok("model loading", "the server's own; it has what it lists"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server showed of itself: the check of it, its kind, and its models; None where it did not let us in."""

    check: Check
    kind: ServerKind = ServerKind.PLAIN
    models: tuple[Model, ...] | None = None


def look(connection: Connection) -> Seen:
    """Whether a server answers, and which it is. Starts none."""
    if not answers(connection):
        starts = connection.settings.engine and connection.is_local and importlib.util.find_spec("xllamacpp")
        return Seen((warn if starts else fail)("server", f"nothing answers at {connection.base}", _START))
    try:
        kind = server_kind(connection)
        models = tuple(list_models(connection, kind))
    except errors.Unauthorized as exc:
        return Seen(fail("token", str(exc), "Set LM_API_TOKEN (LM Studio: Developer, Server Settings, Manage Tokens)."))
    except errors.ServerError as exc:
        return Seen(fail("server", str(exc), "Is LMSTUDIO_HOST right? `rag config show` says where it comes from."))
    return Seen(ok("server", f"{_KINDS[kind]}, at {connection.base}"), kind, models)


def model_checks(connection: Connection, kind: ServerKind, models: Sequence[Model]) -> Iterator[Check]:
    """What a server that let us in says of its models."""
    sent = "sent and accepted" if connection.settings.api_token else "none is set, and none is asked for"
    yield ok("token", sent)
    yield _JIT[kind]
    yield _model(models, "embedding", connection.settings.embedding_model)
    yield _model(models, "llm", connection.settings.chat_model)
    yield _side_by_side(connection, models)
    yield _leases(connection, models)


def _model(models: Sequence[Model], type_: ModelType, wanted: str | None) -> Check:
    try:
        chosen = choose(models, type_, wanted)
    except errors.ModelNotFound as exc:
        return fail(NAMES[type_], str(exc), f"`rag models get {EXAMPLE[type_]}`, or name one of `rag models ls`.")
    loaded = [f"{instance.id} with {instance.context_length or '?'} tokens" for instance in chosen.instances]
    return ok(NAMES[type_], f"{chosen.key}, {'loaded: ' + ', '.join(loaded) if loaded else 'loads when needed'}")


def _ids(model: Model) -> list[str]:
    return [instance.id for instance in model.instances]


def _side_by_side(connection: Connection, models: Sequence[Model]) -> Check:
    """Whether both models are loaded, or the machine seems to have room for them."""
    name = "both at once"
    by_type = [[model for model in models if model.type == type_] for type_ in ("embedding", "llm")]
    missing = [of_type for of_type in by_type if not any(model.instances for model in of_type)]
    if not missing:
        return ok(name, "an embedder and a chat model are loaded side by side")
    sizes = [min((model.size_bytes or 0 for model in of_type), default=0) for of_type in missing]
    free = free_memory()
    if connection.is_local and sum(sizes) > free:
        return warn(
            name,
            f"the smallest that are not loaded need {human_bytes(sum(sizes))}, {human_bytes(free)} are free",
            "Close programs, or take smaller models: `rag models ls`; `rag models unload --all` frees what is loaded.",
        )
    return ok(name, f"not loaded yet; {human_bytes(free)} of memory are free here")


def _leases(connection: Connection, models: Sequence[Model]) -> Check:
    """Whether what we loaded is there, and watched by a keeper if it is to be unloaded."""
    leases = Leases(connection.base)
    ours = leases.all()
    there = {id_ for model in models for id_ in _ids(model)}
    lost = sorted(set(ours) - there)
    if leases.ending() and not is_held(keeper_lock(leases)):
        unwatched = "nobody watches when the models that we loaded are to be unloaded"
        return warn("leases", unwatched, "The next command that uses a model does: `rag search WORDS`.")
    if lost:
        return ok("leases", f"{len(ours)}; no longer loaded: {', '.join(lost)}", "They load again when needed.")
    return ok("leases", f"{len(ours)} models of ours are loaded" if ours else "nothing of ours is loaded")
