"""Answers in a form: asked for, validated, checked field by field; a scripted server, then the real engine."""

import datetime
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from lmstudio_server import FakeLMStudio, lm_studio, words
from pydantic import BaseModel, Field

import rag.errors as errors
from rag.confidence import Confidence
from rag.formed_answer import FormedAnswer
from rag.forms import form_answer
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.chat import ChatModel
from rag.types import Citation, CitationStatus, Hit

CHATS = "/v1/chat/completions"
QUESTION = "What do Brisa and Sprig cost, and from when on?"
TEXT = "The Brisa costs 249 EUR. The Sprig costs 99 EUR. The prices hold from 5 January 2026."
PASSAGES = [Hit("docs/prices.md", "d1", "Prices", 2, (), 100, 100 + len(TEXT), TEXT, 1.0)]


class Product(BaseModel):
    name: str
    price_eur: float | None


class Prices(BaseModel):
    items: list[Product]
    hold_from: datetime.date = Field(description="The first day of these prices")
    note: str | None = None


RIGHT = {
    "items": [{"name": "Brisa", "price_eur": 249}, {"name": "Sprig", "price_eur": 99}],
    "hold_from": "2026-01-05",
    "note": None,
}
WRONG_PRICE = RIGHT | {"items": [{"name": "Brisa", "price_eur": 249}, {"name": "Sprig", "price_eur": 249}]}
WRONG_DAY = RIGHT | {"hold_from": "2026-05-01"}


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


def filled(server: FakeLMStudio, *said: Any, form: Any = Prices, **how: Any) -> FormedAnswer[Any]:
    for one in said:
        server.say(one if isinstance(one, str) else json.dumps(one))
    hits = how.pop("hits", PASSAGES)
    with closing(ChatModel(server.settings)) as model:
        return form_answer(QUESTION, form, hits, model, answer_tokens=200, **how)


def test_a_form_is_a_valid_object_with_citations_by_field(server: FakeLMStudio) -> None:
    answer = filled(server, RIGHT)
    assert answer.value == Prices.model_validate(RIGHT)
    assert not answer.abstained
    assert answer.unverified == ()
    assert set(answer.citations) == {
        *("items[0].name", "items[0].price_eur", "items[1].name", "items[1].price_eur", "hold_from")
    }
    (day,) = answer.citations["hold_from"]
    assert (day.quote, day.status, day.page) == (
        "The prices hold from 5 January 2026.",
        CitationStatus.VERIFIED,
        2,
    )
    assert TEXT[day.start - 100 : day.end - 100] == day.quote
    assert [c.n for c in answer.sources] == [1, 2, 3]
    assert json.loads(json.dumps(answer.to_dict()))["value"] == RIGHT


def test_a_form_says_how_likely_it_is_and_abstains_as_an_answer_does(server: FakeLMStudio) -> None:
    answer = filled(server, RIGHT)
    assert answer.score is not None
    assert answer.score > Confidence().threshold
    assert answer.to_dict()["signals"]["heard"] > 0
    careful = filled(server, RIGHT, confidence=Confidence(threshold=0.99))
    assert (careful.abstained, careful.reason) == (True, "no passage speaks of what was asked")
    requests = len(server.bodies(CHATS))
    text = "The stairs of the tower have ninety steps."
    unlike = [Hit("docs/stairs.md", "d2", "", None, (), 0, len(text), text, 1.0, similarity=0.01)]
    nothing = filled(server, hits=unlike)
    assert (nothing.abstained, nothing.value, nothing.model) == (True, None, "")
    assert nothing.score is not None
    assert nothing.score < 0.05
    assert len(server.bodies(CHATS)) == requests, "the model is not asked"


def test_the_request_holds_the_model_to_the_schema(server: FakeLMStudio) -> None:
    filled(server, RIGHT)
    (body,) = server.bodies(CHATS)
    assert body["response_format"]["json_schema"]["schema"] == Prices.model_json_schema()
    assert '"price_eur"' in body["messages"][0]["content"]
    assert "{passages}" not in body["messages"][0]["content"]


def test_a_value_of_another_thing_is_unverified_and_shows_whose_it_is(server: FakeLMStudio) -> None:
    answer = filled(server, WRONG_PRICE)
    assert answer.unverified == ("items[1].price_eur",)
    (citation,) = answer.citations["items[1].price_eur"]
    assert (citation.quote, citation.status) == ("The Brisa costs 249 EUR.", CitationStatus.UNVERIFIED)
    assert "items[1].price_eur: 249 [unverified]" in str(answer)


