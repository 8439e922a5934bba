"""LMStudio: a model server and its models, for Python users of its REST interface."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import rag.errors as errors
from rag.display import human_bytes
from rag.display_rows import Rows
from rag.lmstudio.agent import Act, ToolUse, act
from rag.lmstudio.autostart import connect
from rag.lmstudio.chat import ChatModel, Delta, Message
from rag.lmstudio.choice import choose, named
from rag.lmstudio.http import Connection, Notify, log_notice
from rag.lmstudio.keeper import start_keeper
from rag.lmstudio.leases import FOREVER, Leases
from rag.lmstudio.models import DownloadProgress, Model, ModelType, ServerKind, list_models, server_kind
from rag.lmstudio.models import download as download_model
from rag.lmstudio.models import unload as unload_instance
from rag.lmstudio.residency import LoadedModel, ensure
from rag.lmstudio.token_scale import TEMPLATE_TOKENS, UNKNOWN_RATIO
from rag.settings import Settings, load_settings
from rag.tokens import count, prompt_count

if TYPE_CHECKING:
    from rag.lmstudio.embeddings import Embedder, FloatMatrix
    from rag.lmstudio.schemas import Form


_MODEL_COLUMNS = ("model", "type", "size", "quantisation", "longest context", "loaded")
_RUNNING_COLUMNS = ("model", "instance", "type", "context", "unloaded in", "loaded by")
_IMAGE_TOKENS = 1500  # a large picture, to models of several families


@dataclass(frozen=True, slots=True)
class Running:
    """A loaded instance. `remaining_s` are the idle seconds until we unload it, None where we never do.

    `owner` is our process that loaded it, as `pid:start time`; None where another program did.
    """

    model: str
    instance_id: str
    type: ModelType
    context_length: int | None
    ttl_s: int | None = None
    remaining_s: float | None = None
    owner: str | None = None

    @property
    def loaded_by(self) -> str | None:
        """The owner in words; None where another program loaded it."""
        return self.owner and f"lmstudio-rag, process {self.owner.partition(':')[0]}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered. `value` is the answer in the form that was asked for, None where none was.

    `finish_reason` is `stop`, or `length` where the answer was cut at `max_tokens`; `usage` is in the server's tokens.
    """

    text: str
    model: str
    reasoning: str = ""
    finish_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    value: Any = None

    def __str__(self) -> str:
        return self.text


