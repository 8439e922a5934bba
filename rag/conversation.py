"""Conversation: questions to a knowledge base that follow one another, kept or not."""

import time
from collections.abc import Generator
from dataclasses import replace
from typing import Unpack

import rag.errors as errors
from rag.answer import Event
from rag.knowledge_base import KnowledgeBase
from rag.search.options import SearchKeywords
from rag.search.rewrite import joined, standalone
from rag.sessions import Session, Turn
from rag.talk import Exchange, Talk, exchange, spoken, stands_behind_others
from rag.types import Answer

_TURNS = 8  # that a question can refer to
# What answers the last of several questions scores less than what answers the first of them; at the floor of a single
# question, a change of the subject lost its passage once in six. This leaves 3.5 passages instead of 2.
FLOOR_OF_SEVERAL = 0.4


class Conversation:
    """A conversation with a knowledge base; with a `name` it is saved, and goes on where it ended.

    A question that follows others is searched for, and its answer checked by, what it means without them: as the chat
    model writes it, else behind the questions that it refers to; `answer.searched` is what that was. With `rewrite` off
    the model is not asked to. It sees earlier questions and what passages support of their answers, as much as takes no
    more than a quarter of the room for passages. Claims are checked against the passages of their own turn alone.

    `turns` are the questions and answers so far. Raises SessionProblem where the name is no name, or is that of a
    conversation with another knowledge base.
    """

    def __init__(self, kb: KnowledgeBase, name: str | None = None, *, rewrite: bool = True) -> None:
        self.kb = kb
        self.turns: list[Turn] = []
        self._session = Session(name, kb.path) if name is not None else None
        self._rewrite = rewrite
        self._refresh(tell=True)

    @property
    def name(self) -> str | None:
        """The name that it is saved under, None where it is not saved."""
        return self._session.name if self._session else None

    def ask(self, question: str, *, strict: bool = False, **how: Unpack[SearchKeywords]) -> Answer:
        """The answer to the next question; the arguments are those of `KnowledgeBase.ask`."""
        *_, answer = self.ask_stream(question, strict=strict, **how)
        assert isinstance(answer, Answer), "a stream of events ends with an Answer"
        return answer

    def ask_stream(
        self, question: str, *, strict: bool = False, **how: Unpack[SearchKeywords]
    ) -> Generator[Event, None, None]:
        """What the model says as it says it, and at last the Answer, which is saved before it is given.

        An interrupt yields and saves what was said so far; where that was nothing, there was no turn.
        """
        self._refresh()
        yield from self._asked(question, None, strict, how)

    def again_stream(self, *, strict: bool = False, **how: Unpack[SearchKeywords]) -> Generator[Event, None, None]:
        """Ask the last question once more; its new answer takes the old one's place. Raises UsageProblem."""
        self._refresh()
        if not self.turns:
            raise errors.UsageProblem("Nothing has been asked yet.")
        last = self.turns[-1]
        yield from self._asked(last.answer.question, last, strict, how)

    def clear(self) -> None:
        """Forget all turns, also what is saved of them."""
        if self._session:
            self._session.clear()
        self.turns.clear()

    def save_as(self, name: str) -> None:
        """Give it a name that is new, under which it is saved from now on. Raises SessionProblem."""
        session = Session(name, self.kb.path)
        if session.path.exists():
            raise errors.SessionProblem(f"There is a session {name!r} already. Take another name.")
        for turn in self.turns:
            session.add(turn)
        self._session = session

    def _asked(
        self, question: str, instead_of: Turn | None, strict: bool, how: SearchKeywords
    ) -> Generator[Event, None, None]:
        earlier = [exchange(turn.answer) for turn in self.turns if turn is not instead_of][-_TURNS:]
        began = time.perf_counter()
        searched = self._understood(question, earlier)
        rewriting = time.perf_counter() - began
        if stands_behind_others(question, searched):
            how = SearchKeywords(floor=FLOOR_OF_SEVERAL) | how

        def finish(answer: Answer) -> Answer:
            timings = {**answer.timings, **({"rewrite": rewriting} if earlier else {})}
            answer = replace(
                answer, question=question, searched="" if searched == question else searched, timings=timings
            )
            self._keep(Turn(answer), instead_of)
            return answer

        talk = Talk(question, tuple(earlier)) if earlier else None
        yield from self.kb.ask_stream(searched, strict=strict, talk=talk, finish=finish, **how)

    def _understood(self, question: str, earlier: list[Exchange]) -> str:
        """The question as it stands without the conversation."""
        if not earlier or not question.strip():
            return question
        if self._rewrite:
            seconds, notify = self.kb.settings.rerank_s, self.kb.notify
            rewritten = standalone(question, spoken(earlier), self.kb.chat_model, seconds, notify)
            if rewritten != question:
                return rewritten
        return joined(question, [one.question for one in earlier])

    def _refresh(self, tell: bool = False) -> None:
        """Take up what another process has added meanwhile."""
        if self._session is None:
            return
        self.turns, damaged = self._session.turns()
        if damaged and tell:
            self.kb.notify(f"{damaged} turns of the session {self._session.name!r} cannot be read and are left out.")

    def _keep(self, turn: Turn, instead_of: Turn | None) -> None:
        if instead_of in self.turns:
            self.turns[self.turns.index(instead_of)] = turn
        else:
            self.turns.append(turn)
        if self._session is None:
            return
        try:
            self._session.add(turn, instead_of)
        except errors.SessionProblem as exc:  # the answer must not be lost with it
            self.kb.notify(f"{exc} The conversation goes on without being saved.")
            self._session = None
