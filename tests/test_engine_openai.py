"""The engine's OpenAI routes over real HTTP: tools, formats, sampling, plain completions, concurrency."""

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import psutil
import pytest
from engine_fixture import CHAT, RunningEngine, engine
from engine_talk import ASKED, QWEN, TIME, WEATHER, chunks, earlier_calls

NO_END = {"2": -100, "0": -100, "151645": -100, "151643": -100}
"""The tokens that end an answer of either model, made unlikely."""
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine"), CHAT, QWEN) as running:
        assert running.post("/api/v1/models/load", model=CHAT, context_length=1024).status_code == 200
        assert running.post("/api/v1/models/load", model=QWEN, context_length=1024).status_code == 200
        yield running


def chat(running: RunningEngine, messages: Any = ASKED, model: str = CHAT, **more: Any) -> httpx2.Response:
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 80, **more}
    return running.post("/v1/chat/completions", **body)


@pytest.mark.parametrize("model", [CHAT, QWEN])
def test_required_tool_call(shared: RunningEngine, model: str) -> None:
    """Whatever the model would rather say, and whether or not its template knows tools."""
    reply = chat(shared, [{"role": "user", "content": "Tell a joke."}], model, tools=[WEATHER], tool_choice="required")
    (choice,) = reply.json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == ""
    (call,) = choice["message"]["tool_calls"]
    assert re.fullmatch(r"\d+", call["id"])
    assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
    arguments = json.loads(call["function"]["arguments"])
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("c", "f")


