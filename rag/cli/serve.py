"""`rag serve`: the knowledge base over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

import rag.cli.flags as flags
import rag.errors as errors
from rag.cli.common import notify, print_json, settings

SERVICE_PORT = 8009  # where nothing else is said


def serve(
    kb: flags.Kb = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this machine's own demands a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = SERVICE_PORT,
    token: Annotated[
        str | None,
        typer.Option(
            help="What clients must send as `Authorization: Bearer …`; better set RAG_SERVICE_TOKEN.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder whose images may be shown to a model; may be given several times.", show_default=False
        ),
    ] = None,
    asks: Annotated[int, typer.Option(min=1, help="Questions that are answered at the same time.")] = 4,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer; for many readers, on a machine of many cores.")
    ] = 1,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Add and remove no documents: a replica of what another one writes.")
    ] = False,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="The largest upload.")] = 512,
    json: flags.Json = False,
) -> None:
    """Serve the knowledge base: a page, its API, and a model `rag` for OpenAI clients. Ctrl-C ends it.

    Example: rag serve --kb notes.kb

    Example: rag serve --kb s3://bucket/notes.kb --read-only --workers 4
    """
    from rag.service.options import ServiceOptions
    from rag.service.serve import serve as run

    if missing := [folder for folder in images or () if not folder.is_dir()]:
        raise errors.SourceNotFound(f"There is no folder {missing[0]}.")
    configured = settings(kb=kb, service_token=token)
    options = ServiceOptions(
        host=host,
        port=port,
        token=configured.service_token,
        images=tuple(images or ()),
        asks_at_once=asks,
        most_upload_bytes=max_upload_mb << 20,
        read_only=read_only,
    )

    def ready(address: str) -> None:
        if json:
            print_json({"address": address, "kb": str(configured.kb), "token": bool(options.token)})
        else:
            notify(f"Serving {configured.kb} on {address}. Ctrl-C ends it.")

    try:
        run(configured, options, ready, workers)
    except KeyboardInterrupt:  # which uvicorn raises again when it has ended everything
        notify("Stopped.")
