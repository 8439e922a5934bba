"""`rag doctor`."""

from dataclasses import asdict

import typer

import rag.cli.flags as flags
from rag.cli.common import busy, console, print_json
from rag.cli.serve import SERVICE_PORT


def doctor(kb: flags.Kb = None, json: flags.Json = False) -> None:
    """Check the installation, the server, its models and the knowledge base; say what to do about what is wrong.

    Nothing is started or changed. Exit code 1 if a check failed; a warning is none.

    Example: rag doctor --kb notes.kb
    """
    from rag.checks.examine import examine
    from rag.display import print_table

    with busy("Checking"):
        checks = list(examine(kb, SERVICE_PORT))
    if json:
        for check in checks:
            print_json(asdict(check))
    else:
        print_table(
            console(), ("check", "", "", "remedy"), ((c.name, c.severity.value, c.message, c.remedy) for c in checks)
        )
    if any(check.failed for check in checks):
        raise typer.Exit(1)
