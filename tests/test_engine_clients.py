"""Clients that we did not write, against the running engine: what they make of its answers is the test.

Each is skipped where it is not installed, but for `openai`, which the package itself needs.
"""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel, Field

QWEN = "qwen2.5-coder-0.5b-instruct"
ASKED: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
PARAMETERS: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}


class Person(BaseModel):
    """A person."""

    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=99)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT, EMBED) as running:
        for model in (CHAT, EMBED):
            assert running.post("/api/v1/models/load", model=model).status_code == 200
        yield running


@pytest.fixture(scope="module")
def sdk(shared: RunningEngine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_chat(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model=CHAT, messages=ASKED, temperature=0, max_tokens=8)
    assert reply.model == CHAT
    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 8
    stream = sdk.chat.completions.create(
        model=CHAT,
        messages=ASKED,
        temperature=0,
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == reply.choices[0].message.content
    assert chunks[-1].usage == reply.usage


def test_openai_tools(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
    asked = {"model": CHAT, "messages": ASKED, "tools": tools, "tool_choice": "required", "temperature": 0}
    reply = sdk.chat.completions.create(**asked)  # type: ignore[call-overload]
    (call,) = reply.choices[0].message.tool_calls
    assert list(json.loads(call.function.arguments)) == ["city"]
    with sdk.chat.completions.stream(**asked) as stream:  # type: ignore[arg-type]
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert final.choices[0].finish_reason == "tool_calls"
    (streamed,) = final.choices[0].message.tool_calls or ()
    assert streamed.function.arguments == call.function.arguments
    messages: Any = [
        *ASKED,
        reply.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "rain, 9 C"},
    ]
    after = sdk.chat.completions.create(model=CHAT, messages=messages, tools=tools, max_tokens=8)
    assert after.choices[0].message.role == "assistant"


def test_openai_structured_output(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.parse(model=CHAT, messages=ASKED, response_format=Person, max_tokens=80)
    assert isinstance(reply.choices[0].message.parsed, Person)


def test_openai_embeddings(sdk: openai.OpenAI) -> None:
    """The SDK asks for base64 and takes the floats that come."""
    reply = sdk.embeddings.create(model=EMBED, input=["a", "b"])
    assert [len(item.embedding) for item in reply.data] == [384, 384]
    assert isinstance(reply.data[0].embedding[0], float)


def test_openai_completions_and_models(sdk: openai.OpenAI) -> None:
    reply = sdk.completions.create(model=CHAT, prompt="The capital of France is", max_tokens=3, temperature=0)
    assert reply.choices[0].text.startswith(" Paris")
    stream = sdk.completions.create(
        model=CHAT, prompt="The capital of France is", max_tokens=3, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == reply.choices[0].text
    assert {model.id for model in sdk.models.list()} >= {CHAT, EMBED}


def test_openai_responses(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model=CHAT, input="My name is Ada.", temperature=0, max_output_tokens=8)
    assert first.output_text
    second = sdk.responses.create(
        model=CHAT, input="What is my name?", previous_response_id=first.id, max_output_tokens=8
    )
    assert second.previous_response_id == first.id
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}]
    called = sdk.responses.create(model=CHAT, input=ASKED, tools=tools, tool_choice="required")
    (call,) = called.output
    assert call.type == "function_call"
    assert list(json.loads(call.arguments)) == ["city"]


def test_openai_responses_stream(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model=CHAT, input="Say hello.", temperature=0) as stream:
        text = "".join(event.delta for event in stream if isinstance(event, ResponseTextDeltaEvent))
        final = stream.get_final_response()
    assert (final.output_text, final.status) == (text, "completed")
    with pytest.raises(openai.APIError, match="number of tokens to keep"):
        list(sdk.responses.create(model=CHAT, input="hello " * 9000, stream=True))


def test_openai_errors(sdk: openai.OpenAI, shared: RunningEngine) -> None:
    with pytest.raises(openai.BadRequestError) as unknown:
        sdk.embeddings.create(model=CHAT, input="x")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=CHAT, messages="x")  # type: ignore[arg-type]
    assert refused.value.body == "'messages' field must be an array of messages"
    with pytest.raises(openai.InternalServerError, match="number of tokens to keep"):
        sdk.responses.create(model=CHAT, input="hello " * 9000)
    with pytest.raises(openai.APIError, match="number of tokens to keep"):
        list(sdk.chat.completions.create(model=CHAT, messages=[{"role": "user", "content": "x " * 9000}], stream=True))
    assert shared.loaded() == [CHAT, EMBED]


def test_anthropic(shared: RunningEngine) -> None:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=shared.url, api_key="none", max_retries=0) as client:
        asked: Any = {"model": CHAT, "max_tokens": 60, "messages": ASKED, "extra_body": {"temperature": 0}}
        reply = client.messages.create(**asked, system="Be brief.")
        assert (reply.type, reply.role, reply.content[0].type) == ("message", "assistant", "text")
        with client.messages.stream(**asked, system="Be brief.") as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert text == reply.content[0].text == final.content[0].text
        assert final.usage.input_tokens == reply.usage.input_tokens > 0
        assert final.usage.output_tokens == reply.usage.output_tokens > 0
        assert final.stop_reason == reply.stop_reason
        tools = [{"name": "get_weather", "description": "Weather", "input_schema": PARAMETERS}]
        with client.messages.stream(**asked, tools=tools, tool_choice={"type": "any"}) as stream:
            called = stream.get_final_message()
        (use,) = called.content
        assert (called.stop_reason, use.type, list(use.input)) == ("tool_use", "tool_use", ["city"])
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "rain, 9 C"}
        messages = [*ASKED, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
        after = client.messages.create(**{**asked, "messages": messages}, tools=tools)
        assert after.content
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(**{**asked, "messages": []})
        with pytest.raises(anthropic.InternalServerError, match="number of tokens to keep"):
            client.messages.create(**{**asked, "messages": [{"role": "user", "content": "x " * 9000}]})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_langchain(shared: RunningEngine) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    model = langchain_openai.ChatOpenAI(
        model=CHAT, base_url=f"{shared.url}/v1", api_key="none", temperature=0, max_tokens=60, max_retries=0
    )
    whole = model.invoke("What is the weather in Paris?")
    assert "".join(chunk.content for chunk in model.stream("What is the weather in Paris?")) == whole.content
    assert whole.usage_metadata["output_tokens"] > 0
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
    called = model.bind_tools([tool], tool_choice="any").invoke("What is the weather in Paris?")
    assert [(call["name"], list(call["args"])) for call in called.tool_calls] == [("get_weather", ["city"])]
    person = model.with_structured_output(Person, method="json_schema").invoke("Invent a person.")
    assert isinstance(person, Person)
    embeddings = langchain_openai.OpenAIEmbeddings(
        model=EMBED, base_url=f"{shared.url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    assert [len(vector) for vector in embeddings.embed_documents(["a", "b"])] == [384, 384]


@pytest.mark.filterwarnings("ignore")
def test_llama_index(shared: RunningEngine) -> None:
    lmstudio = pytest.importorskip("llama_index.llms.lmstudio")
    openai_like = pytest.importorskip("llama_index.embeddings.openai_like")
    from llama_index.core.llms import ChatMessage

    # It puts the temperature where neither LM Studio nor the engine looks for it.
    model = lmstudio.LMStudio(model_name=CHAT, base_url=f"{shared.url}/v1", request_timeout=60)
    asked = [ChatMessage(role="user", content="Reply with one word: yes.")]
    assert model.chat(asked).message.content
    assert "".join(piece.delta or "" for piece in model.stream_chat(asked))
    assert model.complete("Reply with one word: yes.").text
    embedding = openai_like.OpenAILikeEmbedding(model_name=EMBED, api_base=f"{shared.url}/v1", api_key="none")
    assert len(embedding.get_text_embedding("a")) == 384
