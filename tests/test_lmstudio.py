"""The library's verbs on a real engine with real models: get or load, respond, act, embed, count, unload."""

from collections.abc import Iterator
from typing import Literal

import pytest
from pydantic import BaseModel

import rag.errors as errors
from rag import LMStudio
from rag.lmstudio.agent import ToolUse
from rag.lmstudio.schemas import calls_in_text, in_form, response_format, result_text, tool_of
from rag.settings import Settings


class City(BaseModel):
    """A city and how many people live there."""

    name: str
    inhabitants: int


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """The weather in a city now."""
    raise ConnectionError(f"no station in {city}")


@pytest.fixture
def lm(settings: Settings) -> Iterator[LMStudio]:
    with LMStudio(settings=settings) as server:
        yield server


def test_get_or_load_reuses_and_sets_the_time(lm: LMStudio, settings: Settings) -> None:
    key = settings.chat_model
    if any(row.model == key for row in lm.loaded()):
        lm.unload(key)
    first = lm.load(key, context_length=2048, ttl=500)
    assert first.context_length is not None
    assert first.context_length >= 2048
    assert lm.load(key, context_length=1024, ttl=400).instance_id == first.instance_id
    (running,) = [row for row in lm.loaded() if row.model == key]
    assert running.ttl_s == 400
    lm.unload(key)
    loaded = lm.load(key, ttl=300)
    (running,) = [row for row in lm.loaded() if row.model == key]
    assert (running.instance_id, running.ttl_s) == (loaded.instance_id, 300)
    assert running.remaining_s is not None
    assert 290 < running.remaining_s <= 300


def test_a_ttl_of_zero_ends_with_the_object(settings: Settings) -> None:
    with LMStudio(settings=settings) as lm:
        if any(row.type == "embedding" for row in lm.loaded()):
            lm.unload(settings.embedding_model)
        lm.load(settings.embedding_model, ttl=0)
        assert any(row.type == "embedding" for row in lm.loaded())
    with LMStudio(settings=settings) as lm:
        assert not any(row.type == "embedding" for row in lm.loaded())


def test_a_ttl_without_meaning_is_refused(lm: LMStudio) -> None:
    with pytest.raises(errors.UsageProblem, match="-1 for never"):
        lm.load(ttl=-5)


def test_unloading_what_is_not_loaded_is_said(lm: LMStudio) -> None:
    with pytest.raises(errors.ModelNotFound, match="not loaded"):
        lm.unload("no-such-model")


def test_an_answer_whole_and_in_pieces(lm: LMStudio) -> None:
    pieces: list[str] = []
    reply = lm.respond("Say hello in French, in one word.", max_tokens=12, on_text=pieces.append)
    assert reply.text == "".join(pieces) == str(reply)
    assert reply.usage["prompt_tokens"] > 5
    streamed = list(lm.respond_stream("Say hello in French, in one word.", max_tokens=12))
    assert "".join(delta.text for delta in streamed) == reply.text
    assert streamed[-1].finish_reason == reply.finish_reason


def test_an_answer_in_the_form_that_was_asked_for(lm: LMStudio) -> None:
    prompt = "Oslo has 717000 inhabitants. Give the name and the inhabitants."
    reply = lm.respond(prompt, form=City, max_tokens=80)
    assert isinstance(reply.value, City)
    assert reply.value.name == "Oslo"
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert set(lm.respond(prompt, form=schema, max_tokens=80).value) >= {"name"}


def test_a_form_that_was_cut_is_an_error(lm: LMStudio) -> None:
    with pytest.raises(errors.BadReply, match="cut at 3 tokens"):
        lm.respond("Oslo has 717000 inhabitants.", form=City, max_tokens=3)