def test_required_tool_call_streamed(shared: RunningEngine) -> None:
    """The name first with empty arguments, then the arguments in pieces."""
    told = chunks(chat(shared, tools=[WEATHER, TIME], tool_choice="required", stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in told]
    first = deltas[0]["tool_calls"][0]
    assert deltas[0]["role"] == "assistant"
    assert first["id"].isdecimal()
    assert first == {
        "index": 0,
        "id": first["id"],
        "type": "function",
        "function": {"name": first["function"]["name"], "arguments": ""},
    }
    pieces = [delta["tool_calls"][0] for delta in deltas[1:-1]]
    assert len(pieces) > 1
    assert all(list(piece) == ["index", "function"] for piece in pieces)
    assert isinstance(json.loads("".join(piece["function"]["arguments"] for piece in pieces)), dict)
    assert told[-1]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"}]


def test_tool_with_references(shared: RunningEngine) -> None:
    """Schemas that refer to their own definitions, as pydantic writes them, keep their meaning inside the grammar."""
    parameters = {
        "$defs": {"Place": {"type": "object", "properties": {"city": {"const": "Paris"}}, "required": ["city"]}},
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "required": ["place"],
    }
    tools = [{"type": "function", "function": {"name": "travel", "parameters": parameters}}]
    reply = chat(shared, tools=tools, tool_choice="required").json()
    (call,) = reply["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["place"]["city"] == "Paris"


def test_no_tool_call(shared: RunningEngine) -> None:
    """`none` keeps the tools from the model: the prompt is as long as without."""
    without = chat(shared, max_tokens=1).json()["usage"]["prompt_tokens"]
    assert chat(shared, max_tokens=1, tools=[WEATHER], tool_choice="none").json()["usage"]["prompt_tokens"] == without
    assert chat(shared, max_tokens=1, tools=[WEATHER]).json()["usage"]["prompt_tokens"] > without


@pytest.mark.parametrize("model", [CHAT, QWEN])
def test_tool_results(shared: RunningEngine, model: str) -> None:
    messages = earlier_calls("Rome")[:3]
    reply = chat(shared, messages, model, max_tokens=20)
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"]


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(("model", "strict"), [(CHAT, True), (CHAT, "true"), (CHAT, None), (QWEN, True)])
def test_json_schema(shared: RunningEngine, model: str, strict: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": strict, "schema": SCHEMA}}
    answer = chat(shared, ASKED, model, response_format=form, temperature=1).json()["choices"][0]
    assert answer["finish_reason"] == "stop"
    person = json.loads(answer["message"]["content"])
    assert list(person) == ["name", "age", "tags"]
    assert len(person["name"]) <= 12
    assert 0 <= person["age"] <= 99
    assert 1 <= len(person["tags"]) <= 2
    assert set(person["tags"]) <= {"a", "b"}


def test_sampling(shared: RunningEngine) -> None:
    """Every field reaches the model; a seed repeats."""

    def said(**more: Any) -> str:
        reply = chat(shared, [{"role": "user", "content": "Say something."}], **{"max_tokens": 12, **more})
        assert reply.status_code == 200, reply.text
        text: str = reply.json()["choices"][0]["message"]["content"]
        return text

    free: dict[str, Any] = {"temperature": 2, "top_k": 0, "top_p": 1, "min_p": 0, "repeat_penalty": 1}
    assert said(seed=1, **free) == said(seed=1, **free)
    assert len({said(seed=seed, **free) for seed in range(3)}) == 3
    greedy = said(repeat_penalty=1)
    for narrow in ({"top_k": 1}, {"top_p": 0.0001}, {"min_p": 1}, {"temperature": 0}):
        assert said(**{**free, **narrow}) == greedy
    for penalty in ({"presence_penalty": 2}, {"frequency_penalty": 2}, {"repeat_penalty": 1.9}):
        assert said(**{"repeat_penalty": 1, **penalty}) != greedy, penalty
    assert said(logit_bias={"28": 100}, repeat_penalty=1) == "," * 12
    assert said(repeat_penalty=1, stop=greedy[1:4]) == greedy[:1]
    assert said(repeat_penalty=1, n=3, user="me", top_logprobs=2, reasoning_effort="low", preset="x") == greedy


def test_logprobs_are_null(shared: RunningEngine) -> None:
    assert chat(shared, logprobs=True, top_logprobs=2, max_tokens=1).json()["choices"][0]["logprobs"] is None


def test_unlimited(shared: RunningEngine) -> None:
    """-1 is no limit, nor is a limit left out: the model stops by itself, or at the end of its context."""
    reply = chat(shared, [{"role": "user", "content": "Say: yes"}], max_tokens=-1).json()
    assert reply["choices"][0]["finish_reason"] in ("stop", "length")


def test_developer_is_system(shared: RunningEngine) -> None:
    def tokens(role: str) -> Any:
        return chat(shared, [{"role": role, "content": "Be brief."}, *ASKED], max_tokens=1).json()["usage"]

    assert tokens("developer") == tokens("system")


def test_content_parts(shared: RunningEngine) -> None:
    parts = [{"type": "text", "text": "What is the weather in Paris?"}]
    assert (
        chat(shared, [{"role": "user", "content": parts}], max_tokens=1).json()["usage"]["prompt_tokens"]
        == (chat(shared, max_tokens=1).json()["usage"]["prompt_tokens"])
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"temperature": "hot"}, "'temperature' field must be a number"),
        ({"seed": True}, "'seed' field must be a number"),
        ({"stop": 7}, "'stop' field must be a string or an array of strings"),
        ({"logit_bias": [1]}, "'logit_bias' field must be an object"),
        ({"tools": [7]}, "'tools' field must be an array of functions"),
        (
            {"tool_choice": "maybe"},
            "Invalid tool_choice type: 'maybe'. Supported string values: none, auto, required",
        ),
        ({"response_format": {"type": "json_schema"}}, "'response_format.json_schema.schema' field must be an object"),
        ({"messages": "hello"}, "'messages' field must be an array of messages"),
        ({"messages": [{"content": "x"}]}, "Each message in 'messages' must have a 'role'"),
    ],
)
def test_refused(shared: RunningEngine, more: dict[str, Any], message: str) -> None:
    reply = chat(shared, **{"messages": ASKED, **more})
    assert (reply.status_code, reply.json()) == (400, {"error": message})


@pytest.mark.parametrize("model", [CHAT, QWEN])
def test_odd_but_possible(shared: RunningEngine, model: str) -> None:
    """Half a character, arguments that were cut off, more tokens than there are numbers."""
    broken = earlier_calls("Rome")[:3]
    broken[1]["tool_calls"][0]["function"]["arguments"] = '{"city": "Ro'
    assert chat(shared, broken, model, tools=[WEATHER], max_tokens=1).status_code == 200
    body = {"model": model, "messages": [{"role": "user", "content": "\ud800"}], "max_tokens": 1}
    assert shared.http.post("/v1/chat/completions", content=json.dumps(body).encode()).status_code == 200
    assert chat(shared, model=model, max_tokens=10**12, stop=["a", "e", "i", "o"]).status_code == 200


