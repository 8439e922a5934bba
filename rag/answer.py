"""Question to answer: pack passages into the loaded context, stream, check every sentence, cite or abstain."""

import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import rag.errors as errors
from rag.citing.beside import beside
from rag.citing.cite import Slice, Verdict, check, cited, says_of
from rag.citing.claims import claims, refuses
from rag.citing.nearest import nearest
from rag.confidence import Confidence, Likely
from rag.links import unlinked
from rag.lmstudio.agent import added
from rag.lmstudio.chat import ChatModel, Delta, Message
from rag.lmstudio.token_scale import stated_tokens
from rag.markers import MarkerReader, shown
from rag.packing import ANSWERING, LEAST_PASSAGE, cost, packed, prompt, question_cost
from rag.talk import MOST_TOKENS, Talk, in_conversation
from rag.thinking import Thoughts
from rag.types import Answer, Citation, CitationStatus, Cut, Hit, Step

NOT_IN_DOCUMENTS = "The documents do not answer this."
NOT_SAID = "The model gave no answer."
UNSUPPORTED = " [unverified]"  # behind a sentence that claims something, where a marker would be

NO_ANSWER = "the model found no answer in the passages"
UNSUPPORTED_ALL = "no passage supports what the model said"
UNLIKELY = "no passage speaks of what was asked"
UNLIKE = "nothing in the documents resembles the question"
_DEFAULT = Confidence()

_OVERFLOW_TRIES = 4
_CONVERSATION_SHARE = 4  # it may have one part in four of what is left for passages

