"""All settings, frozen, with their units. This is the only reader of environment variables and of the config file.

Order: arguments, then environment, then the config file, then the defaults written here. (How to reach a bucket is said
in the variables of its provider's own programs, which rag/location.py reads.)
"""

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from rag.errors import SettingsError
from rag.location import Location, location_of

APP = "lmstudio-rag"
SECRETS = ("api_token", "service_token")


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set, and nothing that can be found out."""

    host: str = "localhost:1234"  # `host`, `host:port` or a URL
    api_token: str | None = None  # never printed, never in an error
    kb: Location = Path(".rag")  # or where it lies in a bucket
    embedding_model: str | None = None  # a key of the server's list; None: choose by type
    chat_model: str | None = None
    engine: bool = True  # start the embedded engine where nothing answers on this machine
    engine_idle_s: int = 1800  # it leaves after so long without a request
    ttl_s: int = 3600  # idle time after which a model that we loaded is unloaded; 0: at the end, -1: never
    download: bool = False  # have the server download a model that is missing
    chat_context: int = 0  # tokens to load the chat model with; 0: as many as its answers need
    answer_tokens: int = 512  # room kept for the answer, reasoning included
    temperature: float = 0.0
    top_k: int = 6  # passages that a search returns and an answer is made from
    rerank: str = "off"  # who judges what was found once more: llm, the chat model, or cross, the model of `reranker`
    rerank_s: float = 20.0  # what reranking, and the rewriting of a question, may take before it is not waited for
    reranker: str | None = None  # a cross-encoder: the folder with its model.onnx and tokenizer.json
    agent_rounds: int = 4  # requests in which a model may search by itself
    agent_tokens: int = 12_000  # what these may read and write together
    agent_s: float = 60.0  # after so long it begins no other one
    chunk_tokens: int = 200  # longest chunk, in tokens of cl100k_base
    describe_images: bool = False  # have a model that sees describe the images in documents
    vision_model: str | None = None  # that model; None: one that the server tells of
    embed_batch: int = 32  # texts a request; 32 to 64 measured best on LM Studio
    timeout_s: float = 300.0  # one request, with the loading of a model inside it
    service_token: str | None = None  # what clients of `rag serve` must send; never printed

    def __repr__(self) -> str:
        shown = (
            f"{f.name}={'***' if f.name in SECRETS and getattr(self, f.name) else getattr(self, f.name)!r}"
            for f in fields(self)
        )
        return f"Settings({', '.join(shown)})"


# The first name that is set wins. LM Studio's documents say LM_API_TOKEN, its Python SDK reads LMSTUDIO_API_TOKEN.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "host": ("LMSTUDIO_HOST",),
    "api_token": ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN"),
    "kb": ("RAG_KB",),
    "embedding_model": ("RAG_EMBEDDING_MODEL",),
    "chat_model": ("RAG_CHAT_MODEL",),
    "engine": ("RAG_ENGINE",),
    "engine_idle_s": ("RAG_ENGINE_IDLE_S",),
    "ttl_s": ("RAG_TTL_S",),
    "download": ("RAG_DOWNLOAD",),
    "chat_context": ("RAG_CHAT_CONTEXT",),
    "answer_tokens": ("RAG_ANSWER_TOKENS",),
    "temperature": ("RAG_TEMPERATURE",),
    "top_k": ("RAG_TOP_K",),
    "rerank": ("RAG_RERANK",),
    "rerank_s": ("RAG_RERANK_S",),
    "reranker": ("RAG_RERANKER",),
    "agent_rounds": ("RAG_AGENT_ROUNDS",),
    "agent_tokens": ("RAG_AGENT_TOKENS",),
    "agent_s": ("RAG_AGENT_S",),
    "chunk_tokens": ("RAG_CHUNK_TOKENS",),
    "describe_images": ("RAG_DESCRIBE_IMAGES",),
    "vision_model": ("RAG_VISION_MODEL",),
    "embed_batch": ("RAG_EMBED_BATCH",),
    "timeout_s": ("RAG_TIMEOUT_S",),
    "service_token": ("RAG_SERVICE_TOKEN",),
}

_SMALLEST = {
    "engine_idle_s": 0,
    "ttl_s": -1,
    "chat_context": 0,
    "answer_tokens": 16,
    "temperature": 0,
    "top_k": 1,
    "rerank_s": 0,
    "agent_rounds": 0,
    "agent_tokens": 0,
    "agent_s": 0,
    "chunk_tokens": 32,
    "embed_batch": 1,
    "timeout_s": 1,
}


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the config file is looked for: `$RAG_CONFIG`, else `config.toml` in the user's config folder."""
    named = environ.get("RAG_CONFIG")
    return Path(named) if named else Path(platformdirs.user_config_dir(APP, appauthor=False)) / "config.toml"


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where conversations, locks and notes about loaded models lie: `$RAG_STATE_DIR`, else the user's state folder."""
    named = environ.get("RAG_STATE_DIR")
    return Path(named) if named else Path(platformdirs.user_state_dir(APP, appauthor=False))


def own_folder(kb: Location, environ: Mapping[str, str] = os.environ) -> Path:
    """Where this machine keeps what goes with a knowledge base: its folder, or for a bucket's one in the state folder.

    What lies in the latter no other machine needs: journals, locks, what models wrote and can write again.
    """
    if isinstance(kb, Path):
        return kb
    return state_dir(environ) / "remote" / hashlib.blake2b(str(kb).encode(), digest_size=12).hexdigest()


def load_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from overrides, environment, config file and defaults, in this order; an override of None is not one.

    Raises SettingsError for an unknown name, or a value that does not fit, naming where it stands.
    """
    settings = Settings()
    path = config_path(environ)
    if path.is_file():
        settings = _apply(settings, _read_file(path), str(path))
    elif environ.get("RAG_CONFIG"):
        raise SettingsError(f"There is no config file at {path}, which RAG_CONFIG names.")
    for name, variables in ENVIRONMENT.items():
        for variable in variables:
            if environ.get(variable):
                settings = _apply(settings, {name: environ[variable]}, variable)
                break
    return _apply(settings, {name: value for name, value in overrides.items() if value is not None}, "the arguments")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"The config file {path} is not valid TOML: {exc}") from exc


def _apply(settings: Settings, values: Mapping[str, Any], where: str) -> Settings:
    known = {f.name for f in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(f"Unknown setting {name!r} in {where}. Known: {', '.join(sorted(known))}.")
        settings = replace(settings, **{name: _fitting(name, value, where)})
    return settings


def _fitting(name: str, value: Any, where: str) -> Any:
    default = getattr(Settings(), name)
    wanted = type(default) if default is not None else str
    try:
        if wanted is bool and isinstance(value, str):
            fitted: Any = {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }[value.lower()]
        elif wanted is bool and not isinstance(value, bool):
            raise ValueError
        elif name == "kb":
            fitted = location_of(value)
        else:
            fitted = wanted(value)
    except (ValueError, TypeError, KeyError) as exc:
        raise SettingsError(f"{name} = {value!r} in {where} is not a {wanted.__name__}.") from exc
    if name in _SMALLEST and fitted < _SMALLEST[name]:
        raise SettingsError(f"{name} = {value!r} in {where} is too small; the least is {_SMALLEST[name]}.")
    return fitted
