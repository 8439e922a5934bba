"""Whole documents in a few sentences; the server says what a test wants, the documents are its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lmstudio_server import CHAT, FakeLMStudio, chunk_of, lm_studio
from lmstudio_server import words as tokens_of
from stored import IDENTITY, version

import rag.errors as errors
from rag.answer import Said
from rag.knowledge_base import KnowledgeBase
from rag.store.kept import Kept
from rag.store.names import digest
from rag.store.tables import Store
from rag.store.write import Writer
from rag.summarizing.notes import Note, fitting
from rag.summarizing.summarize import Progress
from rag.summarizing.summary import Summary
from rag.summarizing.windows import Window, cost, passages, windows
from rag.types import Cut, Hit

CHAT_PATH = "/v1/chat/completions"
HEN = "The hen of house {n} lays {n} eggs a week and eats {n} kilos of corn."
SHORT = "The mast clamp bolts need 9 Nm.\nThe steel cover costs 3.50 EUR.\nAnn signs each delivery."
LONG = "\n".join(HEN.format(n=n) + " It sleeps on a pole behind the barn." * 30 for n in range(1, 41))


def hit(text: str, start: int, headings: tuple[str, ...] = (), page: int | None = None) -> Hit:
    return Hit("a.md", "a", "A", page, headings, start, start + len(text), text, 1.0)


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three documents, one of them of several parts for a small context, one without text."""
    folder = tmp_path_factory.mktemp("stored")
    store = Store.create(folder / "notes.kb", IDENTITY, [[0.5] * 4] * 4)
    made = [version("docs/manual.md", SHORT), version("docs/sub/hens.md", LONG), version("docs/empty.md", "")]
    made[2] = replace(made[2], chunks=[], vectors=np.zeros((0, 4), np.float32))
    writer = Writer(store)
    writer.set_root("docs", folder / "docs")
    writer.put(made)
    return folder


@pytest.fixture
def base(server: FakeLMStudio, stored: Path) -> Iterator[KnowledgeBase]:
    """These, of which no summary is kept."""
    path = stored / "notes.kb"
    (path / "summaries.jsonl").unlink(missing_ok=True)
    settings = replace(server.settings, kb=path, chat_context=2048, answer_tokens=256)
    with KnowledgeBase(path, settings=settings) as opened:
        yield opened


def exact(base: KnowledgeBase, summary: Summary) -> bool:
    return all(base.text(c.source)[c.start : c.end] == c.quote for c in summary.citations)


def prompts(server: FakeLMStudio) -> list[str]:
    return [body["messages"][0]["content"] for body in server.bodies(CHAT_PATH)]


# -- windows ----------------------------------------------------------------------------------------------------------


