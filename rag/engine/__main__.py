"""`python -m rag.engine start|serve|stop|status|logs`."""

import argparse
import sys
from pathlib import Path

from rag.engine import launch
from rag.engine.exposure import exposure
from rag.engine.fault_list import fault_help
from rag.engine.serve import ServeOptions, serve
from rag.errors import RagError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except RagError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "serve":
            launch.require_engine()
            return serve(
                ServeOptions(
                    host=options.host,
                    port=options.port,
                    models=options.models,
                    idle_seconds=options.idle_seconds,
                    jit=options.jit,
                    auto_evict=options.auto_evict,
                    jit_ttl_seconds=options.jit_ttl,
                    guardrail=options.guardrail,
                    auth=options.auth,
                    cors=options.cors,
                    most_body_megabytes=options.max_body_mb,
                    faults=tuple(options.fault),
                    threads=options.threads,
                    verbose=options.verbose,
                )
            )
        case "start":
            state = launch.start(
                options.host,
                options.port,
                idle_seconds=options.idle_seconds,
                models=options.models,
                jit=options.jit,
                auto_evict=options.auto_evict,
                jit_ttl_seconds=options.jit_ttl,
                guardrail=options.guardrail,
                auth=options.auth,
                cors=options.cors,
                most_body_megabytes=options.max_body_mb,
                faults=options.fault,
                threads=options.threads,
                verbose=options.verbose,
            )
            print(f"The engine answers at {state.url} (process {state.pid}). Its log: {state.log}")
            if warning := exposure(options.host, options.auth):
                print(f"warning: {warning}", file=sys.stderr)
        case "stop":
            stopped = launch.stop(options.host, options.port)
            print("The engine has stopped." if stopped else "No engine of ours is running there.")
        case "status":
            state = launch.status(options.host, options.port)
            print(f"Running at {state.url}, process {state.pid}." if state.running else f"Nothing at {state.url}.")
            return 0 if state.running else 1
        case _:
            for line in launch.logs(options.host, options.port, follow=options.follow, lines=options.lines):
                print(line, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rag.engine", description="The embedded model server.")
    commands = parser.add_subparsers(dest="command", required=True)
    summaries = {
        "start": "Start the engine in the background.",
        "serve": "Run the engine here, until Ctrl-C.",
        "stop": "Stop the engine and its models.",
        "status": "Say whether it runs.",
        "logs": "Show the end of its log.",
    }
    for name, summary in summaries.items():
        faults = f"faults, for --fault:\n{fault_help()}" if name in ("start", "serve") else None
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=faults,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--host", "--bind", default="127.0.0.1", help="address (default: 127.0.0.1)")
        command.add_argument("--port", type=int, default=1234, help="port (default: 1234)")
        if name in ("start", "serve"):
            idle = 1800.0 if name == "start" else 0.0
            text = f"leave after so many seconds without work; 0 is never (default: {idle:g})"
            command.add_argument("--idle-seconds", type=float, default=idle, help=text)
            command.add_argument("--models", type=Path, help="folder for model files")
            command.add_argument("--no-jit", dest="jit", action="store_false", help="requests load no models")
            command.add_argument(
                "--no-auto-evict",
                dest="auto_evict",
                action="store_false",
                help="keep more than one model that a request loaded",
            )
            text = "seconds that a model which a request loaded stays without work (default: 3600)"
            command.add_argument("--jit-ttl", type=float, default=3600.0, help=text)
            text = "load a model even where it seems to need more memory than there is"
            command.add_argument("--no-guardrail", dest="guardrail", action="store_false", help=text)
            command.add_argument("--auth", action="store_true", help="demand a token: `rag engine tokens create`")
            command.add_argument("--cors", action="store_true", help="let pages in browsers use it")
            text = "the largest request body, in MB (default: 64)"
            command.add_argument("--max-body-mb", type=float, default=64.0, help=text)
            text = "show a fault, to try a client on it; may be repeated"
            command.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE]", help=text)
            command.add_argument("--threads", type=int, default=0, help="per model; 0 is one per core (default: 0)")
            command.add_argument("--verbose", action="store_true", help="llama.cpp's own messages too")
        if name == "logs":
            command.add_argument("--follow", action="store_true", help="keep waiting for more")
            command.add_argument("--lines", type=int, default=50, help="how many (default: 50)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