# "It costs 3." may have been going to be 3.50.
_WHOLE = re.compile(r"""(?<!\d)[.!?…。！？]["'”’»)\]*_]*$""")
_HALF_MARKER = re.compile(r"\s*[\[【［][^\]】］]{0,40}$")
_LEAD = re.compile(r"^#|[:：][*_]*$")


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the answer as the model says it, before anything is checked, or of its reasoning.

    Markers have the form `[1][2]` and come whole; their numbers are those of the passages that the model saw. `again`
    says that the answer begins anew and what was said before is void: the model was lost under it, or it was thought.
    """

    text: str
    again: bool = False
    reasoning: str = ""


Event = Said | Step | Answer


@dataclass(slots=True)
class Draft:
    """What a model has written so far: `answer` is to be checked, without what it thought."""

    passages: list[Hit]
    answer: str = ""
    thought: bool = False
    finish: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    _thoughts: Thoughts = field(default_factory=Thoughts)
    _reader: MarkerReader = field(default_factory=MarkerReader)

    def hear(self, delta: Delta) -> Iterator[Said]:
        """Take what the model wrote; yield what can be shown of it."""
        if delta.again:
            self.answer, self._thoughts, self._reader = "", Thoughts(), MarkerReader()
            yield Said("", again=True)
        if delta.reasoning:
            self.thought = True
            yield Said("", reasoning=delta.reasoning)
        heard = self._thoughts.read(delta.text)
        if delta.finish_reason:
            heard += self._thoughts.end()
        for one in heard:
            if one.again:
                self.answer, self._reader = "", MarkerReader()
            self.thought = self.thought or bool(one.thought)
            self.answer += one.text
            text = shown(self._reader.read(one.text), len(self.passages))
            if text or one.thought or one.again:
                yield Said(text, one.again, one.thought)
        if delta.finish_reason:
            self.finish, self.usage = delta.finish_reason, delta.usage
            if rest := shown(self._reader.end(), len(self.passages)):
                yield Said(rest)


def answer_stream(
    question: str,
    hits: Sequence[Hit],
    model: ChatModel,
    *,
    answer_tokens: int,
    strict: bool = False,
    talk: Talk | None = None,
    confidence: Confidence = _DEFAULT,
    own_hits: Sequence[Hit] = (),
    finish: Callable[[Answer], Answer] = lambda answer: answer,
) -> Generator[Event, None, None]:
    """Yield what the model says as it says it, and at last the checked Answer, as `finish` returns it.

    In a conversation `talk` is what the model is asked; the answer is checked by the question, which stands by itself
    and may hold an earlier one's words, so that how likely an answer is goes by whichever of the two fits better.
    The answer abstains where nothing was found, or so little like the question that the model is not asked; where the
    model says that it does not know; where no sentence of what it said is supported by a passage; and where all of
    this makes an answer too unlikely, by `confidence`. If `strict`, it has no other sentences than supported ones.
    Where the hits of several searches lead to no answer, though one is likely, the model is asked once more, with what
    the question's `own_hits` say of it alone: many passages confuse a small model.
    A KeyboardInterrupt, from within or thrown in, yields the Answer that was given so far, if there is any, and is
    raised after it. Closing the generator closes the connection. Raises ServerError, and UsageProblem for a question
    that leaves no room.
    """
    began = time.perf_counter()
    own = talk.question if talk else question
    hopeless = confidence.hopeless(question, hits)
    if hopeless and own != question and not confidence.hopeless(own, hits):
        hopeless = None
    if not hits or hopeless:
        yield finish(_abstained(question, hits, UNLIKE, hopeless or confidence.judged(question, hits)))
        return
    wordings = [question] if talk is None else _wordings(talk, hits, model, answer_tokens)
    answer_tokens, room = shares(wordings[0], hits, model, answer_tokens)
    draft = Draft([])
    first = 0.0
    interrupt: KeyboardInterrupt | None = None
    try:
        with closing(asked(wordings, hits, model, room, answer_tokens, draft)) as deltas:
            for delta in deltas:
                for said in draft.hear(delta):
                    first = first or time.perf_counter() - began
                    yield said
    except KeyboardInterrupt as exc:
        if not draft.answer.strip():
            raise
        interrupt = exc
    timings = {"first_token": first, "answer": time.perf_counter() - began}
    cut = Cut.INTERRUPTED if interrupt else Cut.LENGTH if draft.finish == "length" else None
    answer = checked(
        question,
        draft.answer,
        draft.passages,
        cut=cut,
        strict=strict,
        unsaid=why_unsaid(draft, answer_tokens),
        own=own,
        confidence=confidence,
    )
    if own_hits and answer.abstained and not interrupt and (answer.score or 0.0) >= confidence.threshold:
        yield Said("", again=True)
        yield from answer_stream(
            question,
            nearest(question, own_hits),
            model,
            answer_tokens=answer_tokens,
            strict=strict,
            talk=talk,
            confidence=confidence,
            finish=lambda second: finish(_after(answer.hits, draft.usage, timings, second)),
        )
        return
    yield finish(replace(answer, model=model.model.key, usage=draft.usage, timings=timings))
    if interrupt:
        raise interrupt


def _after(hits: tuple[Hit, ...], usage: Mapping[str, int], timings: Mapping[str, float], second: Answer) -> Answer:
    """The answer of a second try, with the passages of the first and with what both cost."""
    took = {name: seconds + second.timings.get(name, 0.0) for name, seconds in timings.items()}
    return replace(second, hits=hits, usage=added(usage, second.usage), timings=took)


def room_for(question: str, hits: Sequence[Hit], model: ChatModel, *, answer_tokens: int) -> int:
    """How many of the model's tokens the question and its passages may have.

    The model is loaded, with room for all if it can be. Raises UsageProblem where the question alone is too long.
    """
    return shares(question, hits, model, answer_tokens)[1]


def shares(
    question: str, hits: Sequence[Hit], model: ChatModel, answer_tokens: int, template: str = ANSWERING
) -> tuple[int, int]:
    """How the context is shared: the most tokens that the answer may have, and its prompt."""
    scale = model.scale
    context = model.reserve(cost(question, hits, template, scale.price) + scale.frame + answer_tokens)
    answer_tokens = min(answer_tokens, context // 2)
    room = context - answer_tokens - scale.frame
    if (taken := question_cost(question, template, scale.price)) + LEAST_PASSAGE > room:
        raise errors.UsageProblem(
            f"The question takes about {taken} tokens, and {model.model.key} is loaded with "
            f"{context}, the answer included. Shorten it, or give the model a larger context (RAG_CHAT_CONTEXT)."
        )
    return answer_tokens, room


def _wordings(talk: Talk, hits: Sequence[Hit], model: ChatModel, answer_tokens: int) -> list[str]:
    """A question in its conversation and, for where that turns out to be too long, alone."""
    room = room_for(talk.question, hits, model, answer_tokens=answer_tokens)
    price = model.scale.price
    left = (room - question_cost(talk.question, price=price) - LEAST_PASSAGE) // _CONVERSATION_SHARE
    return [in_conversation(talk, min(MOST_TOKENS, left), price), talk.question]


def asked(
    wordings: Sequence[str],
    hits: Sequence[Hit],
    model: ChatModel,
    room: int,
    answer_tokens: int,
    draft: Draft,
    template: str = ANSWERING,
    response_format: Mapping[str, Any] | None = None,
) -> Generator[Delta, None, None]:
    """The model's answer in pieces, asked for with as many passages as its context turns out to take.

    `wordings` are the question, and shorter ones of it for where that turns out to be too long.
    """
    for attempt in range(_OVERFLOW_TRIES):
        question = wordings[min(attempt, len(wordings) - 1)]
        draft.passages = packed(question, hits, room, template, model.scale.price)
        try:
            if attempt == 0 and not model.scale.known and draft.passages != list(hits):
                room = _counted_room(question, draft.passages, model, answer_tokens, room, template)
                draft.passages = packed(question, hits, room, template, model.scale.price)
            messages = _messages(question, draft.passages, template)
            with closing(model.stream(messages, max_tokens=answer_tokens, response_format=response_format)) as deltas:
                yield from deltas
            return
        except errors.ContextOverflow as exc:
            if draft.answer or draft.thought or attempt == _OVERFLOW_TRIES - 1:
                raise
            room = _less(question, draft.passages, template, str(exc), model, answer_tokens)


def _counted_room(
    question: str, passages: Sequence[Hit], model: ChatModel, answer_tokens: int, room: int, template: str
) -> int:
    """Room for a prompt that begins like this one, which the server counts: what is read of it is not read again."""
    for delta in model.stream(_messages(question, passages, template), max_tokens=1):
        if tokens := delta.usage.get("prompt_tokens"):
            left = model.context_length - answer_tokens - tokens
            room = cost(question, passages, template, model.scale.price) + model.scale.more(left)
    return room


def _less(
    question: str, passages: Sequence[Hit], template: str, refusal: str, model: ChatModel, answer_tokens: int
) -> int:
    """Room for another try after a prompt was refused: by what the refusal says of its length, else half."""
    tokens = stated_tokens(refusal, model.context_length)
    if tokens is not None:
        model.scale.saw(prompt(question, passages, template), tokens)
    taken = cost(question, passages, template, model.scale.price)
    return taken // 2 if tokens is None else min(model.context_length - answer_tokens, taken * 9 // 10)


def _messages(question: str, passages: Sequence[Hit], template: str) -> list[Message]:
    return [{"role": "user", "content": prompt(question, passages, template)}]


def why_unsaid(draft: Draft, answer_tokens: int) -> str:
    """Why a model that thought gave no answer; "" where that is no matter of its thinking."""
    if draft.thought and draft.finish == "length":
        return f"the model spent all {answer_tokens} tokens of its answer on thinking; RAG_ANSWER_TOKENS allows more"
    if draft.thought:
        return "the model thought and then said nothing"
    return ""


def checked(
    question: str,
    said: str,
    passages: Sequence[Hit],
    *,
    cut: Cut | None = None,
    strict: bool = False,
    unsaid: str = "",
    own: str = "",
    confidence: Confidence = _DEFAULT,
) -> Answer:
    """What the model said as an Answer: every sentence with its evidence, or the whole as an abstention.

    Of what was `cut`, the last sentence counts as unverified unless it is whole. `unsaid` is why nothing was said,
    where that is no matter of the documents; `strict` leaves out what no passage supports. `own` are the question's
    own words, where it was made to stand by itself.
    """
    said = unlinked(said, (f"{hit.source}\n{hit.text}" for hit in passages))
    verdicts = [] if refuses(said) else _verdicts(question, said, passages, cut)
    supports = [v.evidence.slices for v in verdicts if v.evidence and v.status is not CitationStatus.UNVERIFIED]
    only_begun = cut and len(verdicts) == 1 and verdicts[0].claim.text.endswith("…") and not strict
    silent = 0.0 if only_begun or (unsaid and not said.strip()) else -1.0
    likely = max(
        (
            confidence.judged(words, passages, heard(words, supports, passages, silent))
            for words in dict.fromkeys((question, own or question))
        ),
        key=lambda one: one.score,
    )
    if unsaid and not said.strip():
        return replace(_abstained(question, passages, unsaid, likely, cut), text=NOT_SAID)
    if not verdicts:
        return _abstained(question, passages, NO_ANSWER, likely, cut)
    if not supports and not only_begun:
        return _abstained(question, passages, UNSUPPORTED_ALL, likely, cut)
    if likely.score < confidence.threshold:
        return _abstained(question, passages, UNLIKELY, likely, cut)
    kept = _supported(verdicts) if strict else verdicts
    off = beside((question, own or question), kept, passages)
    answer = composed(question, kept, passages, parted="\n" if "\n" in said.strip() else " ", off=off)
    left_out, signals = len(verdicts) - len(kept), asdict(likely.signals)
    return replace(answer, cut=cut, left_out=left_out, score=likely.score, signals=signals)


def heard(question: str, supports: Sequence[Sequence[Slice]], passages: Sequence[Hit], silent: float = -1.0) -> float:
    """How much of what a question asks for stands in what supports a claim, -1 to 1; `silent` where nothing does."""
    return max((2 * says_of(question, slices, passages) - 1 for slices in supports), default=silent)


def composed(
    question: str,
    verdicts: Sequence[Verdict],
    passages: Sequence[Hit],
    *,
    parted: str = " ",
    off: Set[Slice] = frozenset(),
) -> Answer:
    """The claims of these verdicts as the text of an Answer, each with the markers of its citations behind it.

    `off` are the slices that say little of the question.
    """
    citations: list[Citation] = []
    numbers: dict[tuple[Slice, CitationStatus], int] = {}
    parts = [verdict.claim.text + _marker(verdict, passages, citations, numbers, off) for verdict in verdicts]
    return Answer(
        question=question,
        text=parted.join(parts),
        abstained=False,
        citations=tuple(citations),
        hits=tuple(passages),
        model="",
    )


def _verdicts(question: str, said: str, passages: Sequence[Hit], cut: Cut | None) -> list[Verdict]:
    found = claims(_HALF_MARKER.sub("", said) if cut else said)
    if not cut or not found or _WHOLE.search(found[-1].text):
        return [check(claim, passages, question) for claim in found]
    half = replace(found[-1], text=f"{found[-1].text}…")
    verdicts = [check(claim, passages, question) for claim in found[:-1]]
    return [*verdicts, Verdict(half, CitationStatus.UNVERIFIED, None)]


def _supported(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts that support, and headings and the like ("The steps are:") that lead to one of these."""
    kept: list[Verdict] = []
    leads = False
    for verdict in reversed(verdicts):
        supports = verdict.status is not CitationStatus.UNVERIFIED
        if supports or (leads and not verdict.claim.asserts and _LEAD.search(verdict.claim.text)):
            kept.append(verdict)
            leads = True
        else:
            leads = False
    return kept[::-1]


