"""What a model says, piece by piece, before it has the form of an API family."""

from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what was thought before the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    """The model calls a tool; the arguments follow."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of a call's arguments, which are JSON once they are all there."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; those of the reasoning are among those of the completion."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class PromptRead:
    """The prompt has been read; comes first, where it was asked for."""

    tokens: int


@dataclass(frozen=True, slots=True)
class End:
    """The last event: why the model stopped, and what it took."""

    finish_reason: FinishReason
    usage: Usage
    stop_sequence: str | None = None
    """Which of the stop sequences it was, where that was asked for."""


Event = PromptRead | Text | Reasoning | CallBegins | CallArguments | End


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a model said."""

    content: str
    reasoning: str
    calls: tuple[Call, ...]
    logprobs: tuple[dict[str, Any], ...]
    end: End


@dataclass(slots=True)
class AnswerSoFar:
    """Puts an answer together out of its events."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[CallBegins] = field(default_factory=list)
    arguments: dict[int, list[str]] = field(default_factory=dict)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case Text():
                self.content.append(event.text)
                self.logprobs.extend(event.logprobs)
            case Reasoning():
                self.reasoning.append(event.text)
            case CallBegins():
                self.calls.append(event)
            case CallArguments():
                self.arguments.setdefault(event.index, []).append(event.text)
            case PromptRead() | End():
                pass

    def answer(self, end: End) -> Answer:
        """Return the whole."""
        calls = tuple(Call(call.id, call.name, "".join(self.arguments.get(call.index, ()))) for call in self.calls)
        return Answer("".join(self.content), "".join(self.reasoning), calls, tuple(self.logprobs), end)
