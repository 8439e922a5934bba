"""From the text that a model writes to events: what was thought, what is answered, which tools are called."""

import json
import re
from typing import Any, Protocol

from rag.engine.conversation import Reading
from rag.engine.events import CallArguments, CallBegins, Event, Reasoning, Text
from rag.engine.ids import tool_call_id
from rag.engine.spans import Kind, Spans
from rag.engine.tools import END_REQUEST, REQUEST

_CALL_OPENS = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')


class Reader(Protocol):
    """Reads an answer that comes in pieces."""

    def feed(self, text: str, /) -> list[Event]:
        """Take the next piece; return what has become certain."""
        ...

    def rest(self) -> list[Event]:
        """Return what was held back, at the end."""
        ...


def reader(reading: Reading) -> Reader:
    """Return a reader for an answer that may open with `<think>`, and may hold calls in one of our own forms."""
    match reading:
        case "verbatim":
            return PlainText()
        case "plain":
            return Thoughts(PlainText())
        case "tool_requests":
            return Thoughts(ToolRequests())
        case "one_call":
            return Thoughts(OneCall())


class PlainText:
    """All of it is the answer: llama.cpp has taken the calls out, if there were any."""

    def feed(self, text: str) -> list[Event]:
        """Return the piece."""
        return [Text(text)] if text else []

    def rest(self) -> list[Event]:
        """Return nothing, nothing is held back."""
        return []


class Thoughts:
    """Takes a leading `<think>` span away, where llama.cpp has not done it; a reader of its own reads the rest.

    The white space between the thoughts and the answer belongs to neither.
    """

    def __init__(self, answer: Reader) -> None:
        self._answer = answer
        self._spans = Spans("<think>", "</think>", leading=True)
        self._between = False

    def feed(self, text: str) -> list[Event]:
        """Take the next piece."""
        return self._events(self._spans.feed(text))

    def rest(self) -> list[Event]:
        """Return what was held back."""
        return [*self._events(self._spans.rest()), *self._answer.rest()]

    def _events(self, pieces: list[tuple[Kind, str]]) -> list[Event]:
        events: list[Event] = []
        for kind, text in pieces:
            if kind == "inside":
                events.append(Reasoning(text))
            elif kind == "closed":
                self._between = True
            elif answer := text.lstrip() if self._between else text:
                self._between = False
                events += self._answer.feed(answer)
        return events


class ToolRequests:
    """Calls in the default form. What is marked as a call and is none stays in the text, as in LM Studio."""

    def __init__(self) -> None:
        self._spans = Spans(REQUEST, END_REQUEST)
        self._inside = ""
        self._calls = 0

    def feed(self, text: str) -> list[Event]:
        """Take the next piece."""
        events: list[Event] = []
        for kind, piece in self._spans.feed(text):
            if kind == "inside":
                self._inside += piece
            elif kind == "closed":
                events += self._call(f"{REQUEST}{self._inside}{END_REQUEST}")
                self._inside = ""
            else:
                events.append(Text(piece))
        return events

    def rest(self) -> list[Event]:
        """Return what was held back; a call that was never closed is one too where its JSON is whole."""
        for kind, piece in self._spans.rest():
            if kind == "outside":
                return [Text(piece)]
            self._inside += piece
        return self._call(REQUEST + self._inside) if self._inside else []

    def _call(self, written: str) -> list[Event]:
        # Small models close a request with the mark of a result, or not at all: what counts is that the JSON is whole.
        try:
            call: Any
            call, end = json.JSONDecoder().raw_decode(inside := written.removeprefix(REQUEST).lstrip())
            name, arguments = call["name"], call.get("arguments", {})
            if (rest := inside[end:].strip()) and not rest.startswith("[END"):
                return [Text(written)]
        except (ValueError, TypeError, KeyError):
            return [Text(written)]
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return [Text(written)]
        index, self._calls = self._calls, self._calls + 1
        return [
            CallBegins(index, tool_call_id(), name),
            CallArguments(index, json.dumps(arguments, ensure_ascii=False)),
        ]


class OneCall:
    """An answer that a grammar made one call, `{"name": …, "arguments": …}`: its arguments come out as they come in."""

    def __init__(self) -> None:
        self._opening = ""
        self._begun = False
        self._held = ""

    def feed(self, text: str) -> list[Event]:
        """Take the next piece."""
        events: list[Event] = []
        if not self._begun:
            self._opening += text
            # What follows must be there too: the white space before the arguments is not theirs.
            if not (opening := _CALL_OPENS.match(self._opening)) or opening.end() == len(self._opening):
                return []
            self._begun = True
            text = self._opening[opening.end() :]
            events.append(CallBegins(0, tool_call_id(), json.loads(opening.group(1))))
        # The last brace closes the call, not the arguments, and only the end shows which one is the last.
        self._held += text
        sure = len(self._held.rstrip("} \t\r\n"))
        if sure:
            events.append(CallArguments(0, self._held[:sure]))
            self._held = self._held[sure:]
        return events

    def rest(self) -> list[Event]:
        """Return what was held back, without the brace that closes the call."""
        if not self._begun:
            return [Text(self._opening)] if self._opening else []
        closing = self._held.rstrip()
        arguments = closing.removesuffix("}").rstrip()
        return [CallArguments(0, arguments)] if arguments else []