def _marker(
    verdict: Verdict,
    passages: Sequence[Hit],
    citations: list[Citation],
    numbers: dict[tuple[Slice, CitationStatus], int],
    off: Set[Slice],
) -> str:
    """The ` [n]` behind a sentence, or ` [n][m]`; the same evidence keeps its number.

    Without evidence it is UNSUPPORTED, and nothing behind what claims nothing.
    """
    if not verdict.claim.asserts:
        return ""
    if verdict.evidence is None:
        return UNSUPPORTED
    # What fails to support a claim is shown by its nearest piece alone.
    slices = verdict.evidence.slices[: 1 if verdict.status is CitationStatus.UNVERIFIED else None]
    for part in slices:
        if (part, verdict.status) not in numbers:
            numbers[part, verdict.status] = len(citations) + 1
            citation = cited(part, passages, verdict.status, len(citations) + 1)
            citations.append(replace(citation, beside=part in off))
    return " " + "".join(f"[{numbers[part, verdict.status]}]" for part in slices)


def _abstained(question: str, passages: Sequence[Hit], reason: str, likely: Likely, cut: Cut | None = None) -> Answer:
    return Answer(
        question=question,
        text=NOT_IN_DOCUMENTS,
        abstained=True,
        citations=(),
        hits=tuple(passages),
        model="",
        reason=reason,
        cut=cut,
        score=likely.score,
        signals=asdict(likely.signals),
    )
