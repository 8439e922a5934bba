"""Questions with known answers → what a knowledge base answers; what its model said before is not asked for again."""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import rag.errors as errors
from rag.answer import answer_stream
from rag.evaluation.answers import END, Case, Cited, Kind, Reply
from rag.evaluation.datasets import Dataset, Query, Question, read_dataset, read_questions
from rag.evaluation.gold import gold_spans
from rag.evaluation.metrics import Range
from rag.knowledge_base import ANSWER_FLOOR, KnowledgeBase
from rag.lmstudio.chat import AskKeywords, ChatModel, Delta, Message
from rag.lmstudio.http import Notify
from rag.settings import Settings
from rag.types import Answer


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said to a prompt, with the seconds that it took when it was asked."""

    text: str
    reasoning: str
    finish: str
    usage: dict[str, int]
    first_token: float
    seconds: float


class KeptChat(ChatModel):
    """A chat model that is asked the same prompt once: what it says is kept in a file, a line each as it ends.

    A prompt is the same in the same words, to the same model with the same settings; so an interrupted evaluation goes
    on where it was, and one after a change asks only what the change made different. With `fresh`, all is asked anew.
    """

    def __init__(self, settings: Settings, path: Path, notify: Notify, *, fresh: bool = False) -> None:
        super().__init__(settings, notify=notify)
        self._path = path
        self._kept = {} if fresh else _read(path)
        self._last: Said | None = None

    def stream(self, messages: Sequence[Message], **how: Unpack[AskKeywords]) -> Generator[Delta, None, None]:
        """As ChatModel's, or what was kept of it, in one piece. Calls of tools are not kept."""
        tools, choice = list(how.get("tools", ())), how.get("tool_choice", "auto")
        asked = [self.model.key, self.warmth(how), how["max_tokens"], list(messages), tools, choice]
        asked.append(how.get("response_format"))
        key = hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).hexdigest()
        kept = self._kept.get(key)
        if kept is not None:
            self._last = kept
            yield Delta(text=kept.text, reasoning=kept.reasoning)
            yield Delta(finish_reason=kept.finish, usage=kept.usage)
            return
        began = time.perf_counter()
        said = Said("", "", "", {}, 0.0, 0.0)
        with closing(super().stream(messages, **how)) as deltas:
            for delta in deltas:
                took = time.perf_counter() - began
                before = Said("", "", "", {}, said.first_token, 0.0) if delta.again else said
                said = Said(
                    before.text + delta.text,
                    before.reasoning + delta.reasoning,
                    delta.finish_reason or "",
                    delta.usage,
                    before.first_token or took,
                    took,
                )
                yield delta
        self._keep(key, said)

    def taken(self) -> Said | None:
        """What it said last, with the time that it took; None where it was not asked since this was."""
        last, self._last = self._last, None
        return last

    def _keep(self, key: str, said: Said) -> None:
        self._last = self._kept[key] = said
        line = {"key": key} | {name: getattr(said, name) for name in Said.__slots__}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as exc:
            raise errors.UsageProblem(f"Answers cannot be kept in {self._path} ({exc.strerror}).") from exc


def _read(path: Path) -> dict[str, Said]:
    kept: dict[str, Said] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise errors.UsageProblem(f"Kept answers cannot be read from {path} ({exc.strerror}).") from exc
    for line in lines:
        try:
            row = json.loads(line)
            key = row.pop("key")
            kept[key] = Said(**row)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # a line that a kill cut off: that question is asked again
    return kept


def own_cases(base: KnowledgeBase, questions: Sequence[Question]) -> list[Case]:
    """One's own questions; those without a quote have no answer in the documents. Raises as `gold_spans` does."""
    spans = gold_spans(base, questions)
    return [
        Case(
            question.id,
            question.question,
            Kind.ANSWERABLE if question.answerable else Kind.UNANSWERABLE,
            tuple(dict.fromkeys(filter(None, (question.answer, *question.others)))),
            (spans[question.id],) if question.id in spans else (),
        )
        for question in questions
    ]


def set_cases(dataset: Dataset, names: Mapping[str, str]) -> list[Case]:
    """The questions of a set; `names` are its names of documents by their sources in the knowledge base.

    Where it has no gold spans, a span is a whole document that answers.
    """
    sources: dict[str, list[str]] = {}
    for source, name in names.items():
        sources.setdefault(name, []).append(source)

    def places(query: Query) -> Iterator[Range]:
        spans = query.spans or [(name, 0, END) for name, gain in query.gains.items() if gain > 0]
        return ((source, start, end) for name, start, end in spans for source in sources.get(name, ()))

    answerable = [Case(q.id, q.text, Kind.ANSWERABLE, q.answers, tuple(places(q))) for q in dataset.queries]
    return answerable + [Case(q.id, q.text, Kind.UNANSWERABLE) for q in dataset.unanswerable]


def off_topic_cases(path: Path) -> list[Case]:
    """The questions of another set, a folder or a file, which documents on other subjects cannot answer."""
    if path.is_dir():
        dataset = read_dataset(path)
        asked = [(query.id, query.text) for query in (*dataset.queries, *dataset.unanswerable)]
    else:
        asked = [(question.id, question.question) for question in read_questions(path)]
    return [Case(f"{path.name} {id_}", text, Kind.OFF_TOPIC) for id_, text in asked]


def ask(base: KnowledgeBase, case: Case, model: KeptChat) -> tuple[Reply, Answer]:
    """Ask a question as `KnowledgeBase.ask` does; what was kept counts with the time that it took then."""
    began = time.perf_counter()
    hits = base.search(case.question, floor=ANSWER_FLOOR)
    searched = time.perf_counter() - began
    tokens, confidence = base.settings.answer_tokens, base.confidence
    *_, answer = answer_stream(case.question, hits, model, answer_tokens=tokens, confidence=confidence)
    assert isinstance(answer, Answer), "a stream of events ends with an Answer"
    reply = recorded(answer, base.text)
    if said := model.taken():
        reply = replace(reply, seconds=searched + said.seconds, first_token=searched + said.first_token)
    return reply, answer


def recorded(answer: Answer, text_of: Callable[[str], str]) -> Reply:
    """What is scored of an answer; `text_of` gives a document's text."""
    return Reply(
        answer.text,
        answer.abstained,
        tuple(
            Cited(c.n, c.source, c.start, c.end, c.status, text_of(c.source)[c.start : c.end] == c.quote, c.beside)
            for c in answer.citations
        ),
        answer.score,
        answer.timings.get("total", 0.0),
        answer.timings.get("first_token", 0.0),
        (answer.usage.get("prompt_tokens", 0), answer.usage.get("completion_tokens", 0)),
    )
