"""Question and schema to a filled form: asked for by JSON Schema, validated, and every field checked."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import rag.errors as errors
from rag.answer import NO_ANSWER, UNLIKE, UNLIKELY, UNSUPPORTED_ALL, Draft, asked, heard, shares
from rag.citing.cite import Slice, cited
from rag.citing.fields import Proof, prove
from rag.citing.leaves import leaves, shown_path, without
from rag.confidence import Confidence, Likely
from rag.formed_answer import Field, FormedAnswer
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.schemas import Form, fitting, parsed, response_format, schema_of
from rag.packing import PASSAGES
from rag.types import Citation, CitationStatus, Hit

_TEMPLATE = f"""{PASSAGES}

Answer the question from these passages only, as JSON of this schema:
SCHEMA
Copy names, numbers and dates from the passages. What they do not say is null where the schema allows it.PROBLEM

Question: {{question}}
JSON:"""
_DEFAULT = Confidence()
_LONGEST_PROBLEM = 400  # characters of an error that the model is shown


def form_answer(
    question: str,
    form: Form,
    hits: Sequence[Hit],
    model: ChatModel,
    *,
    answer_tokens: int,
    strict: bool = False,
    hops: bool = False,
    confidence: Confidence = _DEFAULT,
    finish: Callable[[Citation], Citation] = lambda citation: citation,
) -> FormedAnswer[Any]:
    """The form as the passages fill it, each field with its evidence.

    What does not have the form is asked for once more, with the reason; then it is a BadReply. The answer abstains
    where nothing was found, or so little like the question that the model is not asked; where the model fills in
    nothing; where no passage supports any field; and where all of this makes an answer too unlikely, by `confidence`.
    If `strict`, what no passage supports becomes null; where the form does not allow that, the answer abstains and
    names the field.
    `hops` says that the passages are those of several searches, which one another's words led to.
    Raises ServerError, and UsageProblem for a form that JSON cannot describe or that leaves no room.
    """
    began = time.perf_counter()
    schema = schema_of(form)
    hopeless = confidence.hopeless(question, hits)
    if not hits or hopeless:
        return _abstained(question, hits, UNLIKE, hopeless or confidence.judged(question, hits))
    filled, value, draft = _filled(question, form, schema, hits, model, answer_tokens)
    passages = draft.passages
    proofs = [prove(leaf, passages, question, hops=hops) for leaf in leaves(filled, schema)]
    supports = [proof.slices for proof in proofs if proof.status is CitationStatus.VERIFIED]
    likely = confidence.judged(question, passages, heard(question, supports, passages))
    emptied: list[Proof] = []
    reason = ""
    if not proofs:
        reason = NO_ANSWER
    elif not supports:
        reason = UNSUPPORTED_ALL
    elif likely.score < confidence.threshold:
        reason = UNLIKELY
    elif strict:
        emptied = [proof for proof in proofs if proof.status is CitationStatus.UNVERIFIED]
        for proof in emptied:
            filled = without(filled, proof.leaf.path)
            try:
                value = fitting(filled, form)
            except errors.BadReply:
                reason = f"no passage supports {shown_path(proof.leaf.path) or 'the value'}, and the form needs it"
                break
    cost: dict[str, Any] = {
        "model": model.model.key,
        "usage": draft.usage,
        "timings": {"answer": time.perf_counter() - began},
    }
    if reason:
        return _abstained(question, passages, reason, likely, **cost)
    return FormedAnswer(
        question=question,
        value=value,
        json=filled,
        abstained=False,
        fields=_fields([proof for proof in proofs if proof not in emptied], passages, finish),
        hits=tuple(passages),
        emptied=tuple(shown_path(proof.leaf.path) for proof in emptied),
        score=likely.score,
        signals=asdict(likely.signals),
        **cost,
    )


def _filled(
    question: str, form: Form, schema: dict[str, Any], hits: Sequence[Hit], model: ChatModel, answer_tokens: int
) -> tuple[Any, Any, Draft]:
    """The form as JSON and as its value, and what the model had before it; asked for twice at most."""
    told = ""
    usage: dict[str, int] = {}
    for last in (False, True):
        draft, text = _written(question, _template(schema, told), form, hits, model, answer_tokens)
        draft.usage = usage = {name: usage.get(name, 0) + count for name, count in draft.usage.items()}
        try:
            if draft.finish == "length":
                raise errors.BadReply(
                    f"{model.model.key} was cut at the limit of its answer before the form was complete; "
                    "RAG_ANSWER_TOKENS allows more."
                )
            filled = parsed(text)
            return filled, fitting(filled, form), draft
        except errors.BadReply as exc:
            if last:
                raise
            told = str(exc)
    raise AssertionError("the second try returns or raises")


def _written(
    question: str, template: str, form: Form, hits: Sequence[Hit], model: ChatModel, answer_tokens: int
) -> tuple[Draft, str]:
    draft = Draft([])
    thought = ""
    answer_tokens, room = shares(question, hits, model, answer_tokens, template)
    wanted = response_format(form)
    with closing(asked([question], hits, model, room, answer_tokens, draft, template, wanted)) as deltas:
        for delta in deltas:
            for said in draft.hear(delta):
                thought = said.reasoning if said.again else thought + said.reasoning
    return draft, draft.answer if draft.answer.strip() else thought  # thinking models may put it there


def _template(schema: dict[str, Any], problem: str) -> str:
    asked = json.dumps(_lean(schema), ensure_ascii=False, separators=(",", ":"))
    again = f"\nA first try was refused, write it anew: {problem[:_LONGEST_PROBLEM]}" if problem else ""
    return _TEMPLATE.replace("SCHEMA", _braced(asked)).replace("PROBLEM", _braced(again))


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _lean(node: Any) -> Any:
    """A schema without the titles that pydantic makes of the names."""
    if isinstance(node, dict):
        return {name: _lean(one) for name, one in node.items() if name != "title" or not isinstance(one, str)}
    return [_lean(one) for one in node] if isinstance(node, list) else node


def _fields(
    proofs: Sequence[Proof], passages: Sequence[Hit], finish: Callable[[Citation], Citation]
) -> tuple[Field, ...]:
    """The fields with their citations; the same evidence keeps its number."""
    known: dict[tuple[Slice, CitationStatus], Citation] = {}
    for proof in proofs:
        for part in proof.slices:
            key = part, proof.status
            known[key] = known.get(key) or finish(cited(part, passages, proof.status, len(known) + 1))
    return tuple(
        Field(
            shown_path(proof.leaf.path),
            proof.leaf.value,
            proof.status,
            tuple(known[part, proof.status] for part in proof.slices),
        )
        for proof in proofs
    )


def _abstained(question: str, passages: Sequence[Hit], reason: str, likely: Likely, **cost: Any) -> FormedAnswer[Any]:
    return FormedAnswer(
        question,
        None,
        None,
        abstained=True,
        fields=(),
        hits=tuple(passages),
        reason=reason,
        score=likely.score,
        signals=asdict(likely.signals),
        **({"model": ""} | cost),
    )
