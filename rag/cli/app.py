"""The `rag` command: joins everything, decides nothing."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import rag.cli.config as config
import rag.cli.documents as documents
import rag.cli.engine as engine
import rag.cli.models as models
import rag.cli.questions as questions
import rag.cli.versions as versions
from rag.cli.adapt import adapt
from rag.cli.chat import chat
from rag.cli.common import EXIT_CODES, new_app, run
from rag.cli.demo import demo
from rag.cli.doctor import doctor
from rag.cli.eval_make import make
from rag.cli.evaluate import evaluate
from rag.cli.mcp import mcp
from rag.cli.rebuild import rebuild
from rag.cli.serve import serve
from rag.cli.summarize import summarize
from rag.cli.why import why


class Commands(TyperGroup):
    """Commands, of which some have a name of two words beside another of one: `rag eval PATH`, `rag eval make`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Prefer the longer name; `rag eval ./make` is how to name a folder that is called so."""
        two = " ".join(args[:2])
        return (two, self.commands[two], args[2:]) if two in self.commands else super().resolve_command(ctx, args)


app = new_app(
    "Ask your own documents on your own machine, with citations that have been checked.\n\n"
    'Example: rag ask "How long is the warranty?" --kb notes.kb',
    no_args_is_help=True,
    epilog=EXIT_CODES,
    cls=Commands,
)
for command in (questions.ask, chat, questions.search, summarize, why, documents.status, documents.ls, documents.rm):
    app.command()(command)
for command_of_versions in (versions.versions, versions.tag, versions.restore):
    app.command()(command_of_versions)
app.add_typer(models.app, name="models")
app.add_typer(engine.app, name="engine")
app.add_typer(config.app, name="config")
app.command()(doctor)
app.command()(demo)
app.command()(serve)
app.command()(mcp)
app.command("eval")(evaluate)
app.command(epilog=EXIT_CODES)(rebuild)
app.command("eval make")(make)
app.command()(adapt)


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        print(importlib.metadata.version("lmstudio-rag"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask your own documents on your own machine, with citations that have been checked."""


def main() -> None:
    """The entry point of the `rag` command."""
    run(app)
