"""`rag engine …`: the embedded engine, where LM Studio is absent."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli.common import JsonOption, new_app, print_json, settings

if TYPE_CHECKING:
    from rag.engine.launch import EngineStatus

app = new_app("Start, stop and watch the embedded engine, which serves LM Studio's API.", no_args_is_help=True)

PortOption = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Default: that of LMSTUDIO_HOST, else 1234.")
]


@app.command()
def start(
    port: PortOption = None,
    idle_seconds: Annotated[
        float | None, typer.Option(min=0, help="Leave after so long without a request; 0: never (default: 1800).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start the engine in the background, unless it runs.

    Example: rag engine start --idle-seconds 0
    """
    from rag.engine.launch import start as start_engine

    configured = settings()
    idle = configured.engine_idle_s if idle_seconds is None else idle_seconds
    _tell(start_engine("127.0.0.1", port or _port(), idle_seconds=idle), json)


@app.command()
def status(port: PortOption = None, json: JsonOption = False) -> None:
    """Say whether the engine runs. Exit code 0 if it does, 1 if not.

    Example: rag engine status --json
    """
    from rag.engine.launch import status as engine_status

    found = engine_status("127.0.0.1", port or _port())
    _tell(found, json)
    if not found.running:
        raise typer.Exit(1)


@app.command()
def stop(port: PortOption = None, json: JsonOption = False) -> None:
    """Stop the engine; its models leave memory with it.

    Example: rag engine stop
    """
    from rag.engine.launch import stop as stop_engine

    chosen = port or _port()
    stopped = stop_engine("127.0.0.1", chosen)
    if json:
        print_json({"stopped": stopped, "port": chosen})
    else:
        print(f"the engine on port {chosen} has stopped" if stopped else f"no engine of ours runs on port {chosen}")


@app.command()
def logs(
    port: PortOption = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.")] = 100,
) -> None:
    """Print the engine's log.

    Example: rag engine logs -f
    """
    from rag.display import printable
    from rag.engine.launch import logs as engine_logs

    for line in engine_logs(port=port or _port(), follow=follow, lines=lines):
        print(printable(line.rstrip("\n")), flush=follow)


def _port() -> int:
    from rag.lmstudio.http import Connection

    return Connection(settings()).port


def _tell(found: "EngineStatus", json: bool) -> None:
    if json:
        print_json({**asdict(found), "url": found.url})
    elif found.pid is not None:
        print(f"the engine runs at {found.url} (process {found.pid})")
    elif found.running:
        print(f"LM Studio, or an engine of somebody else, runs at {found.url}")
    else:
        print(f"no engine of ours runs at {found.url}")