class LMStudio:
    """A model server: its models are listed, loaded, unloaded, downloaded, asked; `with` ends what is to be ended.

    Connects at the first use, and starts the embedded engine where nothing answers on this machine. What it loads is
    unloaded after its TTL of idle time, also when this process has ended. A model that is lost is loaded again, once.
    Every method raises ServerError, as the most specific of its kinds.
    """

    def __init__(
        self, host: str | None = None, *, settings: Settings | None = None, notify: Notify = log_notice
    ) -> None:
        self.settings = replace(settings, host=host) if settings and host else settings or load_settings(host=host)
        self.notify = notify
        self._chats: dict[str | None, ChatModel] = {}
        self._embedders: dict[str | None, Embedder] = {}
        self._at_the_end: list[str] = []

    def __enter__(self) -> "LMStudio":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LMStudio({self.settings.host!r})"

    def close(self) -> None:
        """Close the connections, and unload what was loaded with a TTL of 0."""
        for chat in self._chats.values():
            chat.close()
        for embedder in self._embedders.values():
            embedder.close()
        self._chats.clear()
        self._embedders.clear()
        if "connection" in self.__dict__:
            connection = self.__dict__.pop("connection")
            leases = Leases(connection.base)
            for instance_id in self._at_the_end:
                if leases.released(instance_id):
                    unload_instance(connection, instance_id)
                    leases.forget(instance_id)
            self._at_the_end.clear()
            connection.close()

    @cached_property
    def connection(self) -> Connection:
        """The connection, made at the first use. Raises ServerUnreachable."""
        return connect(self.settings, self.notify)

    @property
    def kind(self) -> ServerKind:
        """What the server lets us do."""
        return server_kind(self.connection)

    def models(self) -> Rows[Model]:
        """Every model that the server has on disk, loaded or not."""
        return Rows(list_models(self.connection, self.kind), _MODEL_COLUMNS, _model_cells)

    def loaded(self) -> Rows[Running]:
        """The instances that are loaded, with who loaded them and when they are unloaded if nobody uses them."""
        models = self.models()
        leases, now = Leases(self.connection.base).all(), time.time()
        found = []
        for model in models:
            for instance in model.instances:
                running = Running(model.key, instance.id, model.type, instance.context_length)
                if lease := leases.get(instance.id):
                    running = replace(running, ttl_s=lease.ttl_s, remaining_s=lease.remaining_s(now), owner=lease.owner)
                found.append(running)
        return Rows(found, _RUNNING_COLUMNS, _running_cells)

    def download(self, model: str) -> Iterator[DownloadProgress]:
        """Have the server download a model, by its key or its address on Hugging Face, yielding the progress."""
        yield from download_model(self.connection, model)

    def load(
        self,
        model: str | None = None,
        *,
        model_type: ModelType = "llm",
        context_length: int = 0,
        ttl: int | None = None,
    ) -> LoadedModel:
        """Get or load: a loaded instance whose context holds `context_length` tokens, reused if there is one.

        Without a name it is the model of that type that is set, loaded, or on disk. `ttl` are idle seconds until it is
        unloaded, 0: when this object is closed, -1: never; given for an instance that we had loaded before, it holds
        from now on. What others loaded keeps its time.
        """
        ttl_s = self.settings.ttl_s if ttl is None else ttl
        if ttl_s < FOREVER:
            raise errors.UsageProblem(f"A TTL is -1 for never, 0 for the end, or so many seconds, not {ttl_s}.")
        wanted = model or (self.settings.chat_model if model_type == "llm" else self.settings.embedding_model)
        if model and (found := named(self.models(), model)):
            model_type = found.type
        if self.kind is ServerKind.PLAIN:
            raise errors.NotSupported(
                f"{self.connection.base} ({self.kind.value}) has no endpoint to load models; it loads by itself."
            )
        if self.kind is ServerKind.LEGACY:
            return self._load_just_in_time(model_type, wanted, ttl_s)
        loaded = ensure(
            self.connection, model_type, wanted, context_length, self.notify, ttl_s=ttl_s, exactly=context_length > 0
        )
        leases = Leases(self.connection.base)
        if ttl is not None and loaded.leased:
            leases.set_ttl(loaded.instance_id, ttl_s)
            if leases.ending():
                start_keeper(leases)
        if ttl_s == 0 and loaded.leased:
            self._at_the_end.append(loaded.instance_id)
        return loaded

    def _load_just_in_time(self, type_: ModelType, wanted: str | None, ttl_s: int) -> LoadedModel:
        """Before 0.4 a server loads for the request that needs it, which may say a TTL."""
        key = choose(self.models(), type_, wanted).key
        body: dict[str, Any] = {"model": key} | ({"ttl": ttl_s} if ttl_s > 0 else {})
        if type_ == "embedding":
            self.connection.request("POST", "/v1/embeddings", body | {"input": "."})
        else:
            one = {"messages": [{"role": "user", "content": "."}], "max_tokens": 1}
            self.connection.request("POST", "/v1/chat/completions", body | one)
        return ensure(self.connection, type_, key, 0, self.notify)

    def unload(self, model: str | None = None) -> list[str]:
        """Unload all instances of a model, or the one of that id, or, without a name, every one; returns their ids.

        Raises ModelNotFound where a name is given that is not loaded.
        """
        ids = [
            running.instance_id
            for running in self.loaded()
            if model is None or model == running.instance_id or model.lower() == running.model.lower()
        ]
        if model and not ids:
            raise errors.ModelNotFound(f"{model} is not loaded. `rag models ps` lists what is.")
        done = [id_ for id_ in ids if unload_instance(self.connection, id_)]
        Leases(self.connection.base).forget(*done)
        return done

    def respond(
        self,
        prompt: str | Sequence[Message],
        *,
        model: str | None = None,
        form: "Form | None" = None,
        max_tokens: int = 1024,
        temperature: float | None = None,
        on_text: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        """The model's answer to a prompt, or to messages in OpenAI's form.

        With `form`, a pydantic model, another type or a JSON Schema, the model can write nothing else, and `value` is
        the answer as a value of it; raises BadReply where it was cut before its end.
        """
        from rag.lmstudio.schemas import in_form, response_format

        asked = response_format(form) if form is not None else None
        text, reasoning, last = "", "", Delta()
        for last in self._stream(prompt, model, max_tokens, temperature, asked):
            text = last.text if last.again else text + last.text
            reasoning += last.reasoning
            if last.text:
                on_text(last.text)
        if form is not None and not text.strip():
            text = reasoning  # where thinking models put it, at the level of several LM Studio versions
        if form is not None and last.finish_reason == "length":
            raise errors.BadReply(f"The answer was cut at {max_tokens} tokens, before its form was complete.")
        return Reply(
            text=text,
            model=self.chat_model(model).model.key,
            reasoning=reasoning,
            finish_reason=last.finish_reason,
            usage=last.usage,
            value=in_form(text, form) if form is not None else None,
        )

    def respond_stream(
        self,
        prompt: str | Sequence[Message],
        *,
        model: str | None = None,
        max_tokens: int = 1024,
        temperature: float | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Generator[Delta, None, None]:
        """The model's answer in pieces, as it comes; the last has the reason why it ended.

        `tools`, in OpenAI's form, are what it may ask for; the last piece has the calls, which nobody makes here.
        """
        yield from self._stream(prompt, model, max_tokens, temperature, None, tools)

    def complete_stream(
        self, prompt: str, *, model: str | None = None, max_tokens: int = 1024, temperature: float | None = None
    ) -> Generator[Delta, None, None]:
        """What the model writes on after a text, without its template, in pieces."""
        chat = self.chat_model(model)
        chat.reserve(_estimated(_messages(prompt)) + max_tokens)
        yield from chat.complete(prompt, max_tokens=max_tokens, temperature=temperature)

    def act(
        self,
        prompt: str | Sequence[Message],
        tools: Sequence[Callable[..., Any]],
        *,
        model: str | None = None,
        max_rounds: int = 8,
        max_tokens: int = 1024,
        temperature: float | None = None,
        on_text: Callable[[str], None] = lambda text: None,
        on_tool: Callable[[ToolUse], None] = lambda use: None,
    ) -> Act:
        """Let the model call Python functions until it has an answer.

        Each function needs type hints and a docstring, which are all that the model knows of it. What it fails with is
        told to the model. The functions run in this process, with its rights: offer none that a text from elsewhere
        should not be able to call.
        """
        from rag.lmstudio.schemas import tool_of

        messages, chat = _messages(prompt), self.chat_model(model)
        offered = [tool_of(function) for function in tools]
        chat.reserve(_estimated(messages) + sum(count(str(tool.offer)) for tool in offered) + 2 * max_tokens)
        return act(
            chat,
            messages,
            offered,
            max_tokens=max_tokens,
            max_rounds=max_rounds,
            temperature=temperature,
            on_text=on_text,
            on_tool=on_tool,
        )

    def embed(self, texts: Sequence[str], *, model: str | None = None, query: bool = False) -> "FloatMatrix":
        """Unit vectors, shape (len(texts), dimension), with the prefix that the model's family needs.

        `query` for texts that search, not for those that are searched. Nothing is cut silently: a text that is too long
        becomes the mean of its parts.
        """
        import numpy as np

        from rag.lmstudio.embeddings import Embedder

        if model not in self._embedders:
            self._embedders[model] = Embedder(self.settings, model, self.notify)
        embedder = self._embedders[model]
        if query:
            return np.stack([embedder.embed_query(text) for text in texts])
        return embedder.embed_documents(texts)

    def count_tokens(self, text: str | Sequence[Message], *, model: str | None = None) -> int:
        """How many tokens a text is to the chat model, by itself; messages with what the model's template adds.

        Servers have no endpoint for it: this costs one request that reads the text and writes one token.
        """
        chat = self.chat_model(model)
        body: dict[str, Any] = {"model": chat.model.instance_id, "max_tokens": 1, "temperature": 0}
        if isinstance(text, str):
            chat.reserve(_estimated(_messages(text)) + 1)
            reply = self.connection.request("POST", "/v1/completions", body | {"prompt": text})
        else:
            chat.reserve(_estimated(text) + 1)
            reply = self.connection.request("POST", "/v1/chat/completions", body | {"messages": list(text)})
        usage = reply.get("usage") if isinstance(reply, dict) else None
        if not isinstance(usage, dict) or not isinstance(usage.get("prompt_tokens"), int):
            raise errors.BadReply(f"{self.connection.base} does not count tokens: {str(reply)[:200]}")
        return int(usage["prompt_tokens"])

    def chat_model(self, model: str | None = None) -> ChatModel:
        """What answers by that model; without a name by the one that is set, loaded, or on disk."""
        if model not in self._chats:
            self._chats[model] = ChatModel(self.settings, model, self.notify)
        return self._chats[model]

    def _stream(
        self,
        prompt: str | Sequence[Message],
        model: str | None,
        max_tokens: int,
        temperature: float | None,
        response_format: dict[str, Any] | None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Iterator[Delta]:
        messages, chat = _messages(prompt), self.chat_model(model)
        chat.reserve(_estimated(messages) + sum(count(str(tool)) for tool in tools) + max_tokens)
        return chat.stream(
            messages, max_tokens=max_tokens, temperature=temperature, response_format=response_format, tools=tools
        )


def _model_cells(model: Model) -> Sequence[object]:
    size, quantization = human_bytes(model.size_bytes), model.quantization or "-"
    longest = model.max_context_length or "-"
    return model.key, model.type, size, quantization, longest, "yes" if model.instances else ""


def _running_cells(one: Running) -> Sequence[object]:
    left = "-" if one.remaining_s is None else f"{one.remaining_s:.0f} s"
    return one.model, one.instance_id, one.type, one.context_length, left, one.loaded_by or "others"


def _messages(prompt: str | Sequence[Message]) -> Sequence[Message]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _estimated(messages: Sequence[Message]) -> int:
    """An upper estimate of what messages cost in a chat model's tokens."""
    return sum(round(_content_cost(message) * UNKNOWN_RATIO) + TEMPLATE_TOKENS for message in messages)


def _content_cost(message: Message) -> int:
    content = message.get("content") or ""
    if isinstance(content, str):
        return prompt_count(content)
    return sum(_IMAGE_TOKENS if part.get("type") == "image_url" else prompt_count(str(part)) for part in content)