@pytest.mark.parametrize(
    "url", ["http://x/y.png", "data:image/webp;base64,AAAA", "data:image/png;base64,***", "data:text/plain,x", None, 7]
)
def test_images_are_data(shared: RunningEngine, url: Any) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    reply = chat(shared, [{"role": "user", "content": parts}])
    assert (reply.status_code, reply.json()) == (400, {"error": "'url' field must be a base64 encoded image."})


def test_image_without_vision(shared: RunningEngine) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    reply = chat(shared, [{"role": "user", "content": parts}])
    assert (reply.status_code, reply.json()) == (
        400,
        {"error": "Model does not support images. Please use a model that does."},
    )


def test_plain_completion(shared: RunningEngine) -> None:
    """The prompt as it is, without a template."""
    body = {"model": CHAT, "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
    reply = shared.post("/v1/completions", **body).json()
    assert list(reply) == ["id", "object", "created", "model", "choices", "usage", "stats"]
    assert re.fullmatch(r"cmpl-[a-z0-9]{21}", reply["id"])
    (choice,) = reply["choices"]
    assert choice == {"index": 0, "text": choice["text"], "logprobs": None, "finish_reason": "length"}
    assert choice["text"].startswith(" Paris")
    assert reply["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    told = chunks(shared.post("/v1/completions", **body, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk["choices"][0]["text"] for chunk in told[:-1]) == choice["text"]
    assert told[-2]["choices"][0]["finish_reason"] == "length"
    assert (told[-1]["choices"], told[-1]["usage"]) == ([], reply["usage"])
    assert {chunk["object"] for chunk in told} == {"text_completion"}
    assert shared.post("/v1/completions", model=CHAT).json() == {"error": "'prompt' field is required"}
    refused = shared.post("/v1/completions", model=CHAT, prompt=["a"])
    assert (refused.status_code, refused.json()) == (400, {"error": "'prompt' field must be a string"})
    long = shared.post("/v1/completions", model=CHAT, prompt="hello " * 2000)
    assert long.status_code == 400
    assert long.json()["error"].startswith("The number of tokens to keep from the initial prompt")


def test_four_at_once(shared: RunningEngine) -> None:
    """They run together: each has begun to answer before the first has ended."""
    spans: list[tuple[float, float]] = []

    def ask(number: int) -> None:
        body = {"model": CHAT, "messages": [{"role": "user", "content": f"Count from {number}."}], "max_tokens": 40}
        body |= {"logit_bias": NO_END, "stream": True}
        with httpx2.stream("POST", f"{shared.url}/v1/chat/completions", json=body, timeout=60) as reply:
            lines = reply.iter_lines()
            assert next(lines).startswith("data: ")
            began = time.monotonic()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        spans.append((began, time.monotonic()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spans) == 4
    assert max(began for began, _ in spans) < min(ended for _, ended in spans)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": ASKED, "max_tokens": -1}),
        ("/v1/completions", {"prompt": "Once upon a time", "max_tokens": -1}),
        ("/v1/responses", {"input": "Tell a very long story."}),
        ("/v1/messages", {"messages": ASKED, "max_tokens": 900}),
    ],
)
def test_hanging_up_frees_the_model(shared: RunningEngine, path: str, body: dict[str, Any]) -> None:
    """A bias against the end keeps the model busy for many seconds, unless it notices that nobody listens."""
    workers = psutil.Process(shared.pid).children()
    body = {"model": QWEN, **body, "logit_bias": NO_END}
    with pytest.raises(httpx2.ReadTimeout):
        shared.http.post(path, json=body, timeout=0.5)
    with shared.http.stream("POST", path, json={**body, "stream": True}) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 10
    while True:
        before = sum(worker.cpu_times().user for worker in workers)
        time.sleep(0.5)
        if sum(worker.cpu_times().user for worker in workers) - before < 0.15:
            break
        assert time.monotonic() < deadline, "the model still works on what nobody reads"
