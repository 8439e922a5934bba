"""Keep the models that we use loaded: reuse or load them, and load them again when they are gone."""

import hashlib
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import rag.errors as errors
from rag.lmstudio.autostart import connect, wait_for
from rag.lmstudio.choice import EXAMPLE, NAMES, SETTING, candidates, choose, named
from rag.lmstudio.http import Connection, Notify, log_notice
from rag.lmstudio.keeper import start_keeper
from rag.lmstudio.leases import FOREVER, Leases
from rag.lmstudio.memory import affordable_context, free_memory, load_affordable
from rag.lmstudio.models import (
    Instance,
    Model,
    ModelType,
    ServerKind,
    download,
    list_models,
    server_kind,
    unload,
)
from rag.settings import Settings, state_dir

if TYPE_CHECKING:
    from filelock import FileLock

T = TypeVar("T")

# What to load where nothing large enough is loaded: the server's own default for a chat, as much as most embedders have
# been trained for. An instance that is loaded already needs only to hold what will be sent.
_ROOMY: dict[ModelType, int] = {"llm": 4096, "embedding": 2048}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready: address it by `instance_id`, never by its key, of which there may be several copies.

    `context_length` is in the model's tokens and what the server will accept, not what the model could do; None where
    the server does not say.
    """

    key: str
    instance_id: str
    type: ModelType
    context_length: int | None
    max_context_length: int | None
    quantization: str | None
    kind: ServerKind
    leased: bool = False  # by one of our processes: it is ours to unload


def ensure(
    connection: Connection,
    type_: ModelType,
    wanted: str | None,
    context_length: int,
    notify: Notify = log_notice,
    *,
    ttl_s: int = FOREVER,
    exactly: bool = False,
    in_hand: Collection[str] = (),
) -> LoadedModel:
    """A loaded model of this type whose context holds at least `context_length` tokens, or as many as it can.

    What has to be loaded gets some room beyond that, unless `exactly` so many tokens are wanted.
    Reuses an instance that is large enough, whoever loaded it; else loads one explicitly, under a lock, so that
    processes which start together load one copy, and leases it: after `ttl_s` idle seconds it is unloaded. A smaller
    copy of ours that is idle makes way for it. Where memory is short, idle models of ours are unloaded, except those
    `in_hand`, and a smaller context is tried. Servers that manage nothing are trusted to load by themselves.
    """
    kind = server_kind(connection)
    leases = Leases(connection.base)
    leased = leases.all()  # read first: what is not listed any more after it may have just expired
    models = _listed(connection, kind, type_, wanted, notify)
    _reconcile(leases, models)
    model = choose(models, type_, wanted)
    if not wanted:
        _say_choice(model, candidates(models, type_), notify)
    if kind is not ServerKind.LMSTUDIO:
        context = model.instances[0].context_length if model.instances else None
        return _loaded(model, Instance(model.key, context), kind)
    needed = min(context_length, model.max_context_length or context_length)
    if found := _large_enough(model, needed):
        return _loaded(model, found, kind, leased=found.id in leased)
    with _load_lock(connection, model.key):
        leased = leases.all()
        model = choose(list_models(connection, kind), type_, model.key)  # another process may have been first
        if found := _large_enough(model, needed):
            return _loaded(model, found, kind, leased=found.id in leased)
        model = _without_idle_copies(connection, model, leases, notify)
        context = needed if exactly else _context_to_load(model, needed)
        notify(f"Loading {model.key} with a context of {context} tokens.")
        mine = load_affordable(
            connection, model, context, notify, in_hand=in_hand, enough=lambda less: _large_enough(model, less)
        )
        instance = _only_one(connection, model, mine, min(needed, mine.context_length or needed))
        if instance != mine or mine in model.instances:
            return _loaded(model, instance, kind, leased=instance.id in leases.all())
        leases.loaded(instance.id, model.key, ttl_s)
        if ttl_s != FOREVER:
            start_keeper(leases)
        return _loaded(model, instance, kind, leased=True)


def _listed(
    connection: Connection, kind: ServerKind, type_: ModelType, wanted: str | None, notify: Notify
) -> list[Model]:
    """The server's models, with the one that is missing downloaded first where the settings allow it."""
    models = list_models(connection, kind)
    missing = named(models, wanted) is None if wanted else not candidates(models, type_)
    if not missing or not connection.settings.download or kind is not ServerKind.LMSTUDIO:
        return models
    key = wanted or EXAMPLE[type_]
    notify(f"The server has no {wanted or NAMES[type_]}; downloading {key}.")
    tenth = 0
    for progress in download(connection, key):
        if progress.total_bytes and (now := 10 * progress.downloaded_bytes // progress.total_bytes) > tenth:
            tenth = now
            notify(f"{key}: {10 * tenth} % of {progress.total_bytes / 1e6:.0f} MB")
    return list_models(connection, kind)


def _say_choice(model: Model, among: Collection[Model], notify: Notify) -> None:
    if len(among) > 1:
        why = "which is loaded" if model.instances else "the first on the server's list"
        notify(
            f"Using {model.key} as {NAMES[model.type]}, {why} ({len(among)} are there; {SETTING[model.type]} sets one)."
        )


def _context_to_load(model: Model, needed: int) -> int:
    """Some room beyond what is needed now, so that the next, longer question finds it large enough."""
    context = max(needed, _ROOMY[model.type])
    if context > _ROOMY[model.type]:
        context = -(-context // 2048) * 2048
    if model.type == "llm":
        context = min(context, affordable_context(model, free_memory()))
    return min(context, model.max_context_length or context)


def _without_idle_copies(connection: Connection, model: Model, leases: Leases, notify: Notify) -> Model:
    """The model without copies that we loaded, that are too small now and that nobody uses."""
    kept: list[Instance] = []
    for instance in model.instances:
        if leases.end_idle(instance.id, partial(unload, connection, instance.id)):
            notify(f"Unloaded {instance.id}, whose context of {instance.context_length} tokens is too small now.")
        else:
            kept.append(instance)
    return replace(model, instances=tuple(kept))


def _reconcile(leases: Leases, models: Sequence[Model]) -> None:
    """Drop leases on what is gone, and see that somebody watches the rest: the last keeper may have been killed."""
    there = {instance.id for model in models for instance in model.instances}
    if gone := [id_ for id_ in leases.all() if id_ not in there]:
        leases.forget(*gone)
    if leases.ending():
        start_keeper(leases)


def _only_one(connection: Connection, model: Model, mine: Instance, needed: int) -> Instance:
    """The instance to use after a load: where a program that knows no lock of ours was faster, its one, not a copy."""
    if mine.id == model.key:
        return mine
    now = next((row for row in list_models(connection, ServerKind.LMSTUDIO) if row.key == model.key), model)
    others = [one for one in now.instances if one.id != mine.id and one not in model.instances]
    twin = next((one for one in others if (one.context_length or 0) >= needed), None)
    if twin is None:
        return mine
    unload(connection, mine.id)
    return twin


def _large_enough(model: Model, needed: int) -> Instance | None:
    return next((instance for instance in model.instances if (instance.context_length or 0) >= needed), None)


def _loaded(model: Model, instance: Instance, kind: ServerKind, *, leased: bool = False) -> LoadedModel:
    return LoadedModel(
        key=model.key,
        instance_id=instance.id,
        type=model.type,
        context_length=instance.context_length,
        max_context_length=model.max_context_length,
        quantization=model.quantization,
        kind=kind,
        leased=leased,
    )


def _load_lock(connection: Connection, key: str) -> "FileLock":
    from filelock import FileLock as Lock

    folder = state_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.blake2b(f"{connection.base} {key}".encode(), digest_size=12).hexdigest()
    return Lock(folder / f"load-{name}.lock", timeout=connection.settings.timeout_s)


_residents: "weakref.WeakSet[Resident]" = weakref.WeakSet()  # of this process: what they hold is not idle


class Resident:
    """One model of one server, loaded at the first use and again when it has gone. Safe to use from several threads.

    Holds the connection, so that a server which was restarted under us is found, or started, again.
    """

    def __init__(
        self,
        settings: Settings,
        type_: ModelType,
        wanted: str | None,
        context_length: int,
        notify: Notify = log_notice,
        *,
        exactly: bool = False,
    ) -> None:
        self.settings = settings
        self._type, self._wanted, self._context, self._notify = type_, wanted, context_length, notify
        self._exactly = exactly
        self._connection: Connection | None = None
        self._in_doubt = False  # whether the server may be gone
        self._model: LoadedModel | None = None
        self._changing = threading.RLock()
        _residents.add(self)

    @property
    def connection(self) -> Connection:
        """The connection, made at the first use. Raises ServerUnreachable."""
        with self._changing:
            if self._connection is None:
                self._connection = connect(self.settings, self._notify)
            elif self._in_doubt:
                wait_for(self._connection, self._notify)
            self._in_doubt = False
            return self._connection

    @property
    def model(self) -> LoadedModel:
        """The loaded model. Raises ServerError."""
        with self._changing:
            if self._model is None:
                self._model = ensure(
                    self.connection,
                    self._type,
                    self._wanted,
                    self._context,
                    self._notify,
                    ttl_s=self.settings.ttl_s,
                    exactly=self._exactly,
                    in_hand=[other._model.instance_id for other in list(_residents) if other._model is not None],
                )
                self._wanted = self._model.key  # a reload must not choose another one
            return self._model

    def reserve(self, tokens: int) -> LoadedModel:
        """The loaded model, loaded anew with a larger context where `tokens` need one and the machine allows it."""
        with self._changing:
            if tokens > self._context:  # what was asked for before was granted, or cannot be had
                self._context = tokens
                if self._model is not None and tokens > (self._model.context_length or tokens):
                    self._model = None
            return self.model

    def close(self) -> None:
        """Close the connection; the model stays loaded for its TTL, and is unloaded now where that is 0."""
        if self._model is not None and self._connection is not None:
            leases = Leases(self._connection.base)
            if leases.released(self._model.instance_id):
                with suppress(errors.ServerError):  # the server may be gone, and the model with it
                    unload(self._connection, self._model.instance_id)
                leases.forget(self._model.instance_id)
                self._model = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def busy(self) -> Iterator[LoadedModel]:
        """Use the model for a while, in which its lease does not end."""
        leases = Leases(self.connection.base)
        for last in (False, False, True):
            model = self.model
            with leases.using(model.instance_id) as held:
                if held or last or not model.leased:
                    yield model
                    return
            # Its time was over. A request to it would not fail: the server would load it just in time, with a context
            # of its own choice, to be evicted by the next model that is loaded so.
            self._forget(model)

    @property
    def request_fields(self) -> dict[str, int]:
        """What a request's body needs besides: LM Studio before 0.4 loads just in time and takes the TTL there."""
        legacy = self.model.kind is ServerKind.LEGACY and self.settings.ttl_s > 0
        return {"ttl": self.settings.ttl_s} if legacy else {}

    def using(self, call: Callable[[LoadedModel], T]) -> T:
        """The result of `call`, made again once with the model loaded anew if it, or its server, had gone."""
        model = self.model  # where choosing or loading fails, it would again
        try:
            return call(model)
        except LOST as exc:
            self.lost(model, exc)
            return call(self.model)

    def lost(self, model: LoadedModel, why: errors.ServerError) -> None:
        """Tell that the model has gone, and load it anew at its next use."""
        if self._forget(model):  # of several threads that see it, one tells
            self._notify(f"{model.key} is gone ({why}); loading it again.")

    def _forget(self, model: LoadedModel) -> bool:
        with self._changing:
            if self._model is not model:
                return False
            self._model = None
            self._in_doubt = True
            return True


LOST = (errors.ModelGone, errors.WrongModel, errors.ModelNotFound, errors.ServerUnreachable)


def check_answering(model: LoadedModel, answered: str | None) -> None:
    """Raise WrongModel where LM Studio let another model answer; other servers echo names of their own making."""
    if model.kind is ServerKind.LMSTUDIO and answered != model.instance_id:
        raise errors.WrongModel(f"{answered!r} answered instead of {model.instance_id!r}.")