def test_strict_empties_what_may_be_empty_and_else_abstains(server: FakeLMStudio) -> None:
    answer = filled(server, WRONG_PRICE, strict=True)
    assert answer.value.items[1].price_eur is None
    assert answer.json["items"][1]["price_eur"] is None
    assert answer.emptied == ("items[1].price_eur",)
    assert "items[1].price_eur" not in answer.citations
    assert "Left empty" in answer.notice
    refused = filled(server, WRONG_DAY, strict=True)
    assert refused.abstained
    assert refused.value is None
    assert refused.reason == "no passage supports hold_from, and the form needs it"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"items": [], "hold_from": None}, "found no answer"),
        ({"items": [{"name": "Zorg", "price_eur": 7}], "hold_from": None}, "no passage supports"),
    ],
)
def test_an_empty_form_and_an_invented_one_are_abstentions(server: FakeLMStudio, said: Any, reason: str) -> None:
    form = {"type": "object", "properties": {"items": {"type": "array"}, "hold_from": {"type": ["string", "null"]}}}
    answer = filled(server, said, form=form)
    assert answer.abstained
    assert reason in answer.reason
    assert (answer.value, answer.fields) == (None, ())
    assert answer.hits
    assert filled(server, form=form, hits=[]).abstained


@pytest.mark.parametrize("said", ["It costs 249 EUR.", {"items": []}, RIGHT | {"hold_from": "soon"}])
def test_what_has_not_the_form_is_asked_for_once_more(server: FakeLMStudio, said: Any) -> None:
    assert filled(server, said, RIGHT).value.hold_from == datetime.date(2026, 1, 5)
    first, second = (body["messages"][0]["content"] for body in server.bodies(CHATS))
    assert "A first try was refused" not in first
    assert "A first try was refused" in second
    with pytest.raises(errors.BadReply, match="does not have the form"):
        filled(server, said, said)


def test_a_json_schema_is_held_to_as_well(server: FakeLMStudio) -> None:
    form = {"type": "object", "properties": {"eur": {"type": "number", "maximum": 100}}, "required": ["eur"]}
    assert filled(server, {"eur": 249}, {"eur": 99}, form=form).value == {"eur": 99}
    with pytest.raises(errors.BadReply, match="maximum"):
        filled(server, {"eur": 249}, {"eur": 249}, form=form)
    for wrong in ({"type": "nonsense"}, {"$ref": "https://example.org/other.json"}, {"$ref": "#/$defs/none"}):
        with pytest.raises(errors.UsageProblem, match=r"[sS]chema"):
            filled(server, {"eur": 99}, form=wrong)
        server.instead.clear()


def test_a_form_in_the_reasoning_is_found_and_one_that_was_cut_is_said(server: FakeLMStudio) -> None:
    server.say(reasoning=json.dumps(RIGHT))
    assert filled(server).value == Prices.model_validate(RIGHT)
    for _ in range(2):
        server.say('{"items": [', finish="length")
    with pytest.raises(errors.BadReply, match="RAG_ANSWER_TOKENS"):
        filled(server)


def test_passages_are_packed_beside_the_schema(server: FakeLMStudio) -> None:
    """No prompt is longer than the context, however much of it the schema takes."""
    server.tokens = lambda text: len(words(text))
    server.says = json.dumps(RIGHT).replace(" ", "")
    many = [replace(PASSAGES[0], text=TEXT * 6, end=100 + len(TEXT * 6), document_id=f"d{n}") for n in range(40)]
    form = {
        "type": "object",
        "properties": {f"field_{n}": {"type": "string", "description": "A long one."} for n in range(20)},
    }
    settings = replace(server.settings, chat_context=2048)
    with closing(ChatModel(settings)) as model:
        answer = form_answer(QUESTION, form, many, model, answer_tokens=200)
    assert 0 < len(answer.hits) < len(many)
    assert max(server.prompts) <= 2048 - 200
    with pytest.raises(errors.UsageProblem, match="RAG_CHAT_CONTEXT"), closing(ChatModel(settings)) as model:
        form_answer(QUESTION * 200, form, many, model, answer_tokens=200)


def test_it_shows_as_what_it_is(server: FakeLMStudio) -> None:
    evil = "The **Brisa** <img src=x> costs 249 EUR."
    hit = Hit("docs/prices.md", "d1", "", None, (), 0, len(evil), evil, 1.0)
    answer = filled(server, {"name": "<img src=x>", "eur": 249}, form={"type": "object"}, hits=[hit])
    assert "<img" not in answer._repr_html_()
    assert "<img" not in answer._repr_markdown_()
    assert "249" in answer._repr_html_()
    assert "<details" in answer._repr_html_()


def test_a_citation_can_be_finished_by_who_knows_the_files(server: FakeLMStudio) -> None:
    def stale(citation: Citation) -> Citation:
        return replace(citation, stale=True)

    assert all(c.stale for c in filled(server, RIGHT, finish=stale).sources)


class Training(BaseModel):
    people: int


def test_a_small_model_fills_a_form(sample_kb: KnowledgeBase) -> None:
    answer = sample_kb.ask("How many people may take part in a training day at a customer's site?", schema=Training)
    assert answer.value == Training(people=8)
    (citation,) = answer.citations["people"]
    assert citation.status is CitationStatus.VERIFIED
    assert sample_kb.text(citation.source)[citation.start : citation.end] == citation.quote
    assert "Up to eight people" in citation.quote
    assert set(answer.timings) == {"search", "answer", "total"}
