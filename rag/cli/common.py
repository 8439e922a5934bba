"""What every command shares: the knowledge base, the way errors and notices are told, JSON."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from rag.errors import RagError

if TYPE_CHECKING:
    from rag.knowledge_base import KnowledgeBase
    from rag.lmstudio.client import LMStudio
    from rag.settings import Settings

EXIT_CODES = (
    "Exit codes: 0 done, 1 something failed, 2 wrong use, 3 the model server, 4 the knowledge base, "
    "5 the embedded engine, 130 interrupted."
)


def new_app(help_: str, **options: Any) -> typer.Typer:
    """A command group in our manner: no traceback art, short help on no arguments."""
    return typer.Typer(help=help_, pretty_exceptions_enable=False, rich_markup_mode=None, **options)


def run(app: Callable[[], Any]) -> None:
    """Run a command line; an error that a user can mend is one line on stderr and an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console in a national code page cannot print every document
            stream.reconfigure(errors="replace")
    try:
        app()
    except RagError as exc:
        from rag.display import printable

        print(f"error: {printable(str(exc))}", file=sys.stderr)
        sys.exit(exc.exit_code)


def notify(message: str) -> None:
    """A notice for the person at the terminal: on stderr, so that stdout stays clean for pipes."""
    from rag.display import printable

    print(printable(message), file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON value on one line, in one write: a Ctrl-C must not leave half a line to a script."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def settings(**overrides: Any) -> "Settings":
    """The settings, with what the command line says on top."""
    from rag.settings import load_settings

    return load_settings(**overrides)


def knowledge_base(kb: str | None, at: str | None = None, **overrides: Any) -> "KnowledgeBase":
    """The knowledge base that the command line, the environment or the default names, `at` a version of it."""
    from rag.knowledge_base import KnowledgeBase

    return KnowledgeBase(version=at, settings=settings(kb=kb, **overrides), notify=notify)


def server() -> "LMStudio":
    """The model server, the embedded engine started if need be."""
    from rag.lmstudio.client import LMStudio

    return LMStudio(settings=settings(), notify=notify)


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say what goes on while it does, on a terminal alone; print nothing to stdout meanwhile, for it would go there."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(f"{doing} …"):
        yield


def console(stderr: bool = False) -> Any:
    """A rich console that is plain where the output is piped or NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
