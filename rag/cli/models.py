"""`rag models …`: the verbs that LM Studio's users know from `lms`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.errors as errors
from rag.cli.common import JsonOption, connected, console, new_app, print_json

if TYPE_CHECKING:
    from rag.lmstudio.http import Connection
    from rag.lmstudio.models import Model, ServerKind

app = new_app("List, load, unload and download models of the server.", no_args_is_help=True)

KeyArgument = Annotated[str, typer.Argument(help="A model's key, as `rag models ls` names it.")]


@app.command()
def ls(json: JsonOption = False) -> None:
    """List the models that the server has on disk.

    Example: rag models ls
    """
    from rag.display import human_bytes, print_table

    with connected() as connection:
        _, models = _models(connection)
    if json:
        print_json({"models": [asdict(model) for model in models]})
        return
    print_table(
        console(),
        ("model", "type", "size", "quantisation", "longest context", "loaded"),
        (
            (
                m.key,
                m.type,
                human_bytes(m.size_bytes),
                m.quantization or "-",
                m.max_context_length or "-",
                "yes" if m.instances else "",
            )
            for m in models
        ),
    )


@app.command()
def ps(json: JsonOption = False) -> None:
    """List the models that are loaded, with who loaded them and when they are unloaded if nobody uses them.

    Example: rag models ps --json
    """
    import time

    from rag.display import print_table
    from rag.lmstudio.leases import Leases

    with connected() as connection:
        _, models = _models(connection)
    leases, now = Leases(connection.base).all(), time.time()
    rows: list[dict[str, object]] = []
    for model in models:
        for instance in model.instances:
            lease = leases.get(instance.id)
            rows.append(
                {
                    "model": model.key,
                    "instance": instance.id,
                    "type": model.type,
                    "context_length": instance.context_length,
                    "ttl_s": lease.ttl_s if lease else None,
                    "remaining_s": _whole(lease.remaining_s(now)) if lease else None,
                    "owner": f"lmstudio-rag, process {lease.owner.partition(':')[0]}" if lease else None,
                }
            )
    if json:
        print_json({"loaded": rows})
        return
    print_table(
        console(),
        ("model", "instance", "type", "context", "unloaded in", "loaded by"),
        (
            (
                *(row[name] for name in ("model", "instance", "type", "context_length")),
                f"{row['remaining_s']} s" if row["remaining_s"] is not None else "-",
                row["owner"] or "others",
            )
            for row in rows
        ),
    )


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


@app.command()
def load(
    key: KeyArgument,
    context_length: Annotated[
        int | None,
        typer.Option(
            "-c",
            "--context-length",
            min=1,
            help="Tokens of context (default: 4096, or the model's own maximum if less).",
        ),
    ] = None,
    ttl: Annotated[
        int | None, typer.Option(min=1, help="Unload it after so many idle seconds (default: never).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Load a model, unless it is loaded with enough context already.

    Example: rag models load qwen2.5-coder-0.5b-instruct -c 8192 --ttl 600
    """
    from rag.cli.common import notify
    from rag.lmstudio.keeper import start_keeper
    from rag.lmstudio.leases import FOREVER, Leases
    from rag.lmstudio.models import ServerKind
    from rag.lmstudio.residency import ensure

    with connected() as connection:
        kind, models = _models(connection)
        if kind is not ServerKind.LMSTUDIO:
            raise errors.NotSupported(
                f"{connection.base} ({kind.value}) has no endpoint to load models; it loads by itself."
            )
        model = _named(models, key)
        loaded = ensure(connection, model.type, model.key, context_length or 4096, notify, ttl_s=ttl or FOREVER)
        if ttl:  # one that was loaded before, by us, gets the new TTL; what others loaded stays theirs
            Leases(connection.base).set_ttl(loaded.instance_id, ttl)
            start_keeper(Leases(connection.base))
    if json:
        print_json({"model": loaded.key, "instance": loaded.instance_id, "context_length": loaded.context_length})
    else:
        print(f"{loaded.instance_id} is loaded with a context of {loaded.context_length} tokens")


@app.command()
def unload(
    key: Annotated[str | None, typer.Argument(help="A model's key or an instance's id.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every loaded model.")] = False,
    json: JsonOption = False,
) -> None:
    """Unload a model: all its instances, or the one that is named.

    Example: rag models unload --all
    """
    from rag.lmstudio.leases import Leases
    from rag.lmstudio.models import unload as unload_instance

    if (key is None) is not all_:
        raise typer.BadParameter("Name a model, or say --all.")
    with connected() as connection:
        _, models = _models(connection)
        ids = [
            instance.id
            for model in models
            for instance in model.instances
            if all_ or key == instance.id or (key or "").lower() == model.key.lower()
        ]
        if key and not ids:
            raise errors.ModelNotFound(f"{key} is not loaded. `rag models ps` lists what is.")
        done = [id_ for id_ in ids if unload_instance(connection, id_)]
        Leases(connection.base).forget(*done)
    if json:
        print_json({"unloaded": done})
    else:
        print("\n".join(f"{id_} unloaded" for id_ in done) or "nothing was loaded")


@app.command()
def get(key: KeyArgument, json: JsonOption = False) -> None:
    """Have the server download a model.

    Example: rag models get text-embedding-all-minilm-l6-v2
    """
    with connected() as connection:
        fetch(connection, key, json=json)


def fetch(connection: "Connection", key: str, *, json: bool = False) -> None:
    """Download a model through the server, with a progress bar on a terminal, lines of JSON, or one line at the end."""
    from rag.lmstudio.models import download

    out = console(stderr=True)
    if json or not out.is_terminal:
        status = ""
        for progress in download(connection, key):
            if json:
                print_json({"event": "download", "model": key, **asdict(progress)})
            status = progress.status
        if not json:
            print(f"{key}: {status.replace('_', ' ')}")
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out) as bar:
        task = bar.add_task(key, total=None)
        for progress in download(connection, key):
            bar.update(task, completed=progress.downloaded_bytes, total=progress.total_bytes)
        bar.update(task, total=1, completed=1)


def _models(connection: "Connection") -> "tuple[ServerKind, list[Model]]":
    from rag.lmstudio.models import list_models, server_kind

    kind = server_kind(connection)
    return kind, list_models(connection, kind)


def _named(models: "list[Model]", key: str) -> "Model":
    for model in models:
        if model.key.lower() == key.lower():
            return model
    names = ", ".join(model.key for model in models) or "none at all"
    raise errors.ModelNotFound(f"The server has no model {key!r}; it has {names}. `rag models get` downloads one.")
