"""What begins with a `/` in `rag chat`: commands about the conversation, its sources and its filters."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.cli.common import busy, console, print_json
from rag.errors import SourceNotFound, UsageProblem
from rag.search.options import SearchKeywords
from rag.types import Answer, Citation

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rag.answer import Event
    from rag.conversation import Conversation
    from rag.knowledge_base import KnowledgeBase
    from rag.sessions import SessionRow

_SURROUNDINGS = 400  # characters before and behind a quote that is unfolded


@dataclass(slots=True)
class Chat:
    """A conversation at a terminal, and how its questions are searched for."""

    base: "KnowledgeBase"
    conversation: "Conversation"
    how: SearchKeywords
    strict: bool
    json: bool
    rewrite: bool
    ended: bool = False

    def ask(self, question: str) -> Answer:
        """Ask and print the answer."""
        return self.print(self.conversation.ask_stream(question, strict=self.strict, **self.how))

    def print(self, events: "Generator[Event, None, None]") -> Answer:
        """Print an answer, on a terminal as it comes."""
        from rag.display_live import answered, print_streamed

        if not self.json:
            return print_streamed(events, self.base.file_of)
        answer = answered(events)
        print_json(self._turn(answer))
        return answer

    def print_again(self, answer: Answer) -> None:
        """Print an answer that was printed before."""
        from rag.display_answer import print_answer

        if self.json:
            print_json(self._turn(answer))
        else:
            print_answer(console(), answer, self.base.file_of)

    def _turn(self, answer: Answer) -> dict[str, object]:
        return {"session": self.conversation.name, **answer.to_dict()}

    def command(self, line: str) -> Answer | None:
        """Do what a line beginning with `/` says. Raises UsageProblem where that is no command."""
        name, _, argument = line[1:].partition(" ")
        if name not in COMMANDS:
            known = ", ".join(f"/{command}" for command in COMMANDS)
            raise UsageProblem(f"There is no command /{name}. There are {known}; /help tells more.")
        return COMMANDS[name].does(self, argument.strip())


@dataclass(frozen=True, slots=True)
class Command:
    """What a command does with the words behind it, and what /help says of it; an Answer is one newly given."""

    does: Callable[[Chat, str], Answer | None]
    argument: str
    help: str


def _help(chat: Chat, argument: str) -> None:
    from rag.display import print_table

    rows = {f"/{name} {command.argument}".rstrip(): command.help for name, command in COMMANDS.items()}
    if chat.json:
        print_json(rows)
        return
    print_table(console(), ("type", "for"), rows.items())
    print("\nA \\ at a line's end goes on in the next; the arrow keys bring back earlier questions.")
    print("Ctrl-C stops an answer, Ctrl-D ends the conversation.")


def _sources(chat: Chat, argument: str) -> None:
    answer = _last(chat)
    if not argument:
        chat.print_again(answer)
        return
    citation = next((c for c in answer.citations if str(c.n) == argument.strip("[]")), None)
    if citation is None:
        numbers = ", ".join(str(c.n) for c in answer.citations)
        raise UsageProblem(
            f"The last answer has no source {argument}; it has {numbers}." if numbers else "It has no sources."
        )
    _unfold(chat, citation)


def _unfold(chat: Chat, citation: Citation) -> None:
    """A quote in what stands around it, as long as the document is the one that was cited."""
    from rich.text import Text

    from rag.display import printable
    from rag.errors import DocumentNotFound

    try:
        text = chat.base.text(citation.source)
    except DocumentNotFound:
        text = ""
    start, end = citation.start, citation.end
    known = text[start:end] == citation.quote
    before = text[max(0, start - _SURROUNDINGS) : start] if known else ""
    behind = text[end : end + _SURROUNDINGS] if known else ""
    if chat.json:
        print_json(
            {"n": citation.n, "source": citation.source, "before": before, "quote": citation.quote, "behind": behind}
        )
        return
    shown = Text(f"{printable(citation.location)} ({citation.standing})\n")
    if not known:
        shown.append("(The knowledge base holds another text of it today.)\n", style="yellow")
    shown.append(printable(before), style="dim")
    shown.append(printable(citation.quote), style="bold")
    shown.append(printable(behind), style="dim")
    console().print(shown, soft_wrap=True)


def _search(chat: Chat, argument: str) -> None:
    from rag.display_answer import print_hits

    with busy("Searching"):
        hits = chat.base.search(argument, **chat.how)
    if chat.json:
        print_json({"hits": [hit.to_dict() for hit in hits]})
    elif hits:
        print_hits(console(), hits, chat.base.file_of)
    else:
        print("Nothing found.")


def _where(chat: Chat, argument: str) -> None:
    from rag.display import printable

    if argument:
        chosen = "" if argument == "off" else argument
        chat.base.documents(chosen)  # says at once what is wrong with it
        chat.how["where"] = chosen
    if not chat.json:
        where = chat.how.get("where")
        print(f"Only documents with: {printable(where)}" if where else "All documents.")


def _sessions(chat: Chat, argument: str) -> None:
    from rag.sessions import sessions

    print_sessions(sessions(), json=chat.json)


def print_sessions(rows: "Sequence[SessionRow]", *, json: bool) -> None:
    """Saved conversations, one a line."""
    from rag.display import print_table

    if json:
        for row in rows:
            print_json({"session": row.name, "kb": str(row.kb), "turns": row.turns, "at": row.at})
        return
    shown = ((row.name, row.turns, f"{_when(row.at)}", row.kb) for row in rows)
    print_table(console(), ("session", "turns", "last used", "knowledge base"), shown)


def _when(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _session(chat: Chat, argument: str) -> None:
    from rag.conversation import Conversation
    from rag.sessions import Session

    if not argument:
        raise UsageProblem("/session NAME: the name is missing.")
    is_new = not Session(argument, chat.base.path).path.exists()
    if chat.conversation.name is None and chat.conversation.turns and is_new:
        chat.conversation.save_as(argument)
        done = "This conversation is saved from now on"
    else:
        chat.conversation = Conversation(chat.base, argument, rewrite=chat.rewrite)
        done = "A new session" if is_new else f"{len(chat.conversation.turns)} turns so far"
    if not chat.json:
        print(f"{done}: {argument}")


def _retry(chat: Chat, argument: str) -> Answer:
    limit = 2 * (chat.how.get("limit") or chat.base.settings.top_k)
    wider = SearchKeywords(**chat.how) | SearchKeywords(limit=limit, floor=0.0)
    return chat.print(chat.conversation.again_stream(strict=chat.strict, **wider))


def _save(chat: Chat, argument: str) -> None:
    from rag.display_markdown import markdown_line

    if not argument:
        raise UsageProblem("/save FILE: the file is missing.")
    if not chat.conversation.turns:
        raise UsageProblem("Nothing has been asked yet.")
    path = Path(argument).expanduser()
    answers = [turn.answer for turn in chat.conversation.turns]
    text = "\n".join(f"## {markdown_line(answer.question)}\n\n{answer.to_markdown()}" for answer in answers)
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError as exc:
        raise UsageProblem(f"{path} exists already. Name another file.") from exc
    except OSError as exc:
        raise SourceNotFound(f"{path} cannot be written: {exc}") from exc
    if not chat.json:
        print(f"Saved {len(answers)} turns to {path}")


def _clear(chat: Chat, argument: str) -> None:
    chat.conversation.clear()
    if not chat.json:
        print("Forgotten.")


def _quit(chat: Chat, argument: str) -> None:
    chat.ended = True


def _last(chat: Chat) -> Answer:
    if not chat.conversation.turns:
        raise UsageProblem("Nothing has been asked yet.")
    return chat.conversation.turns[-1].answer


COMMANDS = {
    "help": Command(_help, "", "these lines"),
    "sources": Command(
        _sources, "[N]", "the last answer and its sources again; with a number, that quote in its place"
    ),
    "search": Command(_search, "WORDS", "the passages that fit best, without an answer"),
    "where": Command(_where, "[FILTER|off]", "which documents are asked, as `rag ask --where` has it"),
    "sessions": Command(_sessions, "", "the saved conversations"),
    "session": Command(_session, "NAME", "go on with a saved conversation, or save this one under a new name"),
    "retry": Command(_retry, "", "ask the last question again, with twice as many passages"),
    "save": Command(_save, "FILE", "write the conversation to a Markdown file"),
    "clear": Command(_clear, "", "forget the conversation, also what is saved of it"),
    "quit": Command(_quit, "", "end"),
}
