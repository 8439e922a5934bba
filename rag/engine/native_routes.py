"""/api/v1/models: list, load, unload, download. Keys are strict here: what is not known is refused."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from rag.engine.downloads import Downloads
from rag.engine.faults import Fault
from rag.engine.hub import NoSuchModel
from rag.engine.instance import Instance, LoadOptions
from rag.engine.instances import Instances
from rag.engine.library import Model
from rag.engine.native_body import optional_count, optional_switch, optional_text, required_text, strict_body
from rag.engine.native_chat_request import REASONING
from rag.engine.replies import native_fault, native_refusal
from rag.errors import DownloadFailed, MissingExtra

router = APIRouter(prefix="/api/v1/models")

_LOAD_NUMBERS = ("context_length", "eval_batch_size", "num_experts")
_LOAD_SWITCHES = ("flash_attention", "offload_kv_cache_to_gpu", "echo_load_config")


@router.get("")
def models(request: Request) -> Response:
    """List the downloaded models with their loaded instances."""
    instances = _instances(request)
    return JSONResponse(
        {"models": [model_row(model, instances_of(model, instances)) for model in instances.library.models()]}
    )


def instances_of(model: Model, instances: Instances) -> list[Instance]:
    """Return the loaded instances of a model and of its other quantizations."""
    keys = {model.key, *model.variants}
    return [instance for instance in instances.loaded() if instance.model.key in keys]


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
        row["capabilities"] = {"vision": model.projector is not None, "trained_for_tool_use": model.tool_use}
        if model.reasoning:
            options = [option for option in REASONING if option in model.reasoning]
            row["capabilities"]["reasoning"] = {"allowed_options": options, "default": model.reasoning[0]}
        row["description"] = None
    if model.variants:
        row["variants"] = list(model.variants)
        row["selected_variant"] = model.variants[0]
    return row


@router.post("/load")
async def load(request: Request) -> Response:
    """Load a model and answer when it is loaded."""
    body = await strict_body(request, {"model", *_LOAD_NUMBERS, *_LOAD_SWITCHES})
    name = required_text(body, "model")
    numbers = {key: optional_count(body, key) for key in _LOAD_NUMBERS}
    switches = {key: optional_switch(body, key) for key in _LOAD_SWITCHES}
    options = LoadOptions(
        context_length=numbers["context_length"],
        eval_batch_size=numbers["eval_batch_size"],
        flash_attention=switches["flash_attention"],
        offload_kv_cache_to_gpu=switches["offload_kv_cache_to_gpu"],
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
    if switches["echo_load_config"]:
        reply["load_config"] = instance.load_config()
    return JSONResponse(reply)


@router.post("/unload")
async def unload(request: Request) -> Response:
    """Unload one instance."""
    body = await strict_body(request, {"instance_id"})
    instance_id = required_text(body, "instance_id")
    try:
        await _instances(request).unload(instance_id)
    except Fault as fault:
        raise native_fault(fault) from fault
    return JSONResponse({"instance_id": instance_id})


@router.post("/download")
async def download(request: Request) -> Response:
    """Start to fetch a model of the catalogue or from Hugging Face, or say that it is there."""
    body = await strict_body(request, {"model", "quantization"})
    name, quantization = required_text(body, "model"), optional_text(body, "quantization")
    downloads = _downloads(request)
    if quantization is not None and name.casefold() in downloads.keys():  # noqa: SIM118 - a method, not a dictionary
        message = "'quantization' is only supported for Hugging Face links"
        raise native_refusal(400, "invalid_request", message, "invalid_value", "quantization")
    try:
        source = await asyncio.to_thread(downloads.find, name, quantization)
    except NoSuchModel as exc:
        raise native_refusal(404, "model_not_found", str(exc), param="model") from exc
    except MissingExtra as exc:
        raise native_refusal(501, "not_implemented", str(exc), param="model") from exc
    except DownloadFailed as exc:
        raise native_refusal(502, "internal_error", str(exc), "unknown", "model") from exc
    job = downloads.start(source)
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
