"""Keep the models that we use loaded: choose, reuse or load them, and load them again when they are gone."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import rag.errors as errors
from rag.lmstudio.autostart import connect
from rag.lmstudio.http import Connection, Notify, log_notice
from rag.lmstudio.keeper import start_keeper
from rag.lmstudio.leases import FOREVER, Leases
from rag.lmstudio.models import Instance, Model, ModelType, ServerKind, list_models, load, server_kind, unload
from rag.settings import Settings, state_dir

if TYPE_CHECKING:
    from filelock import FileLock

T = TypeVar("T")

_NAMES: dict[ModelType, str] = {"embedding": "embedding model", "llm": "chat model"}
_EXAMPLE: dict[ModelType, str] = {"embedding": "text-embedding-all-minilm-l6-v2", "llm": "qwen2.5-coder-0.5b-instruct"}
_SETTING: dict[ModelType, str] = {"embedding": "RAG_EMBEDDING_MODEL", "llm": "RAG_CHAT_MODEL"}


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


def choose(models: Sequence[Model], type_: ModelType, wanted: str | None) -> Model:
    """The wanted model, else one that is loaded, else one that is on disk, of the right type.

    Raises ModelNotFound with the names to choose from, or with the command that gets one.
    """
    of_type = [model for model in models if model.type == type_]
    if wanted:
        names = {wanted.lower()}
        for model in models:
            if model.key.lower() in names or any(instance.id == wanted for instance in model.instances):
                if model.type != type_:
                    raise errors.ModelNotFound(f"{wanted} is not {_a(type_)}. {_offered(of_type, type_)}")
                return model
        raise errors.ModelNotFound(f"The server has no model {wanted!r}. {_offered(of_type, type_)}")
    if not of_type:
        raise errors.ModelNotFound(f"The server has no {_NAMES[type_]}. {_offered(of_type, type_)}")
    return next((model for model in of_type if model.instances), of_type[0])


def _a(type_: ModelType) -> str:
    return f"{'an' if type_ == 'embedding' else 'a'} {_NAMES[type_]}"


def _offered(models: Sequence[Model], type_: ModelType) -> str:
    if not models:
        return f"Get {_a(type_)} with: rag models get {_EXAMPLE[type_]}"
    return (
        f"{_NAMES[type_].capitalize()}s there: {', '.join(model.key for model in models)} ({_SETTING[type_]} sets one)."
    )


def ensure(
    connection: Connection,
    type_: ModelType,
    wanted: str | None,
    context_length: int,
    notify: Notify = log_notice,
    *,
    ttl_s: int = FOREVER,
) -> LoadedModel:
    """A loaded model of this type whose context holds at least `context_length` tokens, or as many as it can.

    Reuses an instance that is large enough, whoever loaded it; else loads one explicitly, under a lock, so that
    processes which start together load one copy, and leases it: after `ttl_s` idle seconds it is unloaded. Servers
    that manage nothing are trusted to load by themselves.
    """
    kind = server_kind(connection)
    leases = Leases(connection.base)
    leased = leases.all()  # read first: what is not listed any more after it may have just expired
    models = list_models(connection, kind)
    _reconcile(leases, models)
    model = choose(models, type_, wanted)
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
        notify(f"Loading {model.key} with a context of {needed} tokens.")
        mine = load(connection, model.key, needed)
        instance = _only_one(connection, model, mine, needed)
        if instance != mine:
            return _loaded(model, instance, kind)
        leases.loaded(instance.id, model.key, ttl_s)
        if ttl_s != FOREVER:
            start_keeper(leases)
        return _loaded(model, instance, kind, leased=True)


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


class Resident:
    """One model of one server, loaded at the first use and again when it has gone.

    Holds the connection, so that a server which was restarted under us is found, or started, again.
    """

    def __init__(
        self, settings: Settings, type_: ModelType, wanted: str | None, context_length: int, notify: Notify = log_notice
    ) -> None:
        self.settings = settings
        self._type, self._wanted, self._context, self._notify = type_, wanted, context_length, notify
        self._connection: Connection | None = None
        self._model: LoadedModel | None = None

    @property
    def connection(self) -> Connection:
        """The connection, made at the first use. Raises ServerUnreachable."""
        if self._connection is None:
            self._connection = connect(self.settings, self._notify)
        return self._connection

    @property
    def model(self) -> LoadedModel:
        """The loaded model. Raises ServerError."""
        if self._model is None:
            self._model = ensure(
                self.connection, self._type, self._wanted, self._context, self._notify, ttl_s=self.settings.ttl_s
            )
            self._wanted = self._model.key  # a reload must not choose another one
        return self._model

    def close(self) -> None:
        """Close the connection; the model stays loaded for its TTL, and is unloaded now where that is 0."""
        if self._model is not None and self._connection is not None:
            leases = Leases(self._connection.base)
            if leases.released(self._model.instance_id):
                with suppress(errors.ServerError):  # the server may be gone, and the model with it
                    unload(self._connection, self._model.instance_id)
                leases.forget(self._model.instance_id)
                self._model = None
        self._disconnect()

    def _disconnect(self) -> None:
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
            self._model = None

    @property
    def request_fields(self) -> dict[str, int]:
        """What a request's body needs besides: LM Studio before 0.4 loads just in time and takes the TTL there."""
        legacy = self.model.kind is ServerKind.LEGACY and self.settings.ttl_s > 0
        return {"ttl": self.settings.ttl_s} if legacy else {}

    def using(self, call: Callable[[LoadedModel], T]) -> T:
        """The result of `call`, made again once with the model loaded anew if it, or its server, had gone."""
        try:
            return call(self.model)
        except (errors.ModelGone, errors.WrongModel, errors.ModelNotFound, errors.ServerUnreachable) as exc:
            if self._model is None:  # it was never there: choosing or loading failed, and would again
                raise
            self._notify(f"{self._model.key} is gone ({exc}); loading it again.")
            self._model = None
            self._disconnect()
            return call(self.model)


def check_answering(model: LoadedModel, answered: str | None) -> None:
    """Raise WrongModel where LM Studio let another model answer; other servers echo names of their own making."""
    if model.kind is ServerKind.LMSTUDIO and answered != model.instance_id:
        raise errors.WrongModel(f"{answered!r} answered instead of {model.instance_id!r}.")
