"""Other questions to search for: what a model may write, and what becomes of what it may not."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lmstudio_server import FakeLMStudio, lm_studio

import rag.errors as errors
from ingest import ingest
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.chat import ChatModel
from rag.search.rewrite import faithful, parts, standalone, variants

CHATS, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
TURNS = [
    {"role": "user", "content": "How long is the warranty of the Aurora 350?"},
    {"role": "assistant", "content": "The battery of the Aurora 350 is covered for 24 months."},
]


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


@pytest.fixture
def model(server: FakeLMStudio) -> Iterator[ChatModel]:
    with closing(ChatModel(server.settings)) as chat:
        yield chat


def test_a_follow_up_becomes_a_question_of_its_own(server: FakeLMStudio, model: ChatModel) -> None:
    server.say('{"questions": ["How long is the battery of the Aurora 350 covered?"]}')
    assert standalone("And how long is it covered?", TURNS, model, 120) == (
        "How long is the battery of the Aurora 350 covered?"
    )
    prompt = server.bodies(CHATS)[0]["messages"][0]["content"]
    assert "user: How long is the warranty of the Aurora 350?" in prompt


def test_the_first_question_needs_no_model(server: FakeLMStudio, model: ChatModel) -> None:
    assert standalone("How long is it?", [], model) == "How long is it?"
    assert server.seen == []


@pytest.mark.parametrize(
    ("rewritten", "trusted"),
    [
        ("Does the warranty of the Aurora 350 cover 12000 km?", True),
        ("Are 12000 km covered by the warranties of the Aurora?", True),
        ("Does the warranty of the Aurora 350 cover the motor for 12000 km?", False),  # nobody spoke of a motor
        ("Does the warranty of the Aurora 400 cover 12000 km?", False),
        ("Does the warranty of the Aurora 350 cover it?", False),
        ("How long is the warranty of the Aurora 350?", False),  # what the demo's 0.5B model wrote
    ],
)
def test_a_rewriting_has_the_questions_words_and_none_of_its_own(rewritten: str, trusted: bool) -> None:
    assert faithful(rewritten, "And does it cover 12000 km?", [str(turn["content"]) for turn in TURNS]) is trusted


BAD = {
    "prose": "You could ask how long the battery is covered.",
    "another form": '["How long is the battery covered?"]',
    "no texts": '{"questions": [1, 2]}',
    "none": '{"questions": []}',
    "blank": '{"questions": ["  "]}',
    "invented": '{"questions": ["How long is the gearbox covered?"]}',
}


@pytest.mark.parametrize("reply", BAD.values(), ids=BAD)
def test_what_cannot_be_trusted_leaves_the_question(server: FakeLMStudio, model: ChatModel, reply: str) -> None:
    server.say(reply)
    assert standalone("How long is it covered?", TURNS, model, 120) == "How long is it covered?"


def test_a_model_that_says_nothing_is_not_waited_for(server: FakeLMStudio, model: ChatModel) -> None:
    told: list[str] = []
    server.stream(30.0)
    assert parts("Which is taller, the mast or the boom?", model, seconds=1, notify=told.append) == []
    assert len(told) == 1
    assert "searched for as it is" in told[0]


def test_parts_that_only_repeat_the_prompt_are_none(server: FakeLMStudio, model: ChatModel) -> None:
    """The demo's 0.5B model does so."""
    question = "Is the mast taller than the boom?"
    server.say(json.dumps({"questions": [question, "Which simpler questions, two to 3,", "How tall is the mast?"]}))
    assert parts(question, model, seconds=120) == ["How tall is the mast?"]


def test_variants_keep_numbers_and_do_not_repeat(server: FakeLMStudio, model: ChatModel) -> None:
    server.say('{"questions": ["A height of 9 m?", "A  height of 9 m?", "How high?", "Is 9 m its height?", "9 m?"]}')
    assert variants("Is the mast 9 m tall?", model, 4, 120) == ["A height of 9 m?", "Is 9 m its height?", "9 m?"]


@pytest.fixture
def boats(server: FakeLMStudio, tmp_path: Path) -> Iterator[KnowledgeBase]:
    for name, text in {"a": "The mast is tall.", "b": "Its height is 9 m.", "c": "The hull is blue."}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    with KnowledgeBase(tmp_path / "boats.kb", settings=server.settings) as base:
        ingest(tmp_path, into=base)
        yield base


def sources(base: KnowledgeBase, **how: Any) -> list[str]:
    return [hit.source.rpartition("/")[2] for hit in base.search("How tall is the mast?", **how)]


def test_a_search_can_ask_in_other_words(server: FakeLMStudio, boats: KnowledgeBase) -> None:
    """What only the other words find is found, behind what the question itself finds best."""
    assert "b.txt" not in sources(boats, mode="words", limit=2)
    server.says = '{"questions": ["What height in m?", "how tall is the mast?"]}'
    assert sources(boats, mode="words", limit=2, expand="variants") == ["a.txt", "b.txt"]
    assert sources(boats, expand="parts")[0] == "a.txt"
    assert server.bodies(EMBEDDINGS)[-1]["input"] == ["search_query: What height in m?"]
    with pytest.raises(errors.UsageProblem, match="none of off, variants, parts"):
        sources(boats, expand="synonyms")
