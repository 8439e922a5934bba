"""/api/kb: what the knowledge base holds, searches, answers, evaluation."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Protocol, Unpack

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

import rag.errors as errors
from rag.answer import Event, Said
from rag.search.options import Expand, Mode, Rerank, SearchKeywords
from rag.service.desk import Desk, TheDesk
from rag.service.forms import (
    AnswerForm,
    AskRequest,
    EvaluateRequest,
    EvaluationForm,
    HitsForm,
    IndexForm,
    Limit,
    Paths,
    QuestionText,
    ScoresForm,
    SearchRequest,
    StatusForm,
    Where,
)
from rag.service.problems import KNOWLEDGE, MODELS, SafeJson
from rag.service.streams import COMMENT, error_event, event_stream, outcome
from rag.types import Answer
from rag.web.sse import event
from rag.web.threads import Notice, Put, Silence

router = APIRouter(prefix="/api/kb", tags=["knowledge base"], default_response_class=SafeJson)

_EVENTS = (
    "The answer as JSON, or with `stream` server-sent events: `status` {message} while models load, `reasoning` {text} "
    "and `token` {text} as the model writes them, `again` {} where what was written before is void, at last `answer`, "
    "which is the checked answer as JSON and takes the place of all tokens, or `error` {error}."
)

ANSWERS = KNOWLEDGE | MODELS | {200: {"description": _EVENTS, "content": {"text/event-stream": {}}}}


@router.get("", responses=KNOWLEDGE, summary="What the knowledge base holds")
def status(desk: TheDesk) -> StatusForm:
    """Counts, the embedding model, and how far the indexes go."""
    ingesting = desk.ingesting.locked()
    if not desk.kb.exists:
        return StatusForm(exists=False, ingesting=ingesting)
    found = desk.kb.status()
    return StatusForm(
        exists=True,
        documents=found.documents,
        failed=found.failed,
        chunks=found.chunks,
        bytes=found.bytes,
        embedding_model=found.identity.embedding_model,
        dimension=found.identity.dimension,
        quantization=found.identity.quantization,
        chunk_tokens=found.identity.chunk_tokens,
        words_index=IndexForm(**asdict(found.coverage.words)),
        vector_index=IndexForm(**asdict(found.coverage.vectors)),
        roots=sorted(found.roots),
        ingesting=ingesting,
    )


@router.get("/search", responses=KNOWLEDGE | MODELS, summary="Search", response_model=HitsForm)
async def search_by_query(
    desk: TheDesk,
    request: Request,
    question: Annotated[QuestionText, Query()],
    where: Annotated[Where, Query()] = [],  # noqa: B006  FastAPI copies it
    paths: Annotated[Paths, Query()] = [],  # noqa: B006
    mode: Mode = Mode.HYBRID,
    limit: Annotated[Limit | None, Query()] = None,
) -> Any:
    """The passages that best fit a question, best first."""
    body = SearchRequest(question=question, where=where, paths=paths, mode=mode, limit=limit)
    return await search(desk, request, body)


@router.post("/search", responses=KNOWLEDGE | MODELS, summary="Search", response_model=HitsForm)
async def search(desk: TheDesk, request: Request, body: SearchRequest) -> Any:
    """The passages that best fit a question, best first. By `words` alone it needs no model server.

    What asks the chat model, to judge or for other questions, waits for its turn as questions do.
    """
    options = desk.kb.options(**body.keywords())
    if options.rerank is Rerank.LLM or options.expand is not Expand.OFF:
        return await outcome(request, desk.in_turn(partial(_searched, desk, body)))
    return await run_in_threadpool(_search, desk, body)


@router.post(
    "/ask",
    responses=ANSWERS,
    summary="Ask",
    response_model=AnswerForm,
)
async def ask(desk: TheDesk, request: Request, body: AskRequest) -> Any:
    """Answer a question from the documents. Who hangs up stops the model."""
    return await answered(desk, request, body, desk.kb.ask_stream)


@router.post("/evaluate", responses=KNOWLEDGE | MODELS, summary="Measure retrieval")
async def evaluate(desk: TheDesk, request: Request, body: EvaluateRequest) -> EvaluationForm:
    """nDCG, recall, MRR and gold spans on questions with known answers, without a judge model."""
    scores = await outcome(request, desk.in_turn(partial(_evaluated, desk, body)))
    assert isinstance(scores, EvaluationForm)
    return scores


class AskStream(Protocol):
    """`KnowledgeBase.ask_stream`, or a conversation's."""

    def __call__(
        self, question: str, *, strict: bool = False, **how: Unpack[SearchKeywords]
    ) -> Generator[Event, None, None]:
        """What the model says, and at last the Answer."""


