"""/api/kb/conversations: conversations that are kept, the same that `rag chat` goes on with."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool

from rag.conversation import Conversation
from rag.location import whole
from rag.service.desk import Desk, TheDesk
from rag.service.forms import (
    AnswerForm,
    AskRequest,
    ConversationForm,
    ConversationRow,
    ConversationsForm,
    DeletedForm,
    TurnForm,
)
from rag.service.kb_routes import ANSWERS, answered
from rag.service.problems import KNOWLEDGE, Refused, SafeJson
from rag.sessions import SessionRow, delete, sessions

router = APIRouter(prefix="/api/kb/conversations", tags=["conversations"], default_response_class=SafeJson)

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?$", examples=["warranty"])]


@router.get("", summary="List conversations")
def conversations(desk: TheDesk) -> ConversationsForm:
    """Those with this knowledge base."""
    rows = [ConversationRow(name=row.name, turns=row.turns, at=row.at) for row in _ours(desk)]
    return ConversationsForm(conversations=rows)


@router.get("/{name}", responses=KNOWLEDGE, summary="Read a conversation")
def conversation(desk: TheDesk, name: Name) -> ConversationForm:
    """All its turns with their answers."""
    _check(desk, name)
    turns = Conversation(desk.kb, name).turns
    shown = [TurnForm(id=one.id, at=one.at, answer=AnswerForm.model_validate(one.answer.to_dict())) for one in turns]
    return ConversationForm(name=name, turns=shown)


@router.post("/{name}/ask", responses=ANSWERS, response_model=AnswerForm, summary="Ask in a conversation")
async def ask(desk: TheDesk, request: Request, name: Name, body: AskRequest) -> Any:
    """As `/api/kb/ask`, understood from the turns before; the first question makes the conversation."""
    begun = await run_in_threadpool(Conversation, desk.kb, name)
    return await answered(desk, request, body, begun.ask_stream)


@router.delete("/{name}", responses=KNOWLEDGE, summary="Delete a conversation")
def remove(desk: TheDesk, name: Name) -> DeletedForm:
    """Delete it with all its turns."""
    _check(desk, name)
    delete(name)
    return DeletedForm(deleted=name)


def _ours(desk: Desk) -> list[SessionRow]:
    here = whole(desk.kb.path)
    return [row for row in sessions() if row.kb == here]


def _check(desk: Desk, name: str) -> None:
    if name not in (row.name for row in _ours(desk)):
        raise Refused(404, f"There is no conversation {name!r} with this knowledge base.", "conversation_not_found")
