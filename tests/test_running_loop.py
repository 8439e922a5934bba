"""In a running event loop, as every cell of a notebook is; and after an interrupt, as every such cell may be."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lmstudio_server import CHAT, EMBED, FakeLMStudio, lm_studio

from ingest.pipeline import ingest
from rag.answer import Said
from rag.conversation import Conversation
from rag.display_live import live
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.client import LMStudio
from rag.types import Answer

QUESTION = "What torque do the mast clamp bolts need?"


@pytest.fixture
def lm() -> Iterator[FakeLMStudio]:
    with lm_studio() as server:
        yield server


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.md").write_text(f"# Clamp {number}\n\nThe mast clamp bolts need 9 Nm.\n")
    return folder


@pytest.fixture
def base(tmp_path: Path, lm: FakeLMStudio) -> Iterator[KnowledgeBase]:
    with KnowledgeBase(tmp_path / "notes.kb", settings=lm.settings) as base:
        yield base


def test_everything_works_where_a_loop_runs(base: KnowledgeBase, lm: FakeLMStudio, docs: Path) -> None:
    async def cell() -> None:
        assert ingest(docs, into=base).added == 5
        assert base.search(QUESTION)[0].text.endswith("need 9 Nm.")
        assert base.ask(QUESTION).citations
        assert [type(event) for event in base.ask_stream(QUESTION)][-1] is Answer
        assert Conversation(base).ask(QUESTION).citations
        with LMStudio(settings=lm.settings) as server:
            assert {model.key for model in server.models()} >= {EMBED, CHAT}
            assert server.load(CHAT).key == CHAT
            assert server.respond("Hello").text
            assert server.embed(["a text"]).shape == (1, 64)
            assert CHAT in server.unload(CHAT)

    asyncio.run(cell())


def test_work_in_threads_leaves_the_loop_free(base: KnowledgeBase, docs: Path) -> None:
    async def cell() -> tuple[int, list[Answer]]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(ingest, docs, base)
        answers = await asyncio.gather(*(asyncio.to_thread(base.ask, QUESTION) for _ in range(3)))
        ticking.cancel()
        return ticks, answers

    ticks, answers = asyncio.run(cell())
    assert ticks > 1
    assert [answer.text for answer in answers] == ["The mast clamp bolts need 9 Nm. [1]"] * 3


def test_an_interrupted_answer(base: KnowledgeBase, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(docs, into=base)

    def interrupted() -> Any:
        for event in base.ask_stream(QUESTION):
            if isinstance(event, Said):
                signal.raise_signal(signal.SIGINT)
            yield event

    with pytest.raises(KeyboardInterrupt):
        list(interrupted())
    assert base.ask(QUESTION).citations
    assert live(base.ask_stream(QUESTION)).citations
    assert capsys.readouterr().out.startswith("The mast clamp bolts need 9 Nm. [1]\n\n[1] docs/")


def test_an_interrupted_ingest(base: KnowledgeBase, docs: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest(docs, into=base, on_progress=lambda progress: signal.raise_signal(signal.SIGINT))
    report = ingest(docs, into=base)
    assert report.added + report.unchanged == 5
    assert base.ask(QUESTION).citations
