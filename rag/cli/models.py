"""`rag models …`: the verbs that LM Studio's users know from `lms`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rag.cli.complete as complete
import rag.cli.flags as flags
from rag.cli.common import busy, console, new_app, print_json, server

if TYPE_CHECKING:
    from rag.lmstudio.client import LMStudio, Running

app = new_app("List, load, unload and download models of the server.\n\nExample: rag models ps", no_args_is_help=True)

KeyArgument = Annotated[
    str, typer.Argument(help="A model's key, as `rag models ls` names it.", autocompletion=complete.models)
]


@app.command()
def ls(json: flags.Json = False) -> None:
    """List the models that the server has on disk.

    Example: rag models ls
    """
    from rag.display import print_table

    with server() as lm:
        models = lm.models()
    if json:
        print_json({"models": [asdict(model) for model in models]})
        return
    print_table(console(), models.columns, models.table())


@app.command()
def ps(json: flags.Json = False) -> None:
    """List the models that are loaded, with who loaded them and when they are unloaded if nobody uses them.

    Example: rag models ps --json
    """
    from rag.display import print_table

    with server() as lm:
        loaded = lm.loaded()
    if json:
        print_json({"loaded": [_row(running) for running in loaded]})
        return
    print_table(console(), loaded.columns, loaded.table())


def _row(running: "Running") -> dict[str, object]:
    """The shape of a line of `rag models ps --json`, which scripts may rely on."""
    return {
        "model": running.model,
        "instance": running.instance_id,
        "type": running.type,
        "context_length": running.context_length,
        "ttl_s": running.ttl_s,
        "remaining_s": None if running.remaining_s is None else round(running.remaining_s),
        "owner": running.loaded_by,
    }


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
    json: flags.Json = False,
) -> None:
    """Load a model, unless it is loaded with enough context already.

    Example: rag models load qwen2.5-coder-0.5b-instruct -c 8192 --ttl 600
    """
    with server() as lm, busy(f"Loading {key}"):
        loaded = lm.load(key, context_length=context_length or 0, ttl=ttl or -1)
    if json:
        print_json({"model": loaded.key, "instance": loaded.instance_id, "context_length": loaded.context_length})
    else:
        print(f"{loaded.instance_id} is loaded with a context of {loaded.context_length} tokens")


@app.command()
def unload(
    key: Annotated[
        str | None, typer.Argument(help="A model's key or an instance's id.", autocompletion=complete.models)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every loaded model.")] = False,
    json: flags.Json = False,
) -> None:
    """Unload a model: all its instances, or the one that is named.

    Example: rag models unload --all
    """
    if (key is None) is not all_:
        raise typer.BadParameter("Name a model, or say --all.")
    with server() as lm, busy("Unloading"):
        done = lm.unload(key)
    if json:
        print_json({"unloaded": done})
    else:
        print("\n".join(f"{id_} unloaded" for id_ in done) or "nothing was loaded")


@app.command()
def get(
    key: Annotated[
        str, typer.Argument(help="A model's key, or its page on Hugging Face.", autocompletion=complete.downloads)
    ],
    json: flags.Json = False,
) -> None:
    """Have the server download a model.

    Example: rag models get text-embedding-all-minilm-l6-v2
    """
    with server() as lm:
        fetch(lm, key, json=json)


def fetch(lm: "LMStudio", key: str, *, json: bool = False) -> None:
    """Download a model through the server, with a progress bar on a terminal, lines of JSON, or one line at the end."""
    out = console(stderr=True)
    if json or not out.is_terminal:
        status = ""
        for progress in lm.download(key):
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
        for progress in lm.download(key):
            bar.update(task, completed=progress.downloaded_bytes, total=progress.total_bytes)
        bar.update(task, total=1, completed=1)
