"""A model that acts: it calls Python functions, sees their results, and goes on until it has an answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Required, TypedDict, Unpack

import rag.errors as errors
from rag.lmstudio.chat import ChatModel, Message, ToolCall
from rag.lmstudio.schemas import Tool, calls_in_text, result_text
from rag.quoting import defused


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call that the model made: `arguments` as it wrote them, `result` as it was told; `failed` if by an error."""

    name: str
    arguments: str
    result: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """What came of it: the last answer, the calls in order, and the whole conversation to go on from.

    `rounds` counts the requests; `usage` is their sum, in the server's tokens.
    """

    text: str
    uses: tuple[ToolUse, ...]
    messages: tuple[Message, ...]
    rounds: int
    usage: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Turn:
    """One request and what the model made of it: calls, or, where there are none, its last words.

    `repeats` says that it only made calls that it had made before, as small models do without end.
    """

    said: str
    uses: tuple[ToolUse, ...]
    usage: dict[str, int]
    repeats: bool = False


class ActKeywords(TypedDict, total=False):
    """How a model acts: for each request `max_tokens` and a `temperature`, at most `max_rounds` requests, and who hears
    what it says and what came of its calls.
    """

    max_tokens: Required[int]
    max_rounds: Required[int]
    temperature: float | None
    on_text: Callable[[str], None]
    on_tool: Callable[[ToolUse], None]


def act(
    model: ChatModel,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    **how: Unpack[ActKeywords],
) -> Act:
    """Let the model call tools until it has an answer, in at most `max_rounds` requests; `turns` tells how.

    Raises ServerError, and UsageProblem for less than one round; KeyboardInterrupt passes through.
    """
    if how["max_rounds"] < 1:
        raise errors.UsageProblem(f"max_rounds is {how['max_rounds']}; it takes at least one to get an answer.")
    talk: list[Message] = list(messages)
    made = list(turns(model, talk, tools, **how))
    usage: dict[str, int] = {}
    for turn in made:
        usage = added(usage, turn.usage)
    return Act(made[-1].said, tuple(use for turn in made for use in turn.uses), tuple(talk), len(made), usage)


def added(usage: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """What two requests cost together."""
    return {name: usage.get(name, 0) + more.get(name, 0) for name in {**usage, **more}}


def turns(
    model: ChatModel,
    talk: list[Message],
    tools: Sequence[Tool],
    *,
    max_tokens: int,
    max_rounds: int,
    temperature: float | None = None,
    on_text: Callable[[str], None] = lambda text: None,
    on_tool: Callable[[ToolUse], None] = lambda use: None,
) -> Iterator[Turn]:
    """Let the model call tools, a turn at a time; `talk` grows by what it says and is told.

    The last of `max_rounds` requests offers no tools, nor does one after a round that only repeated earlier calls. A
    function that fails, arguments that do not fit and names that do not exist are told to the model, which may do
    better. Raises ServerError; KeyboardInterrupt passes through.
    """
    by_name = {tool.name: tool for tool in tools}
    made: set[ToolCall] = set()
    last = max_rounds <= 1
    for round_ in range(1, max_rounds + 1):
        last = last or round_ == max_rounds
        said = ""
        calls: tuple[ToolCall, ...] = ()
        usage: dict[str, int] = {}
        # In the last round no functions are offered: with `tool_choice: none` small models write calls all the same.
        for delta in model.stream(
            talk, max_tokens=max_tokens, temperature=temperature, tools=() if last else [tool.offer for tool in tools]
        ):
            said = delta.text if delta.again else said + delta.text
            calls = delta.tool_calls or calls
            usage = added(usage, delta.usage)
            if delta.text:
                on_text(delta.text)
        if last or not (calls or (written := calls_in_text(said, by_name))):
            talk.append({"role": "assistant", "content": said})
            yield Turn(said, (), usage)
            return
        recognised = bool(calls)
        calls = calls or tuple(ToolCall(f"call_{round_}_{at}", *call) for at, call in enumerate(written))
        told = []
        for call in calls:
            use = _used(call, by_name)
            told.append(use)
            on_tool(use)
        talk += _in_its_own_form(said, calls, told) if recognised else _in_words(said, told)
        same = {replace(call, id="") for call in calls}
        last = same <= made  # it goes round in a circle
        made |= same
        yield Turn(said, tuple(told), usage, last)


def _in_its_own_form(said: str, calls: Sequence[ToolCall], uses: Sequence[ToolUse]) -> list[Message]:
    asked = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
        for call in calls
    ]
    return [
        {"role": "assistant", "content": said, "tool_calls": asked},
        *(
            {"role": "tool", "tool_call_id": call.id, "content": defused(use.result)}
            for call, use in zip(calls, uses, strict=True)
        ),
    ]


def _in_words(said: str, uses: Sequence[ToolUse]) -> list[Message]:
    """For a model whose calls its server did not recognise: its template knows no results either."""
    results = "\n".join(f"{use.name}({use.arguments}) gave: {defused(use.result)}" for use in uses)
    return [
        {"role": "assistant", "content": said},
        {"role": "user", "content": f"{results}\nNow answer the question in a sentence, or call another function."},
    ]


def _used(call: ToolCall, tools: dict[str, Tool]) -> ToolUse:
    tool = tools.get(call.name)
    if tool is None:
        told = f"Error: there is no function {call.name!r}. There are: {', '.join(tools)}."
        return ToolUse(call.name, call.arguments, told, failed=True)
    try:
        return ToolUse(call.name, call.arguments, result_text(tool.call(call.arguments)))
    except ValueError as exc:
        told = f"Error: {exc}"
    except Exception as exc:  # noqa: BLE001  a boundary: what a user's function raises is for the model to know
        told = f"Error: {type(exc).__name__}: {exc}"
    return ToolUse(call.name, call.arguments, told, failed=True)
