"""/v1: the knowledge base as a model called `rag`, so that any OpenAI chat client talks to one's documents."""

import re
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

import rag.errors as errors
from rag.answer import Event, Said
from rag.conversation import Conversation
from rag.service.desk import Desk, TheDesk
from rag.service.forms import CitationForm
from rag.service.problems import KNOWLEDGE, MODELS, Refused, SafeJson, problem_of
from rag.service.streams import COMMENT, event_stream, outcome
from rag.sessions import Turn
from rag.types import Answer, Cut
from rag.web.sse import DONE, event
from rag.web.threads import Notice, Put, Silence

MODEL = "rag"
# Between an answer and where it comes from, which no model is to read again as its own words.
SOURCES = "\n\n---\n\n**Sources**\n\n"
router = APIRouter(prefix="/v1", tags=["OpenAI"], default_response_class=SafeJson)

# Some clients take an escaped bracket for the begin of a formula. With no bracket or colon behind it, it makes no link.
_MARKER = re.compile(r"\\\[(\d{1,3}|unverified)\\\](?![(:])")
_LONGEST = 200_000  # characters of one message
_STREAMED = "The completion, or with `stream` its chunks as server-sent events, ended by `data: [DONE]`."


class Part(BaseModel):
    """A part of a message; what is no text is passed over."""

    type: str
    text: Annotated[str, Field(max_length=_LONGEST)] = ""


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str, Field(max_length=_LONGEST)] | Annotated[list[Part], Field(max_length=100)] | None = None

    @property
    def words(self) -> str:
        """What is said in it, without the sources below an answer of ours."""
        whole = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content or ())
        return (whole.partition(SOURCES)[0] if self.role == "assistant" else whole).strip()


class StreamOptions(BaseModel):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """A conversation. Fields of OpenAI's that are not here, as `temperature`, are taken and change nothing."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(MODEL, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=500)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1, description="One answer at a time.")


class ModelForm(BaseModel):
    """A model, as OpenAI lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "lmstudio-rag"


class ModelList(BaseModel):
    """The models of this address: one."""

    object: Literal["list"] = "list"
    data: list[ModelForm]


class AnswerMessage(BaseModel):
    """What is answered: the text with `[n]` markers, and its sources below."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens of the chat model; zeros where none was asked."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Completion(BaseModel):
    """An answer. `citations` is ours: what stands behind each marker; `abstained` says that nothing does."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    citations: list[CitationForm]
    abstained: bool


@router.get("/models", summary="List models")
def models() -> ModelList:
    """One model, which answers from the documents."""
    return ModelList(data=[ModelForm(id=MODEL)])


@router.get("/models/{model}", responses={404: KNOWLEDGE[404]}, summary="Look at a model")
def model(model: Annotated[str, Path(max_length=200)]) -> ModelForm:
    """The model of that name."""
    _check(model)
    return ModelForm(id=MODEL)


@router.post(
    "/chat/completions",
    responses=KNOWLEDGE | MODELS | {200: {"description": _STREAMED, "content": {"text/event-stream": {}}}},
    response_model=Completion,
    summary="Answer the last message from the documents",
)
async def chat(desk: TheDesk, request: Request, body: CompletionRequest) -> Any:
    """Answer what the user said last, understood from the turns before it. System messages change nothing.

    A stream brings the model's draft as `reasoning_content` while it is written; the checked answer, whose markers
    count citations, follows as `content`.
    """
    _check(body.model)
    _question(body)
    asked = desk.in_turn(partial(_asked, desk, body))
    if body.stream:
        return event_stream(
            _chunks(asked, usage=bool(body.stream_options and body.stream_options.include_usage)), _error
        )
    answer = await outcome(request, asked)
    assert isinstance(answer, Answer)
    return Completion(
        id=_new_id(),
        created=int(time.time()),
        model=MODEL,
        choices=[Choice(message=AnswerMessage(content=written(answer)), finish_reason=_finish(answer))],
        usage=Usage(**answer.usage),
        citations=answer.to_dict()["citations"],
        abstained=answer.abstained,
    )


def written(answer: Answer) -> str:
    """The answer as Markdown, its sources below; what documents say can become no link or image in a client."""
    text, _, sources = answer.to_markdown().partition("\n\n1. ")
    text = _MARKER.sub(r"[\1]", text)
    return f"{text}{SOURCES}1. {sources}".rstrip() if sources else text.rstrip()


def _check(name: str) -> None:
    if name != MODEL:
        raise Refused(404, f"There is no model {name!r} here; the only one is {MODEL!r}.", "model_not_found")


def _question(body: CompletionRequest) -> str:
    question = next((turn.words for turn in reversed(body.messages) if turn.role == "user"), "")
    if not question:
        raise errors.UsageProblem("No message of the user holds a question.")
    return question


def _asked(desk: Desk, body: CompletionRequest, put: Put[Event]) -> None:
    conversation = Conversation(desk.kb)
    conversation.turns = _turns(body)
    with closing(conversation.ask_stream(_question(body))) as events:
        for one in events:
            if isinstance(one, Answer):
                desk.metrics.answered(one)
            put(one)


def _turns(body: CompletionRequest) -> list[Turn]:
    """The questions before the last one, each with what was answered to it."""
    turns: list[Turn] = []
    question, said = "", ""
    for one in body.messages:
        if one.role == "user":
            if question:
                turns.append(Turn(Answer(question, said, not said, (), (), "")))
            question, said = one.words, ""
        elif one.role == "assistant":
            said = one.words
    return turns


async def _chunks(asked: AsyncGenerator[Event | Notice | Silence, None], *, usage: bool) -> AsyncGenerator[bytes, None]:
    head = {"id": _new_id(), "object": "chat.completion.chunk", "created": int(time.time()), "model": MODEL}

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        told = {"usage": None} if usage else {}
        return event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **told, **more})

    yield chunk({"role": "assistant", "content": ""})
    async with aclosing(asked):
        async for one in asked:
            match one:
                case Silence():
                    yield COMMENT
                case Notice():
                    yield chunk({"reasoning_content": f"{one.message}\n"})
                case Said():
                    if draft := one.reasoning + one.text:
                        yield chunk({"reasoning_content": f"\n\n{draft}" if one.again else draft})
                case Answer():
                    yield chunk({"content": written(one)})
                    citations = one.to_dict()["citations"]
                    yield chunk({}, _finish(one), citations=citations, abstained=one.abstained)
                    if usage:
                        yield event({**head, "choices": [], "usage": Usage(**one.usage).model_dump()})
    yield DONE


def _error(exc: errors.RagError | Refused) -> bytes:
    return event({"error": problem_of(exc).model_dump()})


def _finish(answer: Answer) -> Literal["stop", "length"]:
    return "length" if answer.cut is Cut.LENGTH else "stop"


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
