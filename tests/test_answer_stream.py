"""Answers while they come: thoughts, markers in pieces, what is cut, interrupts; the server says what a test wants."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from lmstudio_server import CHAT, EMBED, FakeLMStudio, chunk_of, lm_studio

from ingest.pipeline import ingest
from rag.answer import NOT_IN_DOCUMENTS, NOT_SAID, Event, Said, answer_stream, checked
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.chat import ChatModel
from rag.types import Answer, Cut, Hit

QUESTION = "What torque do the mast clamp bolts need, and what does the cover cost?"
PASSAGES = [
    Hit("manual.md", "d1", "", None, (), 0, len(text), text, 1.0)
    for text in ("The mast clamp bolts need 9 Nm.", "The steel cover costs 3.50 EUR.")
]


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


def events_of(server: FakeLMStudio, *, strict: bool = False) -> list[Event]:
    with closing(ChatModel(server.settings)) as model:
        return list(answer_stream(QUESTION, PASSAGES, model, answer_tokens=64, strict=strict))


def asked(server: FakeLMStudio, *, strict: bool = False) -> tuple[str, str, Answer]:
    """The draft as it stands at the end, the reasoning, and the answer."""
    *said, answer = events_of(server, strict=strict)
    assert isinstance(answer, Answer)
    draft = reasoning = ""
    for event in said:
        assert isinstance(event, Said)
        draft = event.text if event.again else draft + event.text
        reasoning = event.reasoning if event.again else reasoning + event.reasoning
    return draft, reasoning, answer


def test_markers_in_pieces_come_whole_and_in_one_form(server: FakeLMStudio) -> None:
    server.say("The mast clamp bolts need 9 Nm 【", "1†sou", "rce】. The cover costs 3.50 EUR [[", "2", "]", "].")
    *said, answer = events_of(server)
    assert "".join(event.text for event in said if isinstance(event, Said)) == (
        "The mast clamp bolts need 9 Nm [1]. The cover costs 3.50 EUR [2]."
    )
    assert not any(isinstance(event, Said) and event.text.count("[") != event.text.count("]") for event in said)
    assert isinstance(answer, Answer)
    assert answer.text == "The mast clamp bolts need 9 Nm. [1] The cover costs 3.50 EUR. [2]"


@pytest.mark.parametrize(
    "pieces",
    [
        ("<thi", "nk>\nA hen lays [1", "]?</th", "ink>\n\n", "The mast clamp bolts need 9 Nm."),
        ("\nA hen lays [1]?", "</think>", "\n\nThe mast clamp bolts ", "need 9 Nm."),
    ],
    ids=["both-tags", "closing-tag-only"],
)
def test_thoughts_in_the_text_are_no_part_of_the_answer(server: FakeLMStudio, pieces: tuple[str, ...]) -> None:
    server.say(*pieces)
    draft, reasoning, answer = asked(server)
    assert draft.strip() == "The mast clamp bolts need 9 Nm."
    assert reasoning.strip() == "A hen lays [1]?"
    assert answer.text == "The mast clamp bolts need 9 Nm. [1]"
    assert "hen" not in str(answer.to_dict())


def test_reasoning_that_the_server_splits_off_is_kept_apart(server: FakeLMStudio) -> None:
    server.say("The mast clamp bolts need 9 Nm.", reasoning="A hen?")
    draft, reasoning, answer = asked(server)
    assert (draft, reasoning) == ("The mast clamp bolts need 9 Nm.", "A hen?")
    assert answer.text == "The mast clamp bolts need 9 Nm. [1]"


@pytest.mark.parametrize("split_off", [True, False])
def test_a_budget_spent_on_thinking_says_what_to_raise(server: FakeLMStudio, split_off: bool) -> None:
    if split_off:
        server.say(finish="length", reasoning="A hen lays and lays")
    else:
        server.say("<think>A hen lays and lays", finish="length")
    _, reasoning, answer = asked(server)
    assert reasoning == "A hen lays and lays"
    assert (answer.text, answer.abstained) == (NOT_SAID, True)
    assert "all 64 tokens of its answer on thinking; RAG_ANSWER_TOKENS" in answer.reason


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            "The mast clamp bolts need 9 Nm. The cover costs 3.",
            "The mast clamp bolts need 9 Nm. [1] The cover costs 3.… [unverified]",
        ),
        (
            "The mast clamp bolts need 9 Nm [1]. The steel cover [",
            "The mast clamp bolts need 9 Nm. [1] The steel cover… [unverified]",
        ),
        (
            "The mast clamp bolts need 9 Nm. The cover costs money.",
            "The mast clamp bolts need 9 Nm. [1] The cover costs money. [2]",
        ),
    ],
)
def test_the_last_half_sentence_of_a_cut_answer_is_not_verified(server: FakeLMStudio, said: str, text: str) -> None:
    server.say(said, finish="length")
    _, _, answer = asked(server)
    assert answer.text == text
    assert answer.cut is Cut.LENGTH
    assert "RAG_ANSWER_TOKENS" in str(answer)
    assert answer.to_dict()["cut"] == "length"


def test_an_answer_cut_in_its_first_sentence_claims_nothing(server: FakeLMStudio) -> None:
    server.say("The mast clamp bolts need 9 Nm", finish="length")
    _, _, answer = asked(server)
    assert (answer.text, answer.abstained) == ("The mast clamp bolts need 9 Nm… [unverified]", False)
    assert answer.citations == ()
    server.say("The mast clamp bolts need 9 Nm", finish="length")
    _, _, answer = asked(server, strict=True)
    assert (answer.text, answer.abstained) == (NOT_IN_DOCUMENTS, True)


def test_a_strict_answer_has_only_what_a_passage_supports(server: FakeLMStudio) -> None:
    server.say(
        "It was invented in Atlantis by 77 dwarfs. The bolts:\n\n- The mast clamp bolts need 9 Nm.\n- 88 hens lay."
    )
    _, _, answer = asked(server, strict=True)
    assert answer.text == "The bolts:\n- The mast clamp bolts need 9 Nm. [1]"
    assert answer.left_out == 2
    assert "2 of the sentences" in answer.notice
    server.say("It was invented in Atlantis by 77 dwarfs.")
    _, _, answer = asked(server, strict=True)
    assert answer.abstained
    assert "no passage supports" in answer.reason


def test_strict_without_anything_to_leave_out_is_the_same() -> None:
    said = "The mast clamp bolts need 9 Nm."
    assert checked(QUESTION, said, PASSAGES, strict=True) == checked(QUESTION, said, PASSAGES)


def test_closing_the_stream_closes_the_connection(server: FakeLMStudio) -> None:
    server.stream(*(chunk_of(CHAT, "The mast clamp ") for _ in range(20_000)))
    with closing(ChatModel(server.settings)) as model:
        events = answer_stream(QUESTION, PASSAGES, model, answer_tokens=64)
        assert next(events) == Said("The mast clamp ")
        events.close()
        assert server.broken_off.wait(10)


def test_an_interrupt_yields_what_was_said_and_is_raised_after_it(server: FakeLMStudio) -> None:
    server.stream(chunk_of(CHAT, "The mast clamp bolts need 9 Nm. The "), chunk_of(CHAT, "steel cover"), None)
    with closing(ChatModel(server.settings)) as model:
        events = answer_stream(QUESTION, PASSAGES, model, answer_tokens=64)
        assert isinstance(next(events), Said)
        answer = events.throw(KeyboardInterrupt())
        assert isinstance(answer, Answer)
        assert (answer.text, answer.cut) == ("The mast clamp bolts need 9 Nm. [1] The…", Cut.INTERRUPTED)
        with pytest.raises(KeyboardInterrupt):
            next(events)


@pytest.mark.skipif(sys.platform == "win32", reason="a process there takes no SIGINT from another one")
def test_ctrl_c_prints_the_checked_part(server: FakeLMStudio, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "manual.md").write_text("The mast clamp bolts need 9 Nm.\n")
    settings = replace(server.settings, kb=tmp_path / "notes.kb")
    with KnowledgeBase(settings.kb, settings=settings) as base:
        assert ingest(tmp_path / "docs", into=base).added == 1
    go_on = threading.Event()
    server.stream(chunk_of(CHAT, "The mast clamp bolts need 9 Nm. And "), go_on)
    environment = {
        **os.environ,
        "LMSTUDIO_HOST": settings.host,
        "RAG_ENGINE": "0",
        "RAG_EMBEDDING_MODEL": EMBED,
        "RAG_CHAT_MODEL": CHAT,
    }
    # A shell starts its background jobs, and a test run may be one, deaf to SIGINT.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from rag.cli.app import main; main()"
    command = [sys.executable, "-c", code, "ask", "What torque do the mast clamp bolts need?", "--kb", str(settings.kb)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert server.waiting.wait(60)
        time.sleep(0.5)  # until what was sent has arrived
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        go_on.set()
    assert process.returncode == 130, err
    assert "The mast clamp bolts need 9 Nm. [1] And…" in out
    assert "Interrupted" in out