def test_windows_hold_everything_once_and_keep_to_the_room() -> None:
    text = "\n".join(f"Chapter {n} tells of {n} hens. " * (n % 7 + 1) for n in range(60))
    chunks, at = [], 0
    for n, line in enumerate(text.split("\n")):
        row = {"start": at, "end": at + len(line), "page": n // 9 + 1, "headings": [f"Chapter {n // 6}"], "box": None}
        chunks.append(row)
        at += len(line) + 1
    found = passages(version("a.md", text).row, text, chunks)
    assert all(text[one.start : one.end] == one.text for one in found)
    for room in (128, 300, 100_000):
        parts = windows(found, room)
        read = [passage for part in parts for passage in part.passages]
        assert "".join("".join(one.text.split()) for one in read) == "".join(text.split())
        assert all(text[one.start : one.end] == one.text for one in read)
        assert all(sum(map(cost, part.passages)) <= room for part in parts)
    assert len(windows(found, 100_000)) == 1


def test_a_window_ends_before_a_heading_where_it_is_nearly_full() -> None:
    text = "A hen lays an egg. " * 20
    found = [hit(text, n * len(text), (f"Part {n // 3}",)) for n in range(6)]
    parts = windows(found, cost(found[0]) * 4)
    assert [[one.headings for one in part.passages] for part in parts] == [[("Part 0",)] * 3, [("Part 1",)] * 3]
    assert parts[0].text.count("(Part 0)") == 1


def test_notes_are_joined_by_two_at_least() -> None:
    notes = [Note(f"Hen {n} lays an egg.", (Window((hit("x", 0),)),)) for n in range(5)]
    assert [len(group) for group in fitting(notes, 1)] == [2, 2, 1]
    assert [len(group) for group in fitting(notes, 1000)] == [5]


# -- what is summed up ------------------------------------------------------------------------------------------------


def test_one_part_is_summed_up_with_exact_citations(server: FakeLMStudio, base: KnowledgeBase) -> None:
    server.says = (
        "Here is a summary: The mast clamp bolts need 9 Nm [3]. The cover costs 77 EUR. Ann signs each delivery."
    )
    summary = base.summarize("manual.md")
    assert summary.text == (
        "The mast clamp bolts need 9 Nm. [1] The cover costs 77 EUR. [unverified] Ann signs each delivery. [2]"
    )
    assert [citation.quote for citation in summary.citations] == SHORT.split("\n")[::2]
    assert exact(base, summary)
    assert (summary.sentences, summary.supported, summary.coverage) == (3, 2, 1.0)
    assert "2 of 3 sentences supported; 1 of 1 parts cited." in str(summary)
    strict = base.summarize("manual.md", strict=True)
    assert strict.text == "The mast clamp bolts need 9 Nm. [1] Ann signs each delivery. [2]"
    assert strict.answer.left_out == 1
    values = json.loads(json.dumps(strict.to_dict()))
    assert (values["summary_of"], values["left_out"], values["parts"][0]["cited"]) == ("docs/manual.md", 1, True)
    assert "1 of 1 parts cited" in strict._repr_html_()
    assert "1 of 1 parts cited" in strict.to_markdown()


def test_nothing_supported_is_an_abstention(server: FakeLMStudio, base: KnowledgeBase) -> None:
    server.says = "It was invented in Atlantis by 77 dwarfs."
    summary = base.summarize("manual.md")
    assert summary.answer.abstained
    assert "support nothing" in summary.answer.reason
    assert summary.coverage == 0


def test_no_more_sentences_than_wanted(server: FakeLMStudio, base: KnowledgeBase) -> None:
    go_on = threading.Event()  # a model that would never end is not waited for
    said = [chunk_of(CHAT, f"{line} ") for line in SHORT.split("\n")]
    server.stream(*said, *said, *said, go_on)
    summary = base.summarize("manual.md", sentences=2)
    go_on.set()
    assert summary.text == "The mast clamp bolts need 9 Nm. [1] The steel cover costs 3.50 EUR. [2]"
    assert summary.answer.cut is None


def test_what_was_cut_at_the_limit_loses_its_half_sentence(server: FakeLMStudio, base: KnowledgeBase) -> None:
    server.say("The mast clamp bolts need 9 Nm. The steel cover costs 3", finish="length")
    summary = base.summarize("manual.md")
    assert (summary.text, summary.answer.cut) == ("The mast clamp bolts need 9 Nm. [1]", Cut.LENGTH)
    server.say(finish="length", reasoning="A hen lays and lays")
    assert "on thinking; RAG_ANSWER_TOKENS" in base.summarize("manual.md", sentences=5).answer.reason


def test_only_what_is_asked_about(server: FakeLMStudio, base: KnowledgeBase) -> None:
    server.says = "The mast clamp bolts need 9 Nm. Ann signs each delivery."
    summary = base.summarize("manual.md", about="signing of deliveries")
    assert summary.text == "Ann signs each delivery. [1]"
    assert 'only what it says about "signing of deliveries"' in prompts(server)[0]
    nothing = base.summarize("manual.md", about="submarines")
    assert nothing.answer.reason == "the documents say nothing about submarines"


def test_long_documents_are_read_in_parts_and_joined(server: FakeLMStudio, base: KnowledgeBase) -> None:
    # A note a part, until all are joined: then the model is asked for one summary of them.
    server.tokens = lambda text: len(tokens_of(text))
    events = list(_with_notes(server, base, "hens.md", sentences=3))
    steps = [event for event in events if isinstance(event, Progress)]
    count = steps[0].count
    assert count > 5
    assert [step.number for step in steps] == [*range(1, count + 1), count]
    assert steps[-1].part is None
    assert max(server.prompts) <= 2048
    assert server.loaded[CHAT] == 2048
    *_, summary = events
    assert isinstance(summary, Summary)
    assert exact(base, summary)
    assert "The hen of house 3 lays 3 eggs a week." in summary.text
    assert "[unverified]" in summary.text  # there is no house 77: what the notes say is no evidence
    assert (summary.sentences, summary.supported) == (2, 1)
    assert 0 < sum(part.cited for part in summary.parts) < count
    assert "not cited: docs/sub/hens.md, Part" in summary.told_coverage
    assert any(isinstance(event, Said) for event in events)
    assert all("sentences, in English." in prompt for prompt in prompts(server))


def test_where_the_joining_fails_the_parts_speak(server: FakeLMStudio, base: KnowledgeBase) -> None:
    *_, summary = _with_notes(server, base, "hens.md", sentences=3, joined="It was invented in Atlantis by 77 dwarfs.")
    assert isinstance(summary, Summary)
    assert summary.sentences == summary.supported == len({c.quote for c in summary.citations}) == 3
    assert exact(base, summary)


def _with_notes(
    server: FakeLMStudio, base: KnowledgeBase, source: str, sentences: int, joined: str = ""
) -> Iterator[Progress | Said | Summary]:
    """What a run yields; the model says a true and a false sentence of each part, and of all."""
    for event in base.summarizing(source, sentences=sentences).run():
        if isinstance(event, Progress):
            part = base.text(f"docs/sub/{source}")[event.part.start : event.part.end] if event.part else "house 3"
            found = re.search(r"house (\d+)", part)
            n = found[1] if found else "1"
            server.says = f"The hen of house {n} lays {n} eggs a week. The hen of house 77 lays 77 eggs a week."
            if joined and event.part is None:
                server.says = joined
        yield event


def test_notes_that_do_not_fit_are_joined_in_groups(server: FakeLMStudio, base: KnowledgeBase) -> None:
    words = "the long and winding tale of the pole behind the barn on which it sleeps" * 3
    server.says = f"It sleeps on a pole behind the barn, {words}. The hen eats corn. It sleeps on a pole."
    with KnowledgeBase(base.path, settings=replace(base.settings, chat_context=1100)) as small:
        summary = small.summarize("hens.md", sentences=4)
    asked = [prompt for prompt in prompts(server) if prompt.startswith("Notes")]
    assert len(asked) > 2
    assert all(prompt.count("\n> ") >= 2 for prompt in asked)
    assert exact(base, summary)


def test_a_refused_part_is_read_in_halves(server: FakeLMStudio, base: KnowledgeBase) -> None:
    server.says = "It sleeps on a pole behind the barn."
    server.fail(CHAT_PATH, 400, "request (9999 tokens) exceeds the available context size (2048 tokens)")
    summary = base.summarize("hens.md", sentences=40)
    assert len(prompts(server)) == len(summary.parts) + 2
    assert summary.parts[0].sentences == 2
    assert exact(base, summary)


def test_a_context_that_is_too_small_is_said(base: KnowledgeBase, server: FakeLMStudio) -> None:
    small = replace(base.settings, chat_context=600)
    with (
        KnowledgeBase(base.path, settings=small) as opened,
        pytest.raises(errors.UsageProblem, match="RAG_CHAT_CONTEXT"),
    ):
        opened.summarize("manual.md")


# -- which documents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("manual.md", 1),
        ("docs/sub/hens.md", 1),
        ("sub", 1),
        ("docs/", 2),
        ("docs", 2),
        ("*.md", 2),
        ("docs/*.md", 1),
        ("", 2),
    ],
)
def test_a_name_means_a_document_or_all_below_it(base: KnowledgeBase, source: str, found: int) -> None:
    assert len(base.summarizing(source)._documents) == found


