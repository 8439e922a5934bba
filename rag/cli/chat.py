"""`rag chat`: a conversation at the terminal, or one question a line from a pipe."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

import rag.cli.complete as complete
import rag.cli.flags as flags
from rag.cli.chat_commands import COMMANDS, Chat, print_sessions
from rag.cli.common import knowledge_base, notify, print_json
from rag.cli.keyboard import typed, unseen
from rag.errors import RagError
from rag.search.options import SearchKeywords
from rag.search.where import all_of
from rag.types import Answer, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator


def chat(
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            help="Save the conversation under this name, or go on with it.",
            show_default=False,
            autocompletion=complete.session_names,
        ),
    ] = None,
    kb: flags.Kb = None,
    at: flags.At = None,
    limit: flags.Limit = None,
    where: flags.Where = None,
    path: flags.Paths = None,
    diversity: flags.Diversity = None,
    rerank: flags.Rerank = None,
    expand: flags.Expand = None,
    strict: flags.Strict = False,
    rewrite: Annotated[
        bool, typer.Option(help="Have the chat model write a follow-up so that it stands by itself.")
    ] = True,
    model: flags.ChatModel = None,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    listed: Annotated[bool, typer.Option("--list", help="List the saved conversations, and end.")] = False,
    delete: Annotated[
        str | None,
        typer.Option(
            "--delete",
            metavar="NAME",
            help="Delete a saved conversation.",
            show_default=False,
            autocompletion=complete.session_names,
        ),
    ] = None,
    json: flags.Json = False,
) -> None:
    """Ask questions that follow one another, from the documents; /help says what else can be typed.

    Ctrl-C stops an answer and keeps what was said, Ctrl-D ends. A pipe has one question a line.

    Example: rag chat --session warranty --kb notes.kb
    """
    from rag.sessions import delete as deleted
    from rag.sessions import sessions

    if delete is not None:
        deleted(delete)
        if json:
            print_json({"deleted": delete})
    if listed:
        print_sessions(sessions(), json=json)
    if listed or delete is not None:
        return
    how = SearchKeywords(
        limit=limit, where=all_of(where or ()), paths=path or (), diversity=diversity, rerank=rerank, expand=expand
    )
    from rag.conversation import Conversation

    with knowledge_base(kb, at, chat_model=model, ttl_s=ttl, download=download) as base:
        _ = base.store  # whether it is there should be said before the first question
        conversation = Conversation(base, session, rewrite=rewrite)
        _talk(Chat(base, conversation, how, strict, json, rewrite))


def _talk(chat: Chat) -> None:
    from rag.display import printable

    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and not chat.json:
        turns = len(chat.conversation.turns)
        notify(f"{f'{turns} turns so far. ' if turns else ''}/help says what can be typed, Ctrl-D ends.")
    for line in _typed(chat) if interactive else sys.stdin:
        try:
            if not interactive and not chat.json and line.strip():
                print(f"> {printable(line.strip())}")
            with unseen():
                answer = _said(chat, line.strip())
        except RagError as exc:
            if not interactive:
                raise
            notify(f"error: {exc}")
        except KeyboardInterrupt:
            if not interactive:
                raise
            notify("Interrupted before anything was said.")
        else:
            if answer is not None and answer.cut is Cut.INTERRUPTED and not interactive:
                raise typer.Exit(130)
        if chat.ended:
            return


def _said(chat: Chat, line: str) -> Answer | None:
    """What a line brings about: an answer, if it is a question or asks one again."""
    if not line:
        return None
    answer = chat.command(line) if line.startswith("/") else chat.ask(line)
    if not chat.json:
        print()
    return answer


def _typed(chat: Chat) -> "Iterator[str]":
    """The lines that a person types; the arrow keys bring back the questions of all sessions with this knowledge base.

    Nothing else is kept of what was typed: a conversation without a name leaves no trace.
    """
    from rag.sessions import questions

    earlier = questions(chat.base.path)
    return typed("> ", [f"/{name}" for name in COMMANDS], earlier)
