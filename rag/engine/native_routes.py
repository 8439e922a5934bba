"""/api/v1/models: list, load, unload, download. Keys are strict here: what is not known is refused."""

import math
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from rag.engine.downloads import Downloads
from rag.engine.faults import Fault
from rag.engine.instance import Instance, LoadOptions
from rag.engine.instances import Instances
from rag.engine.library import Model
from rag.engine.replies import json_object, native_fault, native_refusal

router = APIRouter(prefix="/api/v1/models")

_LOAD_NUMBERS = ("context_length", "eval_batch_size", "num_experts")
_LOAD_SWITCHES = ("flash_attention", "offload_kv_cache_to_gpu", "echo_load_config")


@router.get("")
def models(request: Request) -> Response:
    """List the downloaded models with their loaded instances."""
    instances = _instances(request)
    return JSONResponse(
        {"models": [model_row(model, instances.loaded(model.key)) for model in instances.library.models()]}
    )


def model_row(model: Model, loaded: list[Instance]) -> dict[str, Any]:
    """Return a model as the list shows it; embedding rows have fewer fields."""
    row: dict[str, Any] = {"type": model.kind, "publisher": model.publisher, "key": model.key}
    row["display_name"] = model.display_name
    if model.kind == "llm":
        row["architecture"] = model.architecture
    row["quantization"] = {"name": model.quantization, "bits_per_weight": model.bits_per_weight}
    row["size_bytes"] = model.size_bytes
    row["params_string"] = model.params
    row["loaded_instances"] = [{"id": instance.id, "config": instance.config()} for instance in loaded]
    row["max_context_length"] = model.max_context_length
    row["format"] = "gguf"
    if model.kind == "llm":
        row["capabilities"] = {"vision": False, "trained_for_tool_use": model.tool_use}
        row["description"] = None
    return row


@router.post("/load")
async def load(request: Request) -> Response:
    """Load a model and answer when it is loaded."""
    body = await _strict_body(request, {"model", *_LOAD_NUMBERS, *_LOAD_SWITCHES})
    name = _required(body, "model")
    for key in _LOAD_NUMBERS:
        value = body.get(key)
        whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 1
        if key in body and not whole:
            raise _invalid(key, "a number of at least 1")
    for key in _LOAD_SWITCHES:
        if key in body and not isinstance(body[key], bool):
            raise _invalid(key, "true or false")
    options = LoadOptions(
        context_length=int(body["context_length"]) if "context_length" in body else None,
        eval_batch_size=int(body["eval_batch_size"]) if "eval_batch_size" in body else None,
        flash_attention=body.get("flash_attention"),
        offload_kv_cache_to_gpu=body.get("offload_kv_cache_to_gpu"),
    )
    try:
        instance = await _instances(request).load(name, options)
    except Fault as fault:
        raise native_fault(fault) from fault
    reply: dict[str, Any] = {
        "type": instance.model.kind,
        "instance_id": instance.id,
        "load_time_seconds": round(instance.load_seconds, 3),
        "status": "loaded",
    }
    if body.get("echo_load_config"):
        reply["load_config"] = instance.load_config()
    return JSONResponse(reply)


@router.post("/unload")
async def unload(request: Request) -> Response:
    """Unload one instance."""
    body = await _strict_body(request, {"instance_id"})
    instance_id = _required(body, "instance_id")
    try:
        await _instances(request).unload(instance_id)
    except Fault as fault:
        raise native_fault(fault) from fault
    return JSONResponse({"instance_id": instance_id})


@router.post("/download")
async def download(request: Request) -> Response:
    """Start to fetch a demo model, or say that it is there."""
    body = await _strict_body(request, {"model", "quantization"})
    name = _required(body, "model")
    downloads = _downloads(request)
    entry = downloads.entry(name)
    if entry is None:
        known = ", ".join(downloads.keys())
        raise native_refusal(
            404, "model_not_found", f'No model "{name}" to download. There are: {known}.', param="model"
        )
    job = downloads.start(entry)
    if job is None:
        return JSONResponse({"status": "already_downloaded"})
    shown = job.shown()
    return JSONResponse({key: shown[key] for key in ("job_id", "status", "total_size_bytes", "started_at")})


@router.get("/download/status/{job_id}")
def download_status(request: Request, job_id: str) -> Response:
    """Say how far a download is."""
    job = _downloads(request).job(job_id)
    if job is None:
        raise native_refusal(404, "job_not_found", f'There is no download job "{job_id}".', param="job_id")
    return JSONResponse(job.shown())


def _instances(request: Request) -> Instances:
    instances: Instances = request.app.state.instances
    return instances


def _downloads(request: Request) -> Downloads:
    downloads: Downloads = request.app.state.downloads
    return downloads


async def _strict_body(request: Request, known: set[str]) -> dict[str, Any]:
    body = await json_object(request)
    if body is None:
        raise native_refusal(400, "invalid_request", "The request's body must be a JSON object.", "invalid_json")
    if unknown := [key for key in body if key not in known]:
        names = ", ".join(f"'{key}'" for key in unknown)
        raise native_refusal(400, "invalid_request", f"Unrecognized key(s) in object: {names}", "unrecognized_keys")
    return body


def _required(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None:
        message = f"Missing required field '{key}'"
        raise native_refusal(400, "invalid_request", message, "missing_required_parameter", key)
    if not isinstance(value, str):
        raise _invalid(key, "a string")
    return value


def _invalid(key: str, expected: str) -> Exception:
    return native_refusal(400, "invalid_request", f"'{key}' must be {expected}", "invalid_type", key)
