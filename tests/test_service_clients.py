"""Programs that know nothing of us: OpenAI's own client on /v1, and the seed's examples on /api/lmstudio."""

import base64
import json
from collections.abc import Iterator

import openai
import pytest
from lmstudio_server import CHAT, EMBED, GUARDRAIL, OTHER, chunk_of
from service_fixture import QUESTION, SAYS, RunningService, events

LM = "/api/lmstudio"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def client(service: RunningService) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as made:
        yield made


# -- OpenAI --


def test_an_openai_client_gets_cited_answers(client: openai.OpenAI) -> None:
    """The text with its markers, the sources below it as Markdown, and the citations as data."""
    assert [model.id for model in client.models.list()] == ["rag"]
    assert client.models.retrieve("rag").owned_by == "lmstudio-rag"
    said = client.chat.completions.create(model="rag", messages=[{"role": "user", "content": QUESTION}])
    content = said.choices[0].message.content or ""
    assert content.startswith(f"{SAYS.rstrip('.')}. [1]\n\n---\n\n**Sources**\n\n1. **docs/clamp")
    assert (said.choices[0].finish_reason, said.model, said.usage is not None) == ("stop", "rag", True)
    citations = (said.model_extra or {})["citations"]
    assert [(one["n"], one["source"], one["status"]) for one in citations] == [(1, "docs/clamp.md", "verified")]


def test_a_stream_brings_the_draft_and_then_the_checked_answer(client: openai.OpenAI, service: RunningService) -> None:
    """Only what has been checked is content; the draft, whose markers are others, comes as reasoning."""
    service.lm.say("The mast clamp bolts ", "need 9 Nm.", reasoning="Hm.")
    with client.chat.completions.create(
        model="rag",
        messages=[{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        stream=True,
        stream_options={"include_usage": True},
        temperature=0.9,
    ) as stream:
        chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thought = "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas)
    assert thought.endswith(f"Hm.{SAYS}")
    assert "".join(delta.content or "" for delta in deltas).startswith(f"{SAYS} [1]\n\n---")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert (chunks[-2].model_extra or {})["citations"][0]["quote"] in SAYS
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_question_is_understood_from_the_turns_before_it(client: openai.OpenAI, service: RunningService) -> None:
    """The model rewrites it, and is shown our earlier answer without the sources below it."""
    rewritten = json.dumps({"questions": ["What torque do the mast clamp bolts need?"]})
    service.lm.say(rewritten)
    service.lm.say(SAYS)
    service.lm.seen.clear()
    before = (
        f"The mast clamp holds the mast unit. [1]\n\n---\n\n**Sources**\n\n1. **docs/clamp\\.md**\n\n   > {'x' * 90}"
    )
    said = client.chat.completions.create(
        model="rag",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What holds the mast unit? What torque do bolts need?"},
            {"role": "assistant", "content": before},
            {"role": "user", "content": "What torque do its bolts need?"},
        ],
    )
    prompts = [body["messages"][-1]["content"] for body in service.lm.bodies("/v1/chat/completions")]
    assert len(prompts) == 2
    assert "The mast clamp holds the mast unit." in prompts[0]
    assert "xxx" not in "".join(prompts)
    assert "Question: What torque do its bolts need?" in prompts[1]  # what was rewritten is searched for
    assert (said.choices[0].message.content or "").startswith(SAYS)


def test_openai_errors(client: openai.OpenAI, service: RunningService) -> None:
    """As OpenAI tells them, so that its client raises its own."""
    with pytest.raises(openai.NotFoundError, match="the only one is 'rag'"):
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": QUESTION}])
    with pytest.raises(openai.BadRequestError, match="No message of the user"):
        client.chat.completions.create(model="rag", messages=[{"role": "system", "content": "x"}])
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="rag", messages=[{"role": "user", "content": QUESTION}], n=2)
    service.lm.stream(chunk_of(CHAT, "The "), 'event: error\ndata: {"error": {"message": "out of paper"}}\n\n')
    stream = client.chat.completions.create(model="rag", messages=[{"role": "user", "content": QUESTION}], stream=True)
    with pytest.raises(openai.APIError, match="out of paper"):
        list(stream)


def test_an_abstention_has_no_sources(client: openai.OpenAI, service: RunningService) -> None:
    service.lm.say("I don't know.")
    said = client.chat.completions.create(model="rag", messages=[{"role": "user", "content": QUESTION}])
    assert "Sources" not in (said.choices[0].message.content or "")
    assert (said.model_extra or {})["abstained"] is True


def test_documents_make_no_links_in_a_client(client: openai.OpenAI, service: RunningService) -> None:
    """What the model repeats from a hostile document shows as text in clients that render Markdown."""
    service.lm.say(f"{SAYS} ![x](https://evil.example/a) [1](https://evil.example)")
    said = client.chat.completions.create(model="rag", messages=[{"role": "user", "content": QUESTION}])
    content = said.choices[0].message.content or ""
    assert "](http" not in content.replace("\\]", "")
    assert "https://" not in content


# -- the seed's service --


def test_health_and_models(service: RunningService) -> None:
    health = service.http.get(f"{LM}/health").json()
    assert (health["status"], health["auth"], health["models"]) == ("ok", "ok", 3)
    rows = {row["key"]: row for row in service.http.get(f"{LM}/models").json()["models"]}
    assert set(rows) == {EMBED, CHAT, OTHER}
    assert (rows[OTHER]["vision"], rows[CHAT]["vision"], rows[EMBED]["type"]) == (True, False, "embedding")


