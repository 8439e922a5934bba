"""The client against the real engine: models, embeddings with their guards, and chat."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest

import rag.errors as errors
from rag.lmstudio.autostart import answers, connect
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.embeddings import Embedder
from rag.lmstudio.http import Connection
from rag.lmstudio.models import ServerKind, list_models, load, server_kind, unload
from rag.lmstudio.residency import ensure
from rag.settings import Settings


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    with Connection(settings) as opened:
        yield opened


@pytest.fixture
def embedder(settings: Settings) -> Iterator[Embedder]:
    made = Embedder(settings)
    yield made
    made.close()


def instances(connection: Connection, key: str) -> list[str]:
    models = list_models(connection, ServerKind.LMSTUDIO)
    return [instance.id for model in models if model.key == key for instance in model.instances]


def test_the_engine_is_taken_for_lm_studio(connection: Connection) -> None:
    assert answers(connection)
    assert server_kind(connection) is ServerKind.LMSTUDIO


def test_ensure_loads_once_and_then_reuses(connection: Connection, settings: Settings) -> None:
    key = settings.embedding_model or ""
    for id_ in instances(connection, key):
        unload(connection, id_)
    said: list[str] = []
    first = ensure(connection, "embedding", key, 512, said.append)
    second = ensure(connection, "embedding", key, 256, said.append)
    assert (first.instance_id, second.instance_id) == (key, key)
    assert said == [f"Loading {key} with a context of 512 tokens."]


def test_processes_that_start_together_load_one_instance(connection: Connection, settings: Settings) -> None:
    key = settings.embedding_model or ""
    for id_ in instances(connection, key):
        unload(connection, id_)
    found: list[str] = []

    def work() -> None:
        with Connection(settings) as own:
            found.append(ensure(own, "embedding", key, 512).instance_id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [key] * 6
    assert instances(connection, key) == [key]


def test_a_model_that_was_unloaded_under_us_is_loaded_again(embedder: Embedder, connection: Connection) -> None:
    before = embedder.embed_query("battery")
    assert unload(connection, embedder.model.instance_id)
    assert embedder.embed_query("battery") == pytest.approx(before, abs=1e-5)


def test_unloading_what_is_not_loaded_is_no_error(connection: Connection) -> None:
    assert unload(connection, "nobody") is False


def test_an_unknown_model_cannot_be_loaded(connection: Connection) -> None:
    with pytest.raises(errors.ServerError):
        load(connection, "no-such-model", 512)


def test_vectors_are_unit_and_near_for_near_meanings(embedder: Embedder) -> None:
    matrix = embedder.embed_documents(
        ["The battery lasts two years.", "Batteries hold for two years.", "Cats sleep a lot."]
    )
    assert matrix.shape == (3, 384)
    assert np.linalg.norm(matrix, axis=1) == pytest.approx(1.0)
    assert matrix[0] @ matrix[1] > matrix[0] @ matrix[2] + 0.2


def test_batches_keep_the_order(embedder: Embedder, settings: Settings) -> None:
    texts = [f"sentence about the number {number}" for number in range(70)]
    many = embedder.embed_documents(texts)
    assert many.shape[0] == 70
    with closing(Embedder(replace(settings, embed_batch=1))) as single:
        some = single.embed_documents([texts[0], texts[40], texts[69]])
    assert (many[[0, 40, 69]] * some).sum(axis=1).min() > 0.999


def test_nothing_is_cut_silently(embedder: Embedder) -> None:
    """A text far beyond the context counts with its end as well; LM Studio alone would drop everything past it."""
    filler = "The garden was quiet and the evening was long. " * 120
    assert not embedder.fits(filler)
    first = embedder.embed_documents([filler + "The submarine dived under the arctic ice. " * 120])[0]
    alone = embedder.embed_documents([filler])[0]
    query = embedder.embed_query("submarine under the ice")
    assert embedder.parts_made > 2
    assert query @ first > query @ alone + 0.15


def test_blank_text_is_refused(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="blank"):
        embedder.embed_documents(["a", " \n"])


def test_a_chat_model_as_embedder_is_refused_with_the_embedders(settings: Settings) -> None:
    wrong = replace(settings, embedding_model=settings.chat_model)
    with (
        closing(Embedder(wrong)) as embedder,
        pytest.raises(errors.ModelNotFound, match=r"not an embedding model.*minilm"),
    ):
        embedder.embed_query("x")


def test_an_answer_streams_and_ends_with_reason_and_usage(settings: Settings) -> None:
    with closing(ChatModel(settings)) as model:
        deltas = list(model.stream([{"role": "user", "content": "Say hello."}], max_tokens=12))
        assert model.context_length >= 4096
    assert len(deltas) > 2
    assert "".join(delta.text for delta in deltas).strip()
    assert deltas[-1].finish_reason in ("stop", "length")
    assert deltas[-1].usage["completion_tokens"] > 0


def test_a_prompt_beyond_the_context_is_an_overflow(settings: Settings) -> None:
    with closing(ChatModel(settings)) as model, pytest.raises(errors.ContextOverflow):
        list(model.stream([{"role": "user", "content": "word " * 9000}], max_tokens=8))


def test_a_server_that_is_down_is_said_in_one_line(settings: Settings) -> None:
    with pytest.raises(errors.ServerUnreachable, match=r"Nothing answers at http://127\.0\.0\.1:9") as caught:
        connect(replace(settings, host="127.0.0.1:9"))
    assert "\n" not in str(caught.value)


class Scripted(BaseHTTPRequestHandler):
    """A plain OpenAI-compatible server whose embeddings are what a test says: what a real one does rarely."""

    rows: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        known = {"/v1/models": {"object": "list", "data": [{"id": "some-embed"}, {"id": "some-chat"}]}}
        self._answer(known.get(self.path, {"error": f"Unexpected endpoint or method. (GET {self.path})"}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"object": "list", "data": self.rows, "model": "some-embed"})

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Settings]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Settings(host=f"127.0.0.1:{server.server_port}", engine=False)
        server.shutdown()
        thread.join()


def row(index: int, *values: float) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": list(values)}


def test_any_openai_compatible_server_embeds(scripted: Settings) -> None:
    Scripted.rows = [row(1, 0, 2), row(0, 3, 0)]
    with closing(Embedder(scripted)) as embedder:
        assert embedder.embed_documents(["a", "b"]).tolist() == [[1, 0], [0, 1]]
        assert embedder.model.kind is ServerKind.PLAIN
        assert embedder.model.key == "some-embed"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0, 1, 0)], "Asked for 2 embeddings, got 1"),
        ([row(0, 1, 0), row(0, 0, 1)], "indexes do not match"),
        ([row(0, 1, 0), row(1, 0, 1, 0)], "one length"),
        ([row(0, 1, 0), row(1, 0, 0)], "zero or not finite"),
        ([row(0, 1, 0), row(1, float("nan"), 0)], "not JSON"),  # which knows no NaN
        ([{"index": 0}, {"index": 1}], "not lists of numbers"),
    ],
)
def test_embeddings_that_are_wrong_are_refused(scripted: Settings, rows: list[dict[str, Any]], message: str) -> None:
    Scripted.rows = rows
    with closing(Embedder(scripted)) as embedder, pytest.raises(errors.BadReply, match=message):
        embedder.embed_documents(["a", "b"])


def test_a_dimension_that_changes_is_refused(scripted: Settings) -> None:
    with closing(Embedder(scripted)) as embedder:
        Scripted.rows = [row(0, 1, 0)]
        embedder.embed_query("a")
        Scripted.rows = [row(0, 1, 0, 0)]
        with pytest.raises(errors.BadReply, match="from 2 to 3 dimensions"):
            embedder.embed_query("a")