def test_a_folder_on_disk_is_known_by_its_path(base: KnowledgeBase, stored: Path) -> None:
    assert len(base.summarizing(str(stored / "docs"))._documents) == 2
    assert len(base.summarizing(str(stored / "docs" / "sub"))._documents) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("manul.md", r"one of these\? docs/manual.md"),
        ("docs/empty.md", "has no text"),
        ("*.pdf", "selects no document"),
    ],
)
def test_what_is_not_there_is_said(base: KnowledgeBase, source: str, message: str) -> None:
    with pytest.raises(errors.RagError, match=message):
        base.summarizing(source)


# -- going on ---------------------------------------------------------------------------------------------------------


def test_an_interrupt_gives_what_was_read_and_the_next_run_goes_on(server: FakeLMStudio, base: KnowledgeBase) -> None:
    run = base.summarizing("hens.md", sentences=3).run()
    server.says = "The hen of house 1 lays 1 eggs a week. It was invented in Atlantis by 77 dwarfs."
    steps = [next(run), next(run), next(run)]
    count = steps[0].count if isinstance(steps[0], Progress) else 0
    summary = run.throw(KeyboardInterrupt())
    assert isinstance(summary, Summary)
    assert summary.text.startswith("The hen of house 1 lays 1 eggs a week. [1]")
    assert "Atlantis" not in summary.text
    assert summary.answer.cut is Cut.INTERRUPTED
    assert [part.sentences for part in summary.parts] == [2, 2, *[None] * (count - 2)]
    assert "not read: docs/sub/hens.md, Part" in summary.told_coverage
    assert exact(base, summary)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    before = len(prompts(server))
    with KnowledgeBase(base.path, settings=base.settings) as again:
        again.summarize("hens.md", sentences=3)
    parts = [prompt for prompt in prompts(server)[before:] if prompt.startswith("Part")]
    assert len(parts) == count - 2


