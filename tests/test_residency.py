"""Models stay where they are needed: on a real engine, with its faults, from several processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from engine_fixture import CHAT, EMBED, RunningEngine, engine

import rag.errors as errors
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.embeddings import Embedder
from rag.settings import Settings

HELLO = [{"role": "user", "content": "Write the numbers from one to ten."}]
ONE_OF_MANY = """
import sys
from contextlib import closing
from rag.lmstudio.chat import ChatModel
from rag.lmstudio.embeddings import Embedder
from rag.settings import Settings
settings = Settings(host=sys.argv[1], engine=False, embedding_model=sys.argv[2], chat_model=sys.argv[3])
with closing(Embedder(settings)) as embedder, closing(ChatModel(settings)) as model:
    assert embedder.embed_query("battery").shape == (384,)
    print("".join(delta.text for delta in model.stream([{"role": "user", "content": "Hi"}], max_tokens=4)))
"""


@contextmanager
def faulty(folder: Path, *faults: str) -> Iterator[tuple[RunningEngine, Settings]]:
    with engine(folder, EMBED, CHAT, faults=faults) as running:
        yield running, Settings(host=running.url, engine=False, embedding_model=EMBED, chat_model=CHAT)


def said(settings: Settings, told: list[str] | None = None) -> str:
    text = ""
    notify = told.append if told is not None else lambda message: None
    with closing(ChatModel(settings, notify=notify)) as model:
        for delta in model.stream(HELLO, max_tokens=24):
            text = delta.text if delta.again else text + delta.text
    return text


def test_eight_processes_on_a_cold_server_load_one_of_each(tmp_path: Path) -> None:
    with faulty(tmp_path) as (running, settings):
        command = [sys.executable, "-c", ONE_OF_MANY, settings.host, EMBED, CHAT]
        many = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
        answers = [process.communicate()[0] for process in many]
        assert [process.returncode for process in many] == [0] * 8
        assert all(answer.strip() for answer in answers)
        assert sorted(running.loaded()) == sorted([EMBED, CHAT])


def test_both_stay_while_another_program_has_models_loaded_just_in_time(tmp_path: Path) -> None:
    """With auto-evict each model that is loaded just in time drives out the one before, of whatever type."""
    third = "qwen2.5-coder-0.5b-instruct"
    with faulty(tmp_path) as (running, settings):
        running.fetch(third)
        told: list[str] = []
        embedder, model = Embedder(settings, notify=told.append), ChatModel(settings, notify=told.append)
        with closing(embedder), closing(model):
            for number in range(6):
                embedder.embed_query(f"question {number}")
                assert "".join(delta.text for delta in model.stream(HELLO, max_tokens=4))
                if number % 2:
                    message = {"role": "user", "content": "Hi"}
                    other = running.post("/v1/chat/completions", model=third, messages=[message], max_tokens=1)
                    assert other.json()["model"] == third
                assert {EMBED, CHAT} <= set(running.loaded())
        assert len([line for line in told if line.startswith("Loading")]) == 2
        assert len(told) == 2


@pytest.mark.parametrize("fault", ["evict-in-queue", "crash-once", "error-in-stream=1", "disconnect-mid-stream=1"])
def test_a_chat_survives(tmp_path: Path, fault: str) -> None:
    """What was said before the fault stands: greedy, the model says the same again."""
    with faulty(tmp_path) as (_, settings):
        expected = said(settings)
    with faulty(tmp_path, fault) as (_, settings):
        told: list[str] = []
        assert said(settings, told) == expected
        assert len([line for line in told if "is gone" in line]) == 1


@pytest.mark.parametrize("fault", ["evict-in-queue", "crash-once", "shuffled-batch=1", "wrong-model=1"])
def test_embedding_survives(tmp_path: Path, fault: str, settings: Settings) -> None:
    texts = ["a dog", "the law of taxes", "how to bake bread"]
    with closing(Embedder(settings)) as embedder:
        expected = embedder.embed_documents(texts)
    with faulty(tmp_path, fault) as (_, broken), closing(Embedder(broken)) as embedder:
        assert (embedder.embed_documents(texts) * expected).sum(axis=1).min() > 0.999


def test_a_refusal_for_want_of_memory_ends_with_what_to_do(tmp_path: Path) -> None:
    with faulty(tmp_path, "refuse-load") as (_, settings), pytest.raises(errors.NotEnoughMemory, match="smaller model"):
        said(settings)


def test_a_batch_that_is_short_is_never_taken(tmp_path: Path) -> None:
    short = pytest.raises(errors.BadReply, match="Asked for 3 embeddings, got 2")
    with faulty(tmp_path, "short-batch") as (_, settings), closing(Embedder(settings)) as embedder, short:
        embedder.embed_documents(["a", "b", "c"])


def test_an_endpoint_that_is_not_there_is_noticed_under_status_200(tmp_path: Path) -> None:
    missing = pytest.raises(errors.NotSupported, match="Is it the server's address")
    with faulty(tmp_path, "200-error=1") as (_, settings), closing(Embedder(settings)) as embedder, missing:
        embedder.embed_query("a")
