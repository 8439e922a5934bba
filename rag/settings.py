"""All settings, frozen, with their units. This is the only reader of environment variables and of the config file.

Order: arguments, then environment, then the config file, then the defaults written here. (How to reach a bucket is said
in the variables of its provider's own programs, which rag/location.py reads.)
"""

import hashlib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from rag.errors import SettingsError
from rag.location import Location, location_of

APP = "lmstudio-rag"
SECRETS = ("api_token", "service_token")
_HIDDEN = "***"
_HERE = Path(".rag")
_PLACES = ("RAG_CONFIG", "RAG_STATE_DIR", "RAG_ENGINE_MODELS")  # which say where to look, and are no settings


def _set(default: object, about: str, unit: str = "", *, least: float | None = None, by: tuple[str, ...] = ()) -> Any:
    """A setting: its default, what it means, the unit and the least of its value; `by` are variables of other names."""
    return field(default=default, metadata={"about": about, "unit": unit, "least": least, "by": by})


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set, and nothing that can be found out."""

    host: str = _set("localhost:1234", "the model server: host, host:port or a URL", by=("LMSTUDIO_HOST",))
    # LM Studio's documents say LM_API_TOKEN, its Python SDK reads LMSTUDIO_API_TOKEN.
    api_token: str | None = _set(None, "LM Studio's API token", by=("LM_API_TOKEN", "LMSTUDIO_API_TOKEN"))
    kb: Location = _set(_HERE, "the knowledge base: a folder, or a URL of a bucket")  # noqa: RUF009  a path never changes
    embedding_model: str | None = _set(None, "for a new knowledge base; unset: what is loaded, else what is there")
    chat_model: str | None = _set(None, "what writes answers; unset: what is loaded, else what is there")
    chat_context: int = _set(0, "to load the chat model with; 0: as many as answers need", "tokens", least=0)
    download: bool = _set(False, "have the server download a model that is missing")
    ttl_s: int = _set(3600, "until an idle model of ours is unloaded; 0: at the end, -1: never", "s", least=-1)
    answer_tokens: int = _set(512, "room for the answer, thinking included", "tokens", least=16)
    temperature: float = _set(0.0, "of the chat model", least=0)
    top_k: int = _set(6, "what a search returns and an answer is made from", "passages", least=1)
    rerank: str = _set("off", "who judges the best passages once more: llm, cross or off")
    rerank_s: float = _set(20.0, "for judging, or for rewriting a question", "s", least=0)
    reranker: str | None = _set(None, "a cross-encoder: a folder with model.onnx and tokenizer.json")
    agent_rounds: int = _set(4, "in which a model may search by itself (--agent)", "requests", least=0)
    agent_tokens: int = _set(12_000, "that these may read and write together", "tokens", least=0)
    agent_s: float = _set(60.0, "after which it begins no other one", "s", least=0)
    chunk_tokens: int = _set(200, "the longest chunk of a new knowledge base, by cl100k_base", "tokens", least=32)
    describe_images: bool = _set(False, "have a model that sees describe the images in documents")
    vision_model: str | None = _set(None, "that model; unset: one that the server tells of")
    embed_batch: int = _set(32, "in a request; 32 to 64 measured best on LM Studio", "texts", least=1)
    timeout_s: float = _set(300.0, "for one request, with the loading of a model inside it", "s", least=1)
    service_token: str | None = _set(None, "what clients of `rag serve` and `rag mcp --http` must send")
    engine: bool = _set(True, "start the embedded engine where nothing answers on this machine")
    engine_idle_s: int = _set(1800, "without a request, after which the engine leaves", "s", least=0)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{f.name}={shown(self, f.name)!r}' for f in fields(self))})"


def shown(settings: Settings, name: str) -> Any:
    """A setting's value as it may be seen: a secret that is set is three stars."""
    value = getattr(settings, name)
    return _HIDDEN if value and name in SECRETS else value


# The first name that is set wins.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    f.name: f.metadata["by"] or (f"RAG_{f.name.upper()}",) for f in fields(Settings)
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


def for_programs(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Our variables that are set here, for a program that starts elsewhere; without secrets and the knowledge base."""
    paths = ("RAG_CONFIG", "RAG_STATE_DIR", *ENVIRONMENT["reranker"])
    values = [name for field, of in ENVIRONMENT.items() if field not in (*SECRETS, "kb", "reranker") for name in of]
    found = {name: environ[name] for name in values if environ.get(name)}
    return found | {name: str(Path(environ[name]).absolute()) for name in paths if environ.get(name)}


def load_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from overrides, environment, config file and defaults, in this order; an override of None is not one.

    Raises SettingsError for an unknown name, or a value that does not fit, naming where it stands.
    """
    return traced_settings(environ, **overrides)[0]


def traced_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> tuple[Settings, dict[str, str]]:
    """The same, and where each value comes from by the setting's name; what is not named is a default."""
    settings, origins = Settings(), dict[str, str]()
    for where, values in _given(environ, overrides):
        settings = _apply(settings, values, where)
        origins |= dict.fromkeys(values, where)
    return settings, origins


def _given(environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is set, and where, the weaker before the stronger."""
    path = config_path(environ)
    if path.is_file():
        yield str(path), _read_file(path)
    elif environ.get("RAG_CONFIG"):
        raise SettingsError(f"There is no config file at {path}, which RAG_CONFIG names.")
    known = {*_PLACES, *(variable for variables in ENVIRONMENT.values() for variable in variables)}
    for variable in environ:
        if variable.startswith("RAG_") and environ[variable] and variable not in known:
            raise SettingsError(f"Unknown setting {variable} in the environment. {_nearest(variable, known)}")
    for name, variables in ENVIRONMENT.items():
        if variable := next(filter(environ.get, variables), ""):
            yield variable, {name: environ[variable]}
    yield "the arguments", {name: value for name, value in overrides.items() if value is not None}


def _nearest(name: str, known: Collection[str]) -> str:
    import difflib

    found = difflib.get_close_matches(name, known, 1)
    return f"Is {found[0]} meant?" if found else f"Known: {', '.join(sorted(known))}."


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"The config file {path} is not valid TOML: {exc}") from exc


def _apply(settings: Settings, values: Mapping[str, Any], where: str) -> Settings:
    for name, value in values.items():
        if name not in ENVIRONMENT:
            raise SettingsError(f"Unknown setting {name!r} in {where}. {_nearest(name, ENVIRONMENT)}")
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
        told = _HIDDEN if name in SECRETS else repr(value)
        raise SettingsError(f"{name} = {told} in {where} is not a {wanted.__name__}.") from exc
    least = next(f.metadata["least"] for f in fields(Settings) if f.name == name)
    if least is not None and fitted < least:
        raise SettingsError(f"{name} = {value!r} in {where} is too small; the least is {least}.")
    return fitted
