"""What goes wrong with models, and what becomes of it: the table of docs/models.md, row by row."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from lmstudio_server import (
    CHAT,
    CRASHED,
    EMBED,
    GUARDRAIL,
    IN_QUEUE,
    N_KEEP,
    NO_MODELS,
    OTHER,
    FakeLMStudio,
    chunk_of,
    lm_studio,
)

import rag.errors as errors
from rag import LMStudio
from rag.answer import answer_stream
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.embeddings import Embedder
from rag.lmstudio.http import Connection
from rag.lmstudio.leases import Leases
from rag.lmstudio.memory import affordable_context
from rag.lmstudio.models import Model
from rag.lmstudio.residency import ensure
from rag.types import Answer, Hit

CHATS, EMBEDDINGS, LOAD = "/v1/chat/completions", "/v1/embeddings", "/api/v1/models/load"
PASSAGES = [
    Hit("manual.md", f"d{n}", "", None, (), 0, len(text), text, 1.0)
    for n, text in enumerate(
        ["The mast clamp bolts need 9 Nm.", *[f"The hull number {n} is blue. " * 20 for n in range(5)]]
    )
]


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


class Told(list[str]):
    """The notices that a user sees."""

    def __call__(self, message: str) -> None:
        self.append(message)

    def of(self, part: str) -> list[str]:
        return [message for message in self if part in message]


def asked(server: FakeLMStudio, told: Told, **settings: Any) -> str:
    with closing(ChatModel(replace(server.settings, **settings), notify=told)) as model:
        said = ""
        for delta in model.stream([{"role": "user", "content": "How much torque?"}], max_tokens=64):
            said = delta.text if delta.again else said + delta.text
    return said


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, IN_QUEUE),
        (400, CRASHED),
        (400, NO_MODELS),
        (400, {"message": NO_MODELS, "type": "invalid_request_error", "param": "model", "code": None}),
        (404, {"type": "model_not_found", "message": f'Invalid model identifier "{EMBED}"'}),
        (200, IN_QUEUE),
    ],
    ids=["evicted-in-queue", "crashed", "none-loaded", "none-loaded-object", "unknown", "error-under-200"],
)
def test_an_embedding_model_that_is_gone_is_loaded_again_once(server: FakeLMStudio, status: int, error: Any) -> None:
    told = Told()
    with closing(Embedder(server.settings, notify=told)) as embedder:
        embedder.embed_query("before")
        server.fail(EMBEDDINGS, status, error, unload=EMBED)
        assert embedder.embed_documents(["after", "that"]).shape == (2, 64)
    assert len(server.bodies(LOAD)) == 2
    assert len(told.of("is gone")) == 1


@pytest.mark.parametrize("error", [IN_QUEUE, CRASHED, NO_MODELS])
def test_a_chat_model_that_is_gone_is_loaded_again_once(server: FakeLMStudio, error: str) -> None:
    told = Told()
    server.fail(CHATS, 400, error, unload=CHAT)
    assert asked(server, told) == server.says
    assert len(server.bodies(LOAD)) == 2
    assert len(told.of("is gone")) == 1


def test_a_model_that_stays_away_ends_in_one_line(server: FakeLMStudio) -> None:
    for _ in range(2):
        server.fail(CHATS, 400, CRASHED, unload=CHAT)
    with pytest.raises(errors.ModelGone, match="has crashed"):
        asked(server, Told())


def error_event(message: str) -> str:
    return f'event: error\ndata: {{"error": {{"message": "{message}"}}}}\n\n'


@pytest.mark.parametrize(
    "events",
    [
        [chunk_of(CHAT, "The mast "), error_event(CRASHED)],
        [chunk_of(CHAT, "The mast "), None],
        [chunk_of(CHAT, "The mast clamp bolts need "), error_event(IN_QUEUE)],
    ],
    ids=["error-in-stream", "disconnect-mid-stream", "evicted-mid-stream"],
)
def test_an_answer_that_broke_off_goes_on_where_it_was(server: FakeLMStudio, events: list[str | None]) -> None:
    told = Told()
    server.stream(*events)
    with closing(ChatModel(server.settings, notify=told)) as model:
        deltas = list(model.stream([{"role": "user", "content": "How much torque?"}], max_tokens=64))
    assert "".join(delta.text for delta in deltas) == server.says
    assert not any(delta.again for delta in deltas)
    assert len(told.of("is gone")) == 1


@pytest.mark.parametrize("says", ["Nine newton metres.", "The mast", "The mast clamp is blue."])
def test_an_answer_that_broke_off_and_comes_otherwise_begins_anew(server: FakeLMStudio, says: str) -> None:
    server.stream(chunk_of(CHAT, "The mast "), chunk_of(CHAT, "clamp bolts"), None)
    server.says = says
    assert asked(server, Told()) == says


def test_an_answer_checks_only_what_was_said_last(server: FakeLMStudio) -> None:
    server.stream(chunk_of(CHAT, "The hull number 3 is red. "), None)
    with closing(ChatModel(server.settings)) as model:
        *_, answer = answer_stream("What torque do the mast clamp bolts need?", PASSAGES, model, answer_tokens=64)
    assert isinstance(answer, Answer)
    assert answer.text == "The mast clamp bolts need 9 Nm. [1]"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("form", ["error", "empty-stream"])
def test_a_prompt_beyond_the_context_is_asked_again_with_fewer_passages(
    server: FakeLMStudio, form: str, times: int
) -> None:
    for _ in range(times):
        if form == "error":
            server.fail(CHATS, 400, N_KEEP)
        else:
            server.stream(chunk_of(CHAT, "", "stop"), "data: [DONE]\n\n")
    with closing(ChatModel(server.settings)) as model:
        *_, answer = answer_stream("What torque do the mast clamp bolts need?", PASSAGES, model, answer_tokens=64)
    assert isinstance(answer, Answer)
    assert answer.citations[0].quote == PASSAGES[0].text
    prompts = [len(body["messages"][0]["content"]) for body in server.bodies(CHATS)]
    assert len(prompts) == times + 1
    assert prompts == sorted(prompts, reverse=True)
    assert prompts[0] > prompts[-1]


# -- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_made_by_unloading_our_own_idle_models_first(server: FakeLMStudio) -> None:
    told = Told()
    with LMStudio(settings=server.settings, notify=told) as lm:
        lm.load(OTHER, context_length=6000)
        server.memory = 10_000
        assert lm.load(CHAT, context_length=8000).context_length == 8000
    assert list(server.loaded) == [CHAT]
    assert told.of(f"unloaded {OTHER}, which we had loaded and was idle")


def test_what_others_loaded_stays_and_the_context_gets_smaller(server: FakeLMStudio) -> None:
    told = Told()
    server.rows[OTHER].instances[OTHER] = 6000
    server.memory = 9000
    with LMStudio(settings=server.settings, notify=told) as lm:
        assert lm.load(CHAT, context_length=8000).context_length == 2000
    assert server.loaded == {OTHER: 6000, CHAT: 2000}
    assert [line.rpartition("trying ")[2] for line in told.of("Memory is short")] == ["4000.", "2000."]


def test_where_nothing_helps_it_is_said_what_to_close(server: FakeLMStudio) -> None:
    server.rows[OTHER].instances[OTHER] = 6000
    server.memory = 6100
    with LMStudio(settings=server.settings) as lm, pytest.raises(errors.NotEnoughMemory) as caught:
        lm.load(CHAT)
    assert GUARDRAIL[:40] in str(caught.value)
    assert f"{OTHER} (by another program, 8.0 GB; `rag models unload {OTHER}`)" in str(caught.value)
    assert server.loaded == {OTHER: 6000}


def test_a_copy_that_is_too_small_serves_where_a_second_one_finds_no_room(server: FakeLMStudio) -> None:
    server.rows[CHAT].instances[CHAT] = 4096
    server.memory = 8000
    with LMStudio(settings=server.settings) as lm:
        loaded = lm.load(CHAT, context_length=8000)
    assert (loaded.instance_id, loaded.context_length) == (CHAT, 4096)
    assert not loaded.leased
    assert server.loaded == {CHAT: 4096}


def test_a_loader_that_dies_without_a_word_gets_a_smaller_context(server: FakeLMStudio) -> None:
    opaque = {"type": "model_load_failed", "message": "Failed to load model. (Exit code: 18446744072635810000)"}
    server.fail(LOAD, 500, opaque)
    with LMStudio(settings=server.settings) as lm:
        assert lm.load(CHAT).context_length == 2048


def test_another_reason_is_not_tried_again(server: FakeLMStudio) -> None:
    server.fail(LOAD, 500, {"type": "model_load_failed", "message": "Failed to load model: unknown architecture"})
    with LMStudio(settings=server.settings) as lm, pytest.raises(errors.ModelLoadFailed, match="unknown architecture"):
        lm.load(CHAT)
    assert len(server.bodies(LOAD)) == 1


def test_the_machine_bounds_the_context() -> None:
    model = Model("m", "llm", "m", 5_000_000_000, 131_072, None)
    assert affordable_context(model, 6_000_000_000) == 4096, "what the server would try by itself"
    assert affordable_context(model, 16_000_000_000) == 61603
    assert affordable_context(replace(model, size_bytes=None), 0) == 131_072


# -- copies and contexts ---------------------------------------------------------------------------------------------


def test_a_larger_question_replaces_our_own_copy_and_not_that_of_others(server: FakeLMStudio) -> None:
    with LMStudio(settings=server.settings) as lm:
        lm.load(CHAT, context_length=4096)
        assert lm.load(CHAT, context_length=10_000).instance_id == CHAT
        assert server.loaded == {CHAT: 10_000}
        lm.unload()
        server.rows[CHAT].instances[CHAT] = 4096
        assert lm.load(CHAT, context_length=10_000).instance_id == f"{CHAT}:2"
        assert server.loaded == {CHAT: 4096, f"{CHAT}:2": 10_000}


def test_of_two_copies_the_one_that_is_large_enough_answers(server: FakeLMStudio) -> None:
    server.rows[CHAT].instances |= {CHAT: 512, f"{CHAT}:2": 8192}
    with closing(ChatModel(server.settings)) as model:
        model.reserve(6000)
        list(model.stream([{"role": "user", "content": "?"}], max_tokens=8))
    assert server.bodies(CHATS)[0]["model"] == f"{CHAT}:2"
    assert server.bodies(LOAD) == []


def test_a_context_is_never_larger_than_the_models_own(server: FakeLMStudio) -> None:
    with LMStudio(settings=server.settings) as lm:
        assert lm.load(EMBED, context_length=100_000).context_length == 2048


def test_a_copy_that_a_race_made_is_mended(server: FakeLMStudio) -> None:
    """Another program knows no lock of ours: it loads between our look and our load."""
    real = server.rows[EMBED].instances
    with Connection(server.settings) as connection:
        original = connection.request

        def request(method: str, path: str, body: Any = None, **options: Any) -> Any:
            if path == LOAD:
                real[EMBED] = 2048  # the other program was faster
            return original(method, path, body, **options)

        connection.request = request  # type: ignore[method-assign]
        loaded = ensure(connection, "embedding", EMBED, 512)
    assert (loaded.instance_id, loaded.leased) == (EMBED, False)
    assert server.loaded == {EMBED: 2048}
    assert Leases(connection.base).all() == {}


# -- choosing --------------------------------------------------------------------------------------------------------


def test_the_choice_is_said_once_where_there_is_one(server: FakeLMStudio) -> None:
    told = Told()
    with closing(ChatModel(replace(server.settings, chat_model=None), notify=told)) as model:
        assert model.model.key == CHAT
        server.fail(CHATS, 400, CRASHED, unload=CHAT)
        list(model.stream([{"role": "user", "content": "?"}], max_tokens=8))
    assert len(told.of(f"Using {CHAT} as chat model")) == 1
    told.clear()
    with closing(Embedder(replace(server.settings, embedding_model=None), notify=told)) as embedder:
        embedder.embed_query("x")
    assert told.of("Using") == [], "there is only one"


def test_an_embedder_that_is_listed_as_a_chat_model_is_not_chosen_and_is_explained(server: FakeLMStudio) -> None:
    server.rows = {"jina-embeddings-v3": replace_type(server, EMBED, "llm"), CHAT: server.rows[CHAT]}
    with Connection(server.settings) as connection:
        assert ensure(connection, "llm", None, 0).key == CHAT
        with pytest.raises(errors.ModelNotFound, match="Override Domain Type"):
            ensure(connection, "embedding", "jina-embeddings-v3", 512)
    assert server.bodies(EMBEDDINGS) == [], "it was not tried: that would have loaded another copy as a chat model"


def replace_type(server: FakeLMStudio, key: str, type_: str) -> Any:
    row = server.rows[key]
    row.type = type_
    return row


def test_a_variant_is_addressed_by_its_bare_key(server: FakeLMStudio) -> None:
    with LMStudio(settings=server.settings) as lm:
        assert lm.load(f"{CHAT}@q4_k_m").instance_id == CHAT


def test_a_missing_model_is_downloaded_where_that_was_asked_for(server: FakeLMStudio) -> None:
    row = server.rows.pop(CHAT)
    told = Told()
    with (
        closing(ChatModel(server.settings)) as model,
        pytest.raises(errors.ModelNotFound, match="no model 'qwen/qwen3"),
    ):
        _ = model.model
    status = "/api/v1/models/download/status/job_1"
    downloading = {"status": "downloading", "job_id": "job_1", "total_size_bytes": 1000, "downloaded_bytes": 200}
    server.instead["/api/v1/models/download"].append((200, downloading, None))
    server.instead[status].append((200, {**downloading, "status": "completed", "downloaded_bytes": 1000}, None))
    server.rows[CHAT] = row
    server.instead["/api/v1/models"].extend([(200, {"models": []}, None)] * 2)
    with closing(ChatModel(replace(server.settings, download=True), notify=told)) as model:
        assert model.model.key == CHAT
    assert told[:3] == [
        f"The server has no {CHAT}; downloading {CHAT}.",
        f"{CHAT}: 20 % of 0 MB",
        f"{CHAT}: 100 % of 0 MB",
    ]


# -- answers that are not what they seem -----------------------------------------------------------------------------


def test_another_model_that_answers_is_noticed(server: FakeLMStudio) -> None:
    told = Told()
    server.stream(chunk_of(OTHER, "The mast is pink."), chunk_of(OTHER, "", "stop"), "data: [DONE]\n\n")
    assert asked(server, told) == server.says
    assert told.of(f"'{OTHER}' answered instead of '{CHAT}'")


def test_a_wrong_vector_is_never_stored(server: FakeLMStudio) -> None:
    """A mis-typed model gives vectors of another dimension under status 200."""
    with closing(Embedder(server.settings)) as embedder:
        embedder.embed_query("before")
        row = {"object": "embedding", "index": 0, "embedding": [1.0] * 32}
        server.instead[EMBEDDINGS].append((200, {"object": "list", "data": [row], "model": EMBED}, None))
        with pytest.raises(errors.BadReply, match="from 64 to 32 dimensions"):
            embedder.embed_query("after")


def test_json_in_the_reasoning_is_found(server: FakeLMStudio) -> None:
    event = chunk_of(CHAT, "x").replace('"content": "x"', '"reasoning_content": "{\\"torque\\": 9}"')
    server.stream(event, chunk_of(CHAT, "", "stop"), "data: [DONE]\n\n")
    with LMStudio(settings=server.settings) as lm:
        assert lm.respond("How much?", form={"type": "object"}).value == {"torque": 9}


def test_a_token_is_asked_for_and_never_shown(server: FakeLMStudio) -> None:
    secret = "sk-lm-abcdefgh:ijklmnopqrstuvwxyz01"
    told = Told()
    message = f"Malformed LM Studio API token provided: {secret[:12]}"
    refused = {"type": "invalid_request", "code": "invalid_api_key", "message": message}
    server.instead["/api/v1/models"].append((401, {"error": refused}, None))
    with (
        LMStudio(settings=replace(server.settings, api_token=secret), notify=told) as lm,
        pytest.raises(errors.Unauthorized, match="LM_API_TOKEN") as caught,
    ):
        lm.models()
    assert secret[:12] not in f"{caught.value!r} {told} {lm!r} {lm.settings!r}"


# -- the server goes and comes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["embed", "chat"])
def test_a_server_that_is_restarted_is_waited_for(what: str) -> None:
    told = Told()
    with lm_studio() as server:
        port, settings = server.port, server.settings
        embedder, model = Embedder(settings, notify=told), ChatModel(settings, notify=told)
        embedder.embed_query("before")
        _ = model.model
    again: list[FakeLMStudio] = []
    done = threading.Event()

    def restart() -> None:
        time.sleep(1)
        with lm_studio(port) as server:
            again.append(server)
            done.wait(30)

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        if what == "embed":
            assert embedder.embed_documents(["after"]).shape == (1, 64)
        else:
            assert list(model.stream([{"role": "user", "content": "?"}], max_tokens=8))[-1].finish_reason == "stop"
        assert len(again[0].bodies(LOAD)) == 1
    finally:
        embedder.close()
        model.close()
        done.set()
        thread.join()
    assert len(told.of("is gone")) == 1
    assert len(told.of("waiting")) == 1


def test_a_server_that_stays_away_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.lmstudio.autostart._PATIENCE_S", 1)
    with lm_studio() as server:
        embedder = Embedder(server.settings)
        embedder.embed_query("before")
    with closing(embedder), pytest.raises(errors.ServerUnreachable, match=r"Nothing answers at .* Start LM Studio"):
        embedder.embed_query("after")


def test_an_older_lm_studio_loads_just_in_time_with_our_ttl(server: FakeLMStudio) -> None:
    unknown = {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}
    row = {"id": EMBED, "object": "model", "type": "embeddings", "state": "not-loaded", "max_context_length": 2048}
    for _ in range(3):
        server.instead["/api/v1/models"].append((200, unknown, None))
        server.instead["/api/v0/models"].extend([(200, {"object": "list", "data": [row]}, None)] * 2)
    server.rows[EMBED].instances[EMBED] = 2048
    with closing(Embedder(replace(server.settings, ttl_s=77))) as embedder:
        embedder.embed_query("x")
        assert embedder.model.kind.value == "lmstudio-0.3"
    assert server.bodies(EMBEDDINGS)[0]["ttl"] == 77
    assert server.bodies(LOAD) == []
