"""Keep the models that we use loaded: choose, reuse or load them, and load them again when they are gone."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import rag.errors as errors
from rag.lmstudio.autostart import connect
from rag.lmstudio.http import Connection, Notify, log_notice
from rag.lmstudio.models import Instance, Model, ModelType, ServerKind, list_models, load, server_kind
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
    connection: Connection, type_: ModelType, wanted: str | None, context_length: int, notify: Notify = log_notice
) -> LoadedModel:
    """A loaded model of this type whose context holds at least `context_length` tokens, or as many as it can.

    Reuses an instance that is large enough, whoever loaded it; else loads one explicitly, under a lock, so that
    processes which start together load one copy. Servers that manage nothing are trusted to load by themselves.
    """
    kind = server_kind(connection)
    model = choose(list_models(connection, kind), type_, wanted)
    if kind is not ServerKind.LMSTUDIO:
        context = model.instances[0].context_length if model.instances else None
        return _loaded(model, Instance(model.key, context), kind)
    needed = min(context_length, model.max_context_length or context_length)
    if found := _large_enough(model, needed):
        return _loaded(model, found, kind)
    with _load_lock(connection, model.key):
        model = choose(list_models(connection, kind), type_, model.key)  # another process may have been first
        if found := _large_enough(model, needed):
            return _loaded(model, found, kind)
        notify(f"Loading {model.key} with a context of {needed} tokens.")
        return _loaded(model, load(connection, model.key, needed), kind)


def _large_enough(model: Model, needed: int) -> Instance | None:
    return next((instance for instance in model.instances if (instance.context_length or 0) >= needed), None)


def _loaded(model: Model, instance: Instance, kind: ServerKind) -> LoadedModel:
    return LoadedModel(
        key=model.key,
        instance_id=instance.id,
        type=model.type,
        context_length=instance.context_length,
        max_context_length=model.max_context_length,
        quantization=model.quantization,
        kind=kind,
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
            self._model = ensure(self.connection, self._type, self._wanted, self._context, self._notify)
            self._wanted = self._model.key  # a reload must not choose another one
        return self._model

    def close(self) -> None:
        """Close the connection; the model stays loaded."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def using(self, call: Callable[[LoadedModel], T]) -> T:
        """The result of `call`, made again once with the model loaded anew if it, or its server, had gone."""
        try:
            return call(self.model)
        except (errors.ModelGone, errors.WrongModel, errors.ModelNotFound, errors.ServerUnreachable) as exc:
            if self._model is None:  # it was never there: choosing or loading failed, and would again
                raise
            self._notify(f"{self._model.key} is gone ({exc}); loading it again.")
            self._model = None
            self.close()
            return call(self.model)


def check_answering(model: LoadedModel, answered: str | None) -> None:
    """Raise WrongModel where LM Studio let another model answer; other servers echo names of their own making."""
    if model.kind is ServerKind.LMSTUDIO and answered != model.instance_id:
        raise errors.WrongModel(f"{answered!r} answered instead of {model.instance_id!r}.")
