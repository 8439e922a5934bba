"""Which of a server's models to use: the one that was named, else one that is loaded, else one that is on disk."""

from collections.abc import Sequence

import rag.errors as errors
from rag.lmstudio.families import looks_like_embedder
from rag.lmstudio.models import Model, ModelType

NAMES: dict[ModelType, str] = {"embedding": "embedding model", "llm": "chat model"}
EXAMPLE: dict[ModelType, str] = {"embedding": "text-embedding-all-minilm-l6-v2", "llm": "qwen2.5-coder-0.5b-instruct"}
SETTING: dict[ModelType, str] = {"embedding": "RAG_EMBEDDING_MODEL", "llm": "RAG_CHAT_MODEL"}


def choose(models: Sequence[Model], type_: ModelType, wanted: str | None) -> Model:
    """The wanted model, else one that is loaded, else one that is on disk, of the right type.

    A model is wanted by its key in any case, by the id of an instance, or as `key@variant`, a form that the app shows
    and its server refuses. Raises ModelNotFound with the names to choose from, or with the command that gets one.
    """
    of_type = candidates(models, type_)
    if wanted:
        model = named(models, wanted)
        if model is None:
            raise errors.ModelNotFound(f"The server has no model {wanted!r}. {_offered(of_type, type_)}")
        if model.type != type_:
            hint = _mistyped(model, type_)
            raise errors.ModelNotFound(f"{wanted} is not {_a(type_)}. {hint}{_offered(of_type, type_)}")
        return model
    if not of_type:
        raise errors.ModelNotFound(f"The server has no {NAMES[type_]}. {_offered(of_type, type_)}")
    return next((model for model in of_type if model.instances), of_type[0])


def candidates(models: Sequence[Model], type_: ModelType) -> list[Model]:
    """The models that may be chosen unnamed; an embedder that the server takes for a chat model is none of them."""
    of_type = [model for model in models if model.type == type_]
    return of_type if type_ == "embedding" else [model for model in of_type if not looks_like_embedder(model.key)]


def named(models: Sequence[Model], wanted: str) -> Model | None:
    """The model of that name, whatever its type; None where there is none."""
    name = wanted.lower()
    for model in models:
        if model.key.lower() == name or any(instance.id == wanted for instance in model.instances):
            return model
    bare = name.partition("@")[0]
    return next((model for model in models if model.key.lower() == bare), None)


def _mistyped(model: Model, wanted: ModelType) -> str:
    if wanted == "embedding" and looks_like_embedder(model.key):
        return (
            "If it is one, LM Studio has misread its type: My Models, the model's gear, Override Domain Type, "
            "Text Embedding. "
        )
    return ""


def _a(type_: ModelType) -> str:
    return f"{'an' if type_ == 'embedding' else 'a'} {NAMES[type_]}"


def _offered(models: Sequence[Model], type_: ModelType) -> str:
    if not models:
        return f"Get {_a(type_)} with: rag models get {EXAMPLE[type_]}, or add --download to the command."
    names = ", ".join(model.key for model in models)
    return f"{NAMES[type_].capitalize()}s there: {names} ({SETTING[type_]} sets one)."
