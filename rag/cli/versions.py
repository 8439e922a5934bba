"""`rag versions`, `rag tag` and `rag restore`."""

import datetime
from dataclasses import asdict
from typing import Annotated

import typer

import rag.cli.complete as complete
import rag.cli.flags as flags
from rag.cli.common import busy, console, knowledge_base, notify, print_json

VersionArgument = Annotated[
    str, typer.Argument(help="A number or a tag, as `rag versions` lists them.", autocompletion=complete.versions)
]


def versions(kb: flags.Kb = None, json: flags.Json = False) -> None:
    """List what the knowledge base held after each command that changed it: a week of it, and what is tagged.

    Example: rag versions --kb notes.kb

    Example: rag search "warranty" --at 12
    """
    from rag.display import print_table

    with knowledge_base(kb) as base:
        found = base.versions()
    if json:
        for version in found:
            values = asdict(version)
            print_json({name: values[name] for name in ("number", "at", "documents", "chunks", "tags")})
        return
    if not found:
        notify("None yet. The next `ingest` makes one, and so does `rag tag NAME`.")
    rows = ((v.number, _when(v.at), v.documents, v.chunks, ", ".join(v.tags)) for v in found)
    print_table(console(), ("version", "made", "documents", "chunks", "tags"), rows)


def tag(
    name: Annotated[str, typer.Argument(help="The name to give.", autocompletion=complete.tags)],
    version: Annotated[
        str | None,
        typer.Argument(help="A number or a tag. Default: what there is now.", autocompletion=complete.versions),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the tag; its version goes with its week.")] = False,
    kb: flags.Kb = None,
    json: flags.Json = False,
) -> None:
    """Name a version, so that it is kept until the name is deleted.

    Example: rag tag before-the-move
    """
    with knowledge_base(kb) as base:
        if delete:
            base.untag(name)
            if json:
                print_json({"deleted": name})
            return
        number = base.tag(name, version).number
    if json:
        print_json({"tag": name, "number": number})
    else:
        print(f"version {number} is {name}")


def restore(version: VersionArgument, kb: flags.Kb = None, json: flags.Json = False) -> None:
    """Make a version the present one. That is a new version: restore the one before it to undo this.

    Files are not touched, so the next ingest of their folders brings back what they hold.

    Example: rag restore before-the-move
    """
    with knowledge_base(kb) as base, busy("Restoring"):
        made = base.restore(version)
    if json:
        print_json({"number": made.number, "documents": made.documents, "chunks": made.chunks})
    else:
        print(f"version {made.number}: {made.documents} documents, {made.chunks} chunks")


def _when(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="minutes")[:16]
