"""Messages to text, as it comes, with reasoning and tool calls kept apart."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Required, TypedDict, Unpack, cast

import rag.errors as errors
from rag.lmstudio.http import Notify, log_notice
from rag.lmstudio.residency import LOST, LoadedModel, Resident, check_answering
from rag.lmstudio.token_scale import TokenScale
from rag.settings import Settings

Message = Mapping[str, Any]  # {"role": "user", "content": "…"}, or another of OpenAI's forms

UNKNOWN_CONTEXT = 4096  # tokens, where a server does not say what it loaded


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called; `arguments` is what it wrote, which should be a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last has a `finish_reason` (`stop`, `length`, `tool_calls`) and, if counted, `usage`.

    `again` says that all text before this piece is void: the model was lost under it and, asked again, said something
    else.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    tool_calls: tuple[ToolCall, ...] = ()
    again: bool = False


class AskKeywords(TypedDict, total=False):
    """How a chat model is asked: `tools` and `response_format` in OpenAI's form, `tool_choice` by its words, which are
    all that LM Studio takes: auto, none, required. Without a `temperature` or a `timeout_s` those of the settings hold.
    """

    max_tokens: Required[int]
    temperature: float | None
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str
    response_format: Mapping[str, Any] | None
    timeout_s: float | None


class ChatModel:
    """Asks the server's chat model."""

    def __init__(
        self,
        settings: Settings,
        wanted: str | None = None,
        notify: Notify = log_notice,
        *,
        context_length: int | None = None,
    ) -> None:
        self.requests = 0  # sent so far: what a way of searching or answering costs
        self.scale = TokenScale()
        self._settings = settings
        self._fixed_context = context_length or settings.chat_context
        self._resident = Resident(
            settings,
            "llm",
            wanted or settings.chat_model,
            self._fixed_context,
            notify,
            exactly=bool(self._fixed_context),
        )

    @property
    def model(self) -> LoadedModel:
        """The loaded model. Raises ServerError."""
        return self._resident.model

    @property
    def context_length(self) -> int:
        """How many tokens of prompt and answer together the loaded model takes."""
        return self.model.context_length or UNKNOWN_CONTEXT

    def reserve(self, tokens: int) -> int:
        """Load the model with a context of so many tokens, if it can be; returns how many it takes.

        A context that the settings name is left as it is.
        """
        if not self._fixed_context:
            self._resident.reserve(tokens)
        return self.context_length

    def warmth(self, how: AskKeywords) -> float:
        """The temperature that a request has."""
        asked = how.get("temperature")
        return self._settings.temperature if asked is None else asked

    def close(self) -> None:
        """Close the connection; the model stays loaded for its TTL."""
        self._resident.close()

    def stream(self, messages: Sequence[Message], **how: Unpack[AskKeywords]) -> Generator[Delta, None, None]:
        """The answer in pieces. Raises ContextOverflow, or another ServerError, also in the middle of a stream.

        A model that is lost is loaded again, once, and asked again: what it has said is not said twice as long as it
        says the same, and a Delta with `again` tells where it does not. Raises OutOfTime where the server is silent for
        too long.
        """
        body: dict[str, Any] = {
            "messages": list(messages),
            "max_tokens": how["max_tokens"],
            "temperature": self.warmth(how),
        }
        if tools := how.get("tools"):
            body |= {"tools": list(tools), "tool_choice": how.get("tool_choice", "auto")}
        if (response_format := how.get("response_format")) is not None:
            body["response_format"] = response_format
        if (timeout_s := how.get("timeout_s")) is not None:
            body["timeout"] = timeout_s  # the client's own word; it is not sent
        said = ""
        with self._resident.busy():
            deltas = self._resident.using(lambda loaded: self._begun(loaded, body))
            model = self.model
            try:
                with closing(deltas):
                    for delta in deltas:
                        said += delta.text
                        self._learn(body, delta.usage)
                        yield delta
                return
            except LOST as exc:
                self._resident.lost(model, exc)
        with self._resident.busy() as loaded:
            yield from _after(said, self._begun(loaded, body))

    def complete(
        self, prompt: str, *, max_tokens: int, temperature: float | None = None
    ) -> Generator[Delta, None, None]:
        """What the model writes on after a text, which no template is put around, in pieces. Raises as `stream` does.

        A model that is lost before its first word is loaded again, once.
        """
        body: dict[str, Any] = {
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": self._settings.temperature if temperature is None else temperature,
        }
        with (
            self._resident.busy(),
            closing(self._resident.using(lambda loaded: self._completing(loaded, body))) as said,
        ):
            yield from said

    def _completing(self, model: LoadedModel, body: dict[str, Any]) -> Generator[Delta, None, None]:
        """Start the request, and wait for no chunk: a server that streams no completions sends an error at once."""
        connection = self._resident.connection
        self.requests += 1
        with connection.translated_openai():
            stream = connection.openai.completions.create(
                model=model.instance_id,
                stream=True,
                stream_options={"include_usage": True},
                extra_body=self._resident.request_fields,
                **cast("Any", body),
            )
        return self._completed(stream)

    def _completed(self, stream: Any) -> Generator[Delta, None, None]:
        finish: str | None = None
        usage: dict[str, int] = {}
        with self._resident.connection.translated_openai(), closing(stream):
            for chunk in stream:
                usage = _counted(chunk) or usage
                for choice in chunk.choices or ():
                    finish = choice.finish_reason or finish
                    if choice.text:
                        yield Delta(text=choice.text)
        if finish is None:
            raise errors.BadReply(f"{self.model.key} ended a completion without a reason.")
        yield Delta(finish_reason=finish, usage=usage)

    def _learn(self, body: dict[str, Any], usage: Mapping[str, int]) -> None:
        """Learn what a prompt of plain text has cost."""
        contents = [message.get("content") for message in body["messages"]]
        if usage.get("prompt_tokens") and "tools" not in body and all(isinstance(text, str) for text in contents):
            self.scale.saw("\n".join(contents), usage["prompt_tokens"])

    def _begun(self, model: LoadedModel, body: dict[str, Any]) -> Generator[Delta, None, None]:
        """Start the request and wait for its first chunk, which shows who answers."""
        connection = self._resident.connection
        self.requests += 1
        with connection.translated_openai():
            stream = connection.openai.chat.completions.create(
                model=model.instance_id,
                stream=True,
                stream_options={"include_usage": True},
                extra_body=self._resident.request_fields,
                **cast("Any", body),
            )
            chunks = iter(stream)
            first = next(chunks, None)
        if first is None:
            raise errors.BadReply(f"{connection.base} sent an empty stream for {model.instance_id}.")
        check_answering(model, first.model)
        return self._deltas(stream, first, chunks)

    def _deltas(self, stream: Any, first: Any, rest: Iterator[Any]) -> Generator[Delta, None, None]:
        finish: str | None = None
        usage: dict[str, int] = {}
        calls: dict[int, dict[str, str]] = {}
        silent = True
        with self._resident.connection.translated_openai(), closing(stream):
            for chunk in _chained(first, rest):
                usage = _counted(chunk) or usage
                for choice in chunk.choices or ():
                    finish = choice.finish_reason or finish
                    delta = choice.delta
                    _collect(calls, delta.tool_calls or ())
                    reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
                    if delta.content or reasoning:
                        silent = False
                        yield Delta(text=delta.content or "", reasoning=str(reasoning))
        if finish is None or (silent and not calls and finish != "length"):
            # Some builds answer a prompt that is too long with a well-formed stream that holds nothing.
            raise errors.ContextOverflow(
                f"{self.model.key} ended its answer without a word, as LM Studio does where a prompt is longer than "
                f"the context of {self.context_length} tokens."
            )
        yield Delta(
            finish_reason=finish,
            usage=usage,
            tool_calls=tuple(ToolCall(**call) for _, call in sorted(calls.items())),
        )


def _counted(chunk: Any) -> dict[str, int]:
    """The tokens that a chunk counts, if it does."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {} if chunk.usage is None else {name: getattr(chunk.usage, name) for name in names}


def _collect(calls: dict[int, dict[str, str]], pieces: Sequence[Any]) -> None:
    """Put the pieces of tool calls, as a stream brings them, to those that came before."""
    for piece in pieces:
        call = calls.setdefault(piece.index or 0, {"id": "", "name": "", "arguments": ""})
        call["id"] = piece.id or call["id"] or f"call_{piece.index or 0}"
        if piece.function is not None:
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""


def _after(said: str, deltas: Iterator[Delta]) -> Iterator[Delta]:
    """An answer that is given again, without what was `said` before as long as it is the same."""
    repeated, same = "", bool(said)
    for delta in deltas:
        if not same or delta.finish_reason:
            if same and repeated != said:
                yield Delta(again=True, text=repeated)  # this time it ended sooner
            yield delta
            continue
        repeated += delta.text
        if said.startswith(repeated):
            continue
        same = False
        if repeated.startswith(said):
            yield Delta(text=repeated[len(said) :])
        else:
            yield Delta(text=repeated, again=True)


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
