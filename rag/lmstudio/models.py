"""The models of a server: list, load, unload, download, on whichever of three kinds of server."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import rag.errors as errors
from rag.lmstudio.families import looks_like_embedder
from rag.lmstudio.http import Connection

ModelType = Literal["llm", "embedding"]


class ServerKind(StrEnum):
    """What a server lets us do, found out by the bodies it answers, since there is no version endpoint."""

    LMSTUDIO = "lmstudio"  # 0.4 or newer, and our engine: list, load, unload
    LEGACY = "lmstudio-0.3"  # /api/v0: list with states; loads just in time
    PLAIN = "openai-compatible"  # a list of names and nothing to manage


@dataclass(frozen=True, slots=True)
class Instance:
    """A loaded copy of a model: `id` is what requests address, `context_length` is in its tokens, None if unknown."""

    id: str
    context_length: int | None


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the server has on disk, and its loaded instances."""

    key: str
    type: ModelType
    display_name: str
    size_bytes: int | None
    max_context_length: int | None
    quantization: str | None
    instances: tuple[Instance, ...] = ()
    vision: bool = False  # whether it is known to see images


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """A download at one moment; `status` is downloading, paused, completed, failed or already_downloaded."""

    status: str
    downloaded_bytes: int
    total_bytes: int | None


def server_kind(connection: Connection) -> ServerKind:
    """Which kind of server this is. Raises ServerUnreachable or Unauthorized."""
    if _has(connection, "/api/v1/models", "models"):
        return ServerKind.LMSTUDIO
    if _has(connection, "/api/v0/models", "data"):
        return ServerKind.LEGACY
    if _has(connection, "/v1/models", "data"):
        return ServerKind.PLAIN
    raise errors.NotSupported(
        f"{connection.base} is neither LM Studio nor an OpenAI-compatible server: it lists no models."
    )


def _has(connection: Connection, path: str, key: str) -> bool:
    try:
        body = connection.request("GET", path, timeout_s=30)
    except (errors.ServerUnreachable, errors.Unauthorized):
        raise
    except errors.ServerError:
        return False
    return isinstance(body, dict) and isinstance(body.get(key), list)


def list_models(connection: Connection, kind: ServerKind) -> list[Model]:
    """Every model that the server has, in its own order."""
    if kind is ServerKind.LMSTUDIO:
        return [_native(row) for row in _rows(connection.request("GET", "/api/v1/models"), "models")]
    if kind is ServerKind.LEGACY:
        return [_legacy(row) for row in _rows(connection.request("GET", "/api/v0/models"), "data")]
    return [_plain(row) for row in _rows(connection.request("GET", "/v1/models"), "data")]


def load(connection: Connection, key: str, context_length: int) -> Instance:
    """Load a model with a context of so many tokens and wait until it is there.

    Not idempotent: a second call makes a second copy, so list first. The endpoint refuses a TTL, and what it loads
    neither expires nor is evicted by just-in-time loads. Raises ModelLoadFailed or ModelNotFound.
    """
    body = connection.request(
        "POST", "/api/v1/models/load", {"model": key, "context_length": context_length, "echo_load_config": True}
    )
    if not isinstance(body, dict) or body.get("status") != "loaded" or not body.get("instance_id"):
        raise errors.ModelLoadFailed(f"{connection.base} did not load {key}: {str(body)[:300]}")
    config = body.get("load_config") or {}
    return Instance(str(body["instance_id"]), int(config.get("context_length") or context_length))


def unload(connection: Connection, instance_id: str) -> bool:
    """Unload one instance; False where there was none of that id."""
    try:
        connection.request("POST", "/api/v1/models/unload", {"instance_id": instance_id})
    except (errors.ModelNotFound, errors.ModelGone):
        return False
    return True


def download(connection: Connection, key: str, *, poll_s: float = 0.5) -> Iterator[DownloadProgress]:
    """Have the server download a model, yielding its progress until it is there.

    Raises DownloadFailed where the server gives up, ModelNotFound where it knows no such model.
    """
    body = connection.request("POST", "/api/v1/models/download", {"model": key})
    while True:
        status = str(body.get("status"))
        total = body.get("total_size_bytes")
        yield DownloadProgress(status, int(body.get("downloaded_bytes") or 0), int(total) if total else None)
        if status in ("completed", "already_downloaded"):
            return
        if status == "failed":
            raise errors.DownloadFailed(
                f"{connection.base} could not download {key}: {body.get('error') or 'no reason given'}"
            )
        time.sleep(poll_s)
        body = connection.request("GET", f"/api/v1/models/download/status/{body['job_id']}")


def _rows(body: Any, key: str) -> list[dict[str, Any]]:
    rows = body.get(key) if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise errors.BadReply(f"The server's list of models has no {key!r}: {str(body)[:200]}")
    return rows


def _native(row: dict[str, Any]) -> Model:
    instances = tuple(
        Instance(str(found["id"]), (found.get("config") or {}).get("context_length"))
        for found in row.get("loaded_instances") or ()
    )
    return Model(
        key=str(row["key"]),
        type="embedding" if str(row.get("type")).startswith("embedding") else "llm",
        display_name=str(row.get("display_name") or row["key"]),
        size_bytes=row.get("size_bytes"),
        max_context_length=row.get("max_context_length"),
        quantization=(row.get("quantization") or {}).get("name"),
        instances=instances,
        vision=isinstance(able := row.get("capabilities"), dict) and bool(able.get("vision")),
    )


def _legacy(row: dict[str, Any]) -> Model:
    key, loaded = str(row["id"]), row.get("state") == "loaded"
    return Model(
        key=key,
        type="embedding" if str(row.get("type")).startswith("embedding") else "llm",
        display_name=key,
        size_bytes=None,
        max_context_length=row.get("max_context_length"),
        quantization=row.get("quantization"),
        instances=(Instance(key, row.get("loaded_context_length")),) if loaded else (),
        vision=row.get("type") == "vlm",
    )


def _plain(row: dict[str, Any]) -> Model:
    """A server without types: everything it lists counts as loaded, and names tell embedders from the rest."""
    key = str(row["id"])
    return Model(
        key=key,
        type="embedding" if looks_like_embedder(key) else "llm",
        display_name=key,
        size_bytes=None,
        max_context_length=row.get("max_model_len") or (row.get("meta") or {}).get("n_ctx"),
        quantization=None,
        instances=(Instance(key, row.get("max_model_len") or (row.get("meta") or {}).get("n_ctx")),),
    )