def test_what_was_written_of_a_document_goes_with_it(server: FakeLMStudio, base: KnowledgeBase, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(base.path, tmp_path / "copy.kb")
    with KnowledgeBase(tmp_path / "copy.kb", settings=base.settings) as copy:
        source = "docs/manual.md"
        copy.summarize(source)
        assert (copy.path / "summaries.jsonl").stat().st_size > 0
        copy.remove(source)
        assert not (copy.path / "summaries.jsonl").exists()


def test_an_interrupt_before_anything_was_read_is_just_that(base: KnowledgeBase) -> None:
    run = base.summarizing("hens.md").run()
    next(run)
    with pytest.raises(KeyboardInterrupt):
        run.throw(KeyboardInterrupt())


def test_what_is_kept_is_bounded_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.store.kept._MOST_BYTES", 2000)
    kept = Kept(tmp_path / "summaries.jsonl")
    for n in range(100):
        kept.add(digest(str(n)), f"Hen {n}.")
    with (tmp_path / "summaries.jsonl").open("ab") as file:
        file.write(b'{"name": "torn')
    again = Kept(tmp_path / "summaries.jsonl")
    assert again.get(digest("99")) == "Hen 99."
    assert again.get(digest("0")) is None
    assert (tmp_path / "summaries.jsonl").stat().st_size <= 1000
    Kept(tmp_path / "nowhere" / "summaries.jsonl").add("a", "b")  # where nothing can be written, nothing is kept


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="a process there takes no SIGINT from another one")
def test_the_command_tells_its_parts_and_ctrl_c_prints_what_there_is(server: FakeLMStudio, base: KnowledgeBase) -> None:
    go_on = threading.Event()
    server.say("The hen of house 1 lays 1 eggs a week.")
    server.stream(chunk_of(CHAT, "The hen "), go_on)
    environment = {
        **os.environ,
        "LMSTUDIO_HOST": server.settings.host,
        "RAG_ENGINE": "0",
        "RAG_CHAT_MODEL": CHAT,
        "RAG_CHAT_CONTEXT": "2048",
    }
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from rag.cli.app import main; main()"
    command = [sys.executable, "-c", code, "summarize", "hens.md", "--length", "short", "--kb", str(base.path)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert server.waiting.wait(60)
        time.sleep(0.3)  # until what was sent has arrived
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        go_on.set()
    assert process.returncode == 130, err
    assert "part 1 of" in err or "part 2 of" in err
    assert "The hen of house 1 lays 1 eggs a week. [1]" in out
    assert "Interrupted" in out
    assert "not read: docs/sub/hens.md" in out