async def answered(desk: Desk, request: Request, body: AskRequest, ask: AskStream) -> Any:
    """What a route that asks answers: the events as they come, or the answer alone."""
    await run_in_threadpool(_refuse_early, desk, body)
    asked = desk.in_turn(partial(_asked, desk, body, ask))
    if body.stream:
        return event_stream(_events(asked), error_event)
    answer = await outcome(request, asked)
    assert isinstance(answer, Answer)
    return answer.to_dict()


def _search(desk: Desk, body: SearchRequest) -> dict[str, Any]:
    return {"hits": [hit.to_dict() for hit in desk.kb.search(body.question, **body.keywords())]}


def _searched(desk: Desk, body: SearchRequest, put: Put[dict[str, Any]]) -> None:
    put(_search(desk, body))


def _refuse_early(desk: Desk, body: AskRequest) -> None:
    """Raise, before a stream has begun, what can be known of a question that cannot be answered."""
    desk.kb.searcher.selection(desk.kb.options(**body.keywords()))


def _asked(desk: Desk, body: AskRequest, ask: AskStream, put: Put[Event]) -> None:
    with closing(ask(body.question, strict=body.strict, **body.keywords())) as events:
        for one in events:
            if isinstance(one, Answer):
                desk.metrics.answered(one)
            put(one)


async def _events(asked: AsyncGenerator[Event | Notice | Silence, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(asked):
        async for one in asked:
            match one:
                case Silence():
                    yield COMMENT
                case Notice():
                    yield event({"message": one.message}, "status")
                case Answer():
                    yield event(one.to_dict(), "answer")
                case Said():
                    if one.again:
                        yield event({}, "again")
                    if one.reasoning:
                        yield event({"text": one.reasoning}, "reasoning")
                    if one.text:
                        yield event({"text": one.text}, "token")


def _evaluated(desk: Desk, body: EvaluateRequest, put: Put[EvaluationForm | None]) -> None:
    from rag.evaluation.datasets import Question
    from rag.evaluation.retrieval import DEFAULT, WAYS, own_queries, way_scores

    questions = [
        Question(
            id=str(number),
            question=one.question.strip(),
            answer=one.answer or "",
            source=one.source or "",
            quote=one.quote or "",
            start=-1 if one.start is None else one.start,
            end=-1 if one.end is None else one.end,
            line=number,
        )
        for number, one in enumerate(body.questions, 1)
    ]
    if nowhere := next((q.line for q in questions if q.quote.strip() and not q.source.strip()), 0):
        raise errors.UsageProblem(f"Question {nowhere} has a quote and does not say the source that it stands in.")
    queries = own_queries(desk.kb, questions)

    def heard(texts: Any) -> Any:
        for one in texts:
            put(None)  # where nobody waits for the figures any more, this ends it
            yield one

    ways = WAYS if body.ablation else {DEFAULT: WAYS[DEFAULT]}
    found = {name: way_scores(queries, partial(desk.kb.search, **how), track=heard) for name, how in ways.items()}
    put(
        EvaluationForm(
            questions=len(queries),
            unanswerable=len(questions) - len(queries),
            ways={
                name: ScoresForm(measures=of.means, intervals=of.intervals, seconds=of.seconds)
                for name, of in found.items()
            },
        )
    )
