"""`rag engine …`: the embedded engine, where LM Studio is absent."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.complete as complete
import rag.cli.flags as flags
from rag.cli.common import busy, new_app, notify, print_json, settings
from rag.engine.fault_list import FAULT_KINDS, fault_help

if TYPE_CHECKING:
    from rag.engine.launch import EngineStatus
    from rag.engine.token_store import Token, TokenStore

app = new_app(
    "Start, stop and watch the embedded engine, which serves LM Studio's API.\n\nExample: rag engine start",
    no_args_is_help=True,
)
tokens = new_app(
    "Make, list and revoke the tokens that an engine started with --auth demands.\n\nExample: rag engine tokens list",
    no_args_is_help=True,
)
app.add_typer(tokens, name="tokens")

PortOption = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Default: that of LMSTUDIO_HOST, else 1234.")
]


@app.command(epilog=f"Faults, for --fault:\n\n{fault_help()}".replace("\n", "\n\n"))
def start(
    port: PortOption = None,
    host: Annotated[
        str, typer.Option("--host", "--bind", help="The address to listen on; 0.0.0.0: all of the machine's.")
    ] = "127.0.0.1",
    idle_seconds: Annotated[
        float | None, typer.Option(min=0, help="Leave after so long without a request; 0: never (default: 1800).")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="A folder of its own for model files.")] = None,
    no_jit: Annotated[bool, typer.Option("--no-jit", help="Requests load no models.")] = False,
    no_auto_evict: Annotated[
        bool, typer.Option("--no-auto-evict", help="Keep more than one model that a request loaded.")
    ] = False,
    jit_ttl: Annotated[
        float, typer.Option(min=1, help="Seconds that a model which a request loaded stays without work.")
    ] = 3600,
    no_guardrail: Annotated[
        bool, typer.Option("--no-guardrail", help="Load a model even where it seems to need more memory than there is.")
    ] = False,
    auth: Annotated[bool, typer.Option("--auth", help="Demand a token: `rag engine tokens create`.")] = False,
    cors: Annotated[bool, typer.Option("--cors", help="Let pages in browsers use it.")] = False,
    max_body_mb: Annotated[float, typer.Option(min=0, help="The largest request body, in MB.")] = 64,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]",
            help="Show a fault, to try a client on it; may be repeated.",
            autocompletion=complete.one_of(*(kind.name for kind in FAULT_KINDS)),
        ),
    ] = None,
    json: flags.Json = False,
) -> None:
    """Start the engine in the background, unless it runs.

    Example: rag engine start --auth --idle-seconds 0
    """
    from rag.engine.exposure import exposure
    from rag.engine.launch import start as start_engine

    configured = settings()
    with busy("Starting the engine"):
        started = start_engine(
            host,
            port or _port(),
            idle_seconds=configured.engine_idle_s if idle_seconds is None else idle_seconds,
            models=models.resolve() if models else None,
            jit=not no_jit,
            auto_evict=not no_auto_evict,
            jit_ttl_seconds=jit_ttl,
            guardrail=not no_guardrail,
            auth=auth,
            cors=cors,
            most_body_megabytes=max_body_mb,
            faults=fault or (),
        )
    _tell(started, json)
    if warning := exposure(host, auth):
        notify(f"warning: {warning}")
    if auth and not _store().tokens():
        notify("There is no token yet, so it refuses everybody. Make one: rag engine tokens create")


@app.command()
def status(port: PortOption = None, json: flags.Json = False) -> None:
    """Say whether the engine runs. Exit code 0 if it does, 1 if not.

    Example: rag engine status --json
    """
    from rag.engine.launch import status as engine_status

    found = engine_status("127.0.0.1", port or _port())
    _tell(found, json)
    if not found.running:
        raise typer.Exit(1)


@app.command()
def stop(port: PortOption = None, json: flags.Json = False) -> None:
    """Stop the engine; its models leave memory with it.

    Example: rag engine stop
    """
    from rag.engine.launch import stop as stop_engine

    chosen = port or _port()
    with busy("Stopping the engine"):
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
    json: flags.Json = False,
) -> None:
    """Print the engine's log; with --json each line as {"line": …}.

    Example: rag engine logs -f
    """
    from rag.display import printable
    from rag.engine.launch import logs as engine_logs

    for line in engine_logs(port=port or _port(), follow=follow, lines=lines):
        if json:
            print_json({"line": line.rstrip("\n")})
        else:
            print(printable(line.rstrip("\n")), flush=follow)


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for, so that you know later.")] = "token",
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="PERMISSION", help="mcp-json or per-request-mcp: tools over MCP; may be repeated."),
    ] = None,
    json: flags.Json = False,
) -> None:
    """Make a token and show it, this once. Running engines accept it at once.

    Example: rag engine tokens create laptop
    """
    from rag.engine.token_store import PERMISSIONS

    if unknown := [one for one in allow or () if one not in PERMISSIONS]:
        raise typer.BadParameter(f"{unknown[0]!r} is no permission. There are: {', '.join(PERMISSIONS)}.")
    token, text = _store().create(name, allow or ())
    if json:
        print_json({**_shown(token), "token": text})
        return
    print(text)
    notify("It is shown this once. Programs take it from LM_API_TOKEN.")


@tokens.command("list")
def list_tokens(json: flags.Json = False) -> None:
    """List the tokens: their ids and names, never the tokens themselves.

    Example: rag engine tokens list
    """
    from datetime import datetime

    from rag.cli.common import console
    from rag.display import print_table

    known = _store().tokens()
    if json:
        print_json({"tokens": [_shown(token) for token in known]})
        return
    rows = (
        (
            one.id,
            one.name,
            f"{datetime.fromtimestamp(one.created_at).astimezone():%Y-%m-%d %H:%M}",
            ", ".join(one.permissions),
        )
        for one in known
    )
    print_table(console(), ("id", "name", "made", "may also use"), rows)


@tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="Its id or its name, as `rag engine tokens list` shows them.")],
    json: flags.Json = False,
) -> None:
    """Revoke a token. Running engines refuse it at once.

    Example: rag engine tokens revoke laptop
    """
    gone = _store().revoke(token)
    if json:
        print_json({"revoked": [one.id for one in gone]})
    else:
        print("\n".join(f"{one.id} ({one.name}) revoked" for one in gone) or f"no token has the id or name {token}")
    if not gone:
        raise typer.Exit(1)


def _store() -> "TokenStore":
    from rag.engine.places import places
    from rag.engine.token_store import TokenStore

    return TokenStore(places(0).folder)


def _shown(token: "Token") -> dict[str, object]:
    return {"id": token.id, "name": token.name, "created_at": token.created_at, "permissions": token.permissions}


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
