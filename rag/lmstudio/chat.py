"""Messages to text, as it comes, with reasoning kept apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import rag.errors as errors
from rag.lmstudio.http import Notify, log_notice
from rag.lmstudio.residency import LoadedModel, Resident, check_answering
from rag.settings import Settings

Message = dict[str, str]  # {"role": "user", "content": "…"}

UNKNOWN_CONTEXT = 4096  # tokens, where a server does not say what it loaded


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last has a `finish_reason` (`stop`, `length`) and, if the server counts, `usage`."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)


class ChatModel:
    """Asks the server's chat model."""

    def __init__(self, settings: Settings, wanted: str | None = None, notify: Notify = log_notice) -> None:
        self._settings = settings
        self._resident = Resident(settings, "llm", wanted or settings.chat_model, settings.chat_context, notify)

    @property
    def model(self) -> LoadedModel:
        """The loaded model. Raises ServerError."""
        return self._resident.model

    @property
    def context_length(self) -> int:
        """How many tokens of prompt and answer together the loaded model takes."""
        return self.model.context_length or UNKNOWN_CONTEXT

    def close(self) -> None:
        """Close the connection; the model stays loaded."""
        self._resident.close()

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[Delta]:
        """The answer in pieces. Raises ContextOverflow, or another ServerError, also in the middle of a stream.

        A model that is gone is loaded again as long as nothing was said; half an answer is not started over.
        """
        with self._resident.busy():
            yield from self._stream(messages, max_tokens)

    def _stream(self, messages: Sequence[Message], max_tokens: int) -> Iterator[Delta]:
        chunks, first = self._resident.using(lambda model: self._open(model, messages, max_tokens))
        finish: str | None = None
        usage: dict[str, int] = {}
        with self._resident.connection.translated_openai():
            for chunk in _chained(first, chunks):
                if chunk.usage is not None:
                    usage = {
                        "prompt_tokens": chunk.usage.prompt_tokens,
                        "completion_tokens": chunk.usage.completion_tokens,
                        "total_tokens": chunk.usage.total_tokens,
                    }
                for choice in chunk.choices or ():
                    finish = choice.finish_reason or finish
                    delta = choice.delta
                    reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
                    if delta.content or reasoning:
                        yield Delta(text=delta.content or "", reasoning=str(reasoning))
        if finish is None:
            # Some builds answer a prompt that is too long with a well-formed stream that holds nothing.
            raise errors.BadReply(f"{self.model.key} ended its answer without a reason. Is the prompt too long for it?")
        yield Delta(finish_reason=finish, usage=usage)

    def _open(self, model: LoadedModel, messages: Sequence[Message], max_tokens: int) -> tuple[Iterator[Any], Any]:
        """Start the request and wait for its first chunk, which shows who answers."""
        connection = self._resident.connection
        with connection.translated_openai():
            stream = connection.openai.chat.completions.create(
                model=model.instance_id,
                messages=cast("Any", list(messages)),
                max_tokens=max_tokens,
                temperature=self._settings.temperature,
                stream=True,
                stream_options={"include_usage": True},
                extra_body=self._resident.request_fields,
            )
            chunks = iter(stream)
            first = next(chunks, None)
        if first is None:
            raise errors.BadReply(f"{connection.base} sent an empty stream for {model.instance_id}.")
        check_answering(model, first.model)
        return chunks, first


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
