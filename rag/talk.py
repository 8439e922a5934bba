"""A question as it stands in a conversation: behind what was asked and answered before, as much of it as fits. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.lmstudio.token_scale import OURS, Price
from rag.quoting import quoted_line
from rag.types import Answer, CitationStatus

MOST_TOKENS = 512  # of a conversation that a prompt repeats: what comes first in a long one is seldom meant

_LONGEST_QUESTION = 300  # characters
_LONGEST_ANSWERS = (600, 150)  # characters: shortened once before an exchange is left out
_NO_ANSWER = "(none was found)"
# A marker of a checked answer, at the end of what it is for.
_MARKER = re.compile(r" (?:((?:\[\d+\])+)|\[unverified\])(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of a conversation, and what was said to it; "" where that was nothing."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Talk:
    """A question as it was asked in a conversation, and the exchanges before it, oldest first."""

    question: str
    before: tuple[Exchange, ...] = ()


def exchange(answer: Answer) -> Exchange:
    """What a model is told of an earlier answer: what passages support of it, without markers.

    A sentence that nothing supported must not come back as something that was said. The question is the one that stands
    by itself, where the model wrote one, and not a question behind others, which are exchanges themselves.
    """
    by_itself = answer.searched and not stands_behind_others(answer.question, answer.searched)
    question = answer.searched if by_itself else answer.question
    return Exchange(question, "" if answer.abstained else supported(answer))


def stands_behind_others(question: str, searched: str) -> bool:
    """Whether what was searched for are several questions, this one last."""
    asked = " ".join(question.split())
    return searched != asked and searched.endswith(asked)


def supported(answer: Answer) -> str:
    """The words of an answer that a passage supports, or that claim nothing, without their markers."""
    doubted = {str(citation.n) for citation in answer.citations if citation.status is CitationStatus.UNVERIFIED}
    kept, at = [], 0
    for marker in _MARKER.finditer(answer.text):
        numbers = set(re.findall(r"\d+", marker[1] or ""))
        if numbers - doubted:
            kept.append(answer.text[at : marker.start()])
        at = marker.end()
    return " ".join("".join((*kept, answer.text[at:])).split())


def in_conversation(talk: Talk, room: int, price: Price = OURS) -> str:
    """The question behind the last exchanges that fit into `room` tokens by `price`, in the form of a prompt.

    Each question and each answer is one line, so that none can look like another one.
    """
    told: list[str] = []
    for one in reversed(talk.before):
        costs = {line: price(line) + 1 for line in _lines(one)}
        line = next((line for line, cost in costs.items() if cost <= room), None)
        if line is None:
            break
        room -= costs[line]
        told.insert(0, line)
    return "".join((*told, talk.question.strip()))


def _lines(one: Exchange) -> list[str]:
    """An exchange as it stands in front of a question, in full and shortened."""
    question = quoted_line(one.question, _LONGEST_QUESTION)
    answers = (quoted_line(one.answer, longest) or _NO_ANSWER for longest in _LONGEST_ANSWERS)
    return [f"{question}\nAnswer: {answer}\n\nQuestion: " for answer in answers]


def spoken(before: Sequence[Exchange]) -> list[dict[str, str]]:
    """Exchanges as messages in OpenAI's form."""
    return [
        {"role": role, "content": text}
        for one in before
        for role, text in (("user", one.question), ("assistant", one.answer))
        if text
    ]