def test_load_with_a_ttl_and_unload(service: RunningService) -> None:
    """A key with a slash; the time it has left counts down; the type in either spelling."""
    body = {"model_key": OTHER, "ttl": 3600, "context_length": 2048}
    loaded = service.http.post(f"{LM}/models/load", json=body).json()
    assert loaded == {"model_key": OTHER, "instance_id": OTHER, "type": "llm", "context_length": 2048}
    assert ("/api/v1/models/load", "ttl") not in [(path, key) for path, sent in service.lm.seen for key in sent]
    listed = service.http.get(f"{LM}/models/loaded", params={"model_type": "llm"}).json()["models"]
    row = next(row for row in listed if row["model_key"] == OTHER)
    assert (row["ttl_s"], row["ours"], 3000 < row["remaining_s"] <= 3600) == (3600, True, True)
    assert row["expires_at"] > row["remaining_s"]
    embedders = [
        service.http.get(f"{LM}/models/loaded", params={"model_type": t}).json() for t in ("embedding", "embeddings")
    ]
    assert all(row["type"] == "embedding" for found in embedders for row in found["models"])
    assert service.http.delete(f"{LM}/models/unload/{OTHER}").json() == {"unloaded": [OTHER]}
    assert service.http.delete(f"{LM}/models/unload/{OTHER}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model_key": "no/such"}, 404, "model_not_found"),
        ({"model_key": CHAT, "ttl": 0}, 400, "usage_problem"),
        ({"model_key": CHAT, "ttl": -5}, 422, "invalid_value"),
        ({"model": CHAT}, 422, "invalid_value"),
    ],
)
def test_loads_that_cannot_be(service: RunningService, body: object, status: int, code: str) -> None:
    reply = service.http.post(f"{LM}/models/load", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


def test_no_memory_for_a_model(service: RunningService) -> None:
    for _ in range(8):  # smaller contexts are tried
        service.lm.fail("/api/v1/models/load", 500, {"type": "model_load_failed", "message": GUARDRAIL})
    reply = service.http.post(f"{LM}/models/load", json={"model_key": OTHER, "context_length": 4096})
    service.lm.instead["/api/v1/models/load"].clear()
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "not_enough_memory")


def test_the_seeds_examples(service: RunningService) -> None:
    """Each body as the seed's document has it."""
    body: dict[str, object] = {"prompt": "Once upon a time", "temperature": 0.7, "max_tokens": 512, "stream": False}
    reply = service.http.post(f"{LM}/completions", json=body).json()
    assert (reply["text"], reply["finish_reason"], reply["model"]) == (SAYS, "stop", CHAT)
    sent = service.lm.bodies("/v1/completions")[-1]
    assert (sent["prompt"], sent["temperature"], sent["max_tokens"]) == ("Once upon a time", 0.7, 512)
    streamed = events(service.http.post(f"{LM}/completions", json={**body, "stream": True}).text)
    assert "".join(said["text"] for _, said in streamed if said) == SAYS
    assert streamed[-1] == ("", None)

    talk = [{"role": "system", "content": "You are a helpful assistant"}, {"role": "user", "content": "Tell me a joke"}]
    chat = service.http.post(f"{LM}/chat/completions", json={"messages": talk, "stream": False}).json()
    assert chat["choices"][0]["message"]["content"] == SAYS
    assert service.lm.bodies("/v1/chat/completions")[-1]["messages"] == talk
    chunks = events(service.http.post(f"{LM}/chat/completions", json={"messages": talk, "stream": True}).text)
    assert "".join(said["choices"][0]["delta"].get("content", "") for _, said in chunks if said) == SAYS

    parameters = {"a": {"type": "number"}, "b": {"type": "number"}}
    add = {"name": "add", "description": "Given two numbers a and b, returns the sum of them", "parameters": parameters}
    service.lm.say('{"name": "add", "arguments": {"a": 5, "b": 10}}')
    called = service.http.post(f"{LM}/tools", json={"prompt": "Calculate 5 + 10", "tools": [add]}).json()
    assert [(call["name"], call["arguments"]) for call in called["tool_calls"]] == [("add", {"a": 5, "b": 10})]
    offered = service.lm.bodies("/v1/chat/completions")[-1]["tools"][0]["function"]
    assert offered["parameters"] == {"type": "object", "properties": parameters, "required": ["a", "b"]}


def test_images_of_allowed_folders_only(service: RunningService) -> None:
    """By a model that sees, and its own; outside of the folders it is not even told what is there."""
    folder = service.desk.options.images[0]
    (folder / "a.png").write_bytes(PIXEL)
    (folder / "a.txt").write_bytes(b"text")
    asked = {"prompt": "Describe this image", "image_path": str(folder / "a.png")}
    assert service.http.post(f"{LM}/vision", json=asked).json()["model"] == OTHER
    parts = service.lm.bodies("/v1/chat/completions")[-1]["messages"][0]["content"]
    assert parts[1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    assert service.lm.loaded[OTHER] <= 8192  # a picture is counted as one, not by the letters that it is sent in
    refused = {
        str(folder / ".." / "docs" / "clamp.md"): 403,
        "/etc/passwd": 403,
        "/no/such/file": 403,
        "\x00": 403,
        str(folder / "none.png"): 404,
        str(folder / "a.txt"): 415,
    }
    got = {
        path: service.http.post(f"{LM}/vision", json={"prompt": "x", "image_path": path}).status_code
        for path in refused
    }
    assert got == refused
    blind = service.http.post(f"{LM}/vision", json={**asked, "model": CHAT})
    assert (blind.status_code, OTHER in blind.json()["error"]["message"]) == (404, True)
    service.http.delete(f"{LM}/models/unload/{OTHER}")