def test_the_model_calls_a_function_and_uses_its_result(lm: LMStudio) -> None:
    seen: list[ToolUse] = []
    done = lm.act("What is 1234.5 plus 4321?", [add, weather], max_tokens=100, max_rounds=4, on_tool=seen.append)
    assert seen[0].name == "add"
    assert seen[0].result == "5555.5"
    assert tuple(seen) == done.uses
    assert "5555.5" in done.text.replace(",", "")
    assert done.rounds >= 2
    assert done.messages[-1] == {"role": "assistant", "content": done.text}


def test_the_last_round_is_words(lm: LMStudio) -> None:
    done = lm.act("What is 2 plus 3?", [add], max_tokens=60, max_rounds=1)
    assert done.uses == ()
    assert done.rounds == 1
    assert done.text
    with pytest.raises(errors.UsageProblem, match="max_rounds"):
        lm.act("What is 2 plus 3?", [add], max_rounds=0)


def test_vectors_and_tokens(lm: LMStudio) -> None:
    vectors = lm.embed(["a dog", "a hound", "tax law"])
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    text = "Bonjour, the quick brown fox."
    assert 5 <= lm.count_tokens(text) <= 12
    assert lm.count_tokens([{"role": "user", "content": text}]) > lm.count_tokens(text)


# -- functions as tools, without a server --------------------------------------------------------------------------


def test_a_function_is_told_with_its_types() -> None:
    offer = tool_of(weather).offer["function"]
    assert offer["name"] == "weather"
    assert offer["description"] == "The weather in a city now."
    assert offer["parameters"]["required"] == ["city"]
    assert offer["parameters"]["properties"]["unit"]["enum"] == ["C", "F"]


def test_arguments_are_converted_and_checked() -> None:
    tool = tool_of(add)
    assert tool.call('{"a": "1.5", "b": 2}') == 3.5
    with pytest.raises(ValueError, match="b: Missing"):
        tool.call('{"a": 1}')
    with pytest.raises(ValueError, match="JSON"):
        tool.call("a=1")


def _undescribed(a: int) -> int:
    return a


def _unnamed(*numbers: int) -> int:
    """Numbers."""
    return sum(numbers)


@pytest.mark.parametrize(
    ("function", "message"),
    [(_undescribed, "no docstring"), (_unnamed, "without a name"), (lambda a: a, "no name")],
)
def test_what_a_model_cannot_call_is_refused(function: object, message: str) -> None:
    with pytest.raises(errors.UsageProblem, match=message):
        tool_of(function)  # type: ignore[arg-type]


def test_long_results_are_cut_and_objects_become_json() -> None:
    assert result_text({"city": City(name="Oslo", inhabitants=1)}) == '{"city":{"name":"Oslo","inhabitants":1}}'
    assert result_text("x" * 50_000).endswith("(cut; 50000 characters in all)")


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('```json\n{"name": "add", "arguments": {"a": 1}}\n```', [("add", '{"a": 1}')]),
        ('<tool_call>{"name": "add", "parameters": {"a": {"b": 2}}}</tool_call>', [("add", '{"a": {"b": 2}}')]),
        ('{"name": "add", "arguments": {}} {"name": "add", "arguments": {}}', [("add", "{}"), ("add", "{}")]),
        ('{"name": "rm", "arguments": {}}', []),
        ('{"name": "add", "arguments": "all"}', []),
        ("{{{{ add(1, 2)", []),
    ],
)
def test_calls_that_a_server_did_not_recognise(text: str, calls: list[tuple[str, str]]) -> None:
    assert calls_in_text(text, ["add"]) == calls


def test_forms() -> None:
    assert response_format(City)["json_schema"]["name"] == "City"
    assert response_format({"title": "my form!", "type": "object"})["json_schema"]["name"] == "my_form_"
    assert in_form('```json\n{"name": "Oslo", "inhabitants": 7}\n```', City) == City(name="Oslo", inhabitants=7)
    assert in_form("[1, 2]", list[int]) == [1, 2]
    with pytest.raises(errors.BadReply, match="inhabitants"):
        in_form('{"name": "Oslo"}', City)
    with pytest.raises(errors.BadReply, match="form"):
        in_form("Oslo", {"type": "object"})
