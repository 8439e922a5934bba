"""`rag eval make`: what is asked, what is kept and why not, and that nothing is lost or asked twice."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmstudio_server import CHAT, EMBED, FakeLMStudio, chunk_of, lm_studio
from typer.testing import CliRunner

import rag.errors as errors
from rag.cli.app import app
from rag.evaluation.datasets import read_questions
from rag.evaluation.gold import gold_spans
from rag.evaluation.question_filter import place_of, rejection, stands_alone
from rag.evaluation.question_maker import make_questions, passages
from rag.knowledge_base import KnowledgeBase
from rag.lmstudio.client import LMStudio
from rag.store.names import digest
from rag.store.schema import DocumentRow
from rag.store.tables import Store
from rag.store.write import NewVersion, Writer
from rag.types import Chunk, Hit

DOCUMENTS = {
    "docs/mast.md": [
        "Keep the mast at least 10 metres\naway from power lines. Two people are needed.",
        "Tighten the U-bolts of the mast clamp alternately to 4.5 Nm with a torque wrench.",
    ],
    "docs/returns.md": ["A console may be sent back within 30 days of delivery, if it is clean and complete."],
    "docs/pay.md": ["Pavel Novak pays all travel claims every Thursday, after they have been signed."],
}


def put(store: Store, source: str, texts: list[str]) -> None:
    """A document whose texts are its chunks."""
    chunks, at = [], 0
    for ordinal, text in enumerate(texts):
        chunks.append(Chunk(ordinal, text, at, at + len(text), ordinal + 1, (), ""))
        at += len(text) + 2
    row = DocumentRow(
        id=digest(source),
        source=source,
        root="docs",
        content_hash=digest(source),
        size=at,
        mtime_ns=1,
        revision=digest(*texts),
        title="",
        parser="test",
        status="ok",
        error="",
        chunks=0,
        indexed_at=0,
    )
    Writer(store).put([NewVersion(row, "\n\n".join(texts), chunks, np.ones((len(texts), 64), np.float32) / 8)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "kb"
    with lm_studio() as running, KnowledgeBase(path, settings=running.settings) as base:
        for source, texts in DOCUMENTS.items():
            put(base.made(), source, texts)
    return path


@pytest.fixture
def server() -> Iterator[FakeLMStudio]:
    with lm_studio() as running:
        yield running


def say(server: FakeLMStudio, question: str, answer: str, again: str | None = None) -> None:
    """Have the server make this question, and answer it when it is asked, which it is where the words are fit."""
    for reply in [{"question": question, "answer": answer}] + ([{"answer": again}] if again else []):
        server.stream(chunk_of(CHAT, json.dumps(reply)), chunk_of(CHAT, "", "stop"), "data: [DONE]\n\n")


GOOD = {
    "docs/mast.md 1": ("How far must a mast stand from power lines?", "at least 10 METRES away", "10 metres away"),
    "docs/mast.md 2": ("To what torque are the clamp's U-bolts tightened?", "4.5 Nm", "To 4.5 Nm"),
    "docs/returns.md 1": ("Within how many days can a console be sent back?", "30 days", "30 days"),
    "docs/pay.md 1": ("Who pays travel claims on Thursdays?", "Pavel Novak", "Pavel Novak"),
}


def test_passages_come_from_all_documents_in_turn_and_keep_their_order(tmp_path: Path, place: Path) -> None:
    store = Store.open(place)
    order = [passage.hit.source for passage in passages(store)]
    assert len(order) == 4
    assert set(order[:3]) == set(DOCUMENTS)
    assert order[3] == "docs/mast.md"
    assert [passage.hit.source for passage in passages(store)] == order
    more = Store.create(tmp_path / "more", *store.made_with())
    for source, texts in {**DOCUMENTS, "docs/new.md": ["The new hall in Lund opens on 3 May 2027."]}.items():
        put(more, source, texts)
    assert [p.hit.source for p in islice(passages(more), 4) if p.hit.source != "docs/new.md"] == order[:3]


def test_a_kept_question_has_the_documents_own_words(place: Path, server: FakeLMStudio) -> None:
    base = KnowledgeBase(place, settings=server.settings)
    for passage in passages(base.store):
        say(server, *GOOD[f"{passage.hit.source} {passage.hit.page}"])
    with LMStudio(settings=server.settings) as model:
        made = {f"{one.passage.hit.source} {one.passage.hit.page}": one for one in make_questions(base, model)}
    assert {name: one.reason for name, one in made.items()} == dict.fromkeys(GOOD, "")
    mast = made["docs/mast.md 1"].to_dict()
    assert mast["answer"] == "at least 10 metres\naway"
    assert mast["quote"] == "Keep the mast at least 10 metres\naway from power lines."
    assert base.text(mast["source"])[mast["start"] : mast["end"]] == mast["quote"]
    assert (mast["page"], mast["passage"]) == (1, DOCUMENTS["docs/mast.md"][0])
    asked = server.bodies("/v1/chat/completions")[0]
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["question", "answer"]
    assert asked["temperature"] == 0


def test_what_a_model_makes_up_is_rejected_with_the_reason(place: Path, server: FakeLMStudio) -> None:
    base = KnowledgeBase(place, settings=server.settings)
    say(server, "How high is the tower in Lund, in metres?", "77 m")
    server.stream(chunk_of(CHAT, '{"question": "cut'), chunk_of(CHAT, "", "length"), "data: [DONE]\n\n")
    third = list(passages(base.store))[2].hit
    say(server, *GOOD[f"{third.source} {third.page}"][:2], again="something else")
    with LMStudio(settings=server.settings) as model:
        reasons = [made.reason for made in islice(make_questions(base, model), 3)]
    assert reasons == [
        "the answer is not in the passage",
        "no answer in the form asked for",
        "asked the question, the model answers something else",
    ]


def hit(text: str, source: str = "docs/mast.md") -> Hit:
    return Hit(source, "id", "Mast manual", None, (), 0, len(text), text, 0.0)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("To what torque are the clamp's U-bolts tightened?", "4.5 Nm", ""),
        ("To what torque are the clamp's U-bolts tightened", "4.5 Nm", "not a question of a few words"),
        ("Which torque?", "4.5 Nm", "not a question of a few words"),
        ("Are the U-bolts of the mast clamp tightened?", "alternately", "a yes-or-no question"),
        ("To what torque does this passage tighten the U-bolts?", "4.5 Nm", "not clear without the passage"),
        ("Is 4.5 Nm, or what, the torque of the U-bolts?", "4.5 Nm", "a yes-or-no question"),
        ("Which U-bolts get the torque of 4.5 Nm?", "4.5 Nm", "gives its answer away"),
        ("Why tighten the U-bolts of the mast clamp alternately?", "4.5 Nm", "copies the passage"),
        ("How much torque do the clamp's U-bolts need?", "torque wrench", "asks for a number, and the answer has none"),
        ("Which of the colours does a parrot in Brazil like best?", "4.5 Nm", "its words are not the passage's"),
        ("What torque do the mast clamp bolts need?", "U" * 300, "the answer is no short phrase"),
        ("What torque do the U-bolts of a clamp need?", "4.5 Nm", "made before"),
    ],
)
def test_a_question_is_fit_by_its_words(question: str, answer: str, reason: str) -> None:
    passage = hit(DOCUMENTS["docs/mast.md"][1])
    assert rejection(question, answer, passage, [], ["What torque do U-bolts of a clamp need?"]) == reason


def test_a_question_that_another_passage_answers_too_is_rejected() -> None:
    passage, question = hit(DOCUMENTS["docs/mast.md"][1]), "To what torque are the clamp's U-bolts tightened?"
    twin = hit("The torque for tightened U-bolts of a mast clamp: 4.5 Nm.", "docs/other.md")
    different = hit("The torque for tightened U-bolts of a mast clamp is in chapter 5.", "docs/toc.md")
    assert rejection(question, "4.5 Nm", passage, [twin], []) == "other passages may answer it as well"
    assert rejection(question, "4.5 Nm", passage, [different], []) == ""
    assert rejection(question, "4.5 Nm", passage, [different] * 3, []) == "other passages may answer it as well"


@pytest.mark.parametrize(
    ("question", "clear"),
    [
        ("How long does the battery of the Sprig last when it is cold?", True),
        ("How long does it take to pair a mast unit with the console?", True),
        ("On what date was the soil above 10 °C for five days in a row?", True),
        ("What colour is it after the test?", False),
        ("Who wrote the passage about lamps?", False),
        ("What do these sensors measure in a greenhouse?", False),
        ("What is the price of the cable mentioned in the list?", False),
        ("Was kostet das Kabel laut Text im Laden?", False),
        ("Wie lang ist das Kabel der Loam-Sonde?", True),
    ],
)
def test_a_question_names_what_it_is_about(question: str, clear: bool) -> None:
    assert stands_alone(question) is clear


def test_a_phrase_is_found_by_its_words() -> None:
    text = "It costs € 7.50, at\n  most; 17.50 with post."
    assert text[slice(*place_of(text, "$7.50 at most.") or ())] == "7.50, at\n  most"
    assert place_of(text, "5") is place_of(text, "17") is place_of(text, "50") is None, "not within a number"
    assert place_of(text, "…") is None


def test_the_command_goes_on_where_it_stopped_and_its_file_can_be_measured(
    place: Path, server: FakeLMStudio, tmp_path: Path
) -> None:
    environment = {"LMSTUDIO_HOST": server.settings.host, "RAG_ENGINE": "off", "RAG_KB": str(place)}
    environment |= {"RAG_EMBEDDING_MODEL": EMBED, "RAG_CHAT_MODEL": CHAT}

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["eval", *map(str, arguments)], env=environment)

    output = tmp_path / "own.jsonl"
    order = [f"{passage.hit.source} {passage.hit.page}" for passage in passages(Store.open(place))]
    say(server, *GOOD[order[0]])
    say(server, "What does this passage say about 5 things?", GOOD[order[1]][1])
    server.fail("/v1/chat/completions", 500, "out of paper")
    stopped = run("make", "-o", output, "--json")
    assert isinstance(stopped.exception, errors.ServerError)
    told = json.loads(stopped.stdout)
    assert (told["made"], told["kept"], told["rejected"]) == (2, 1, {"not clear without the passage": 1})
    output.write_text(output.read_text().rstrip("\n"))  # as an editor may leave it
    asked = len(server.bodies("/v1/chat/completions"))
    say(server, *GOOD[order[2]])
    say(server, *GOOD[order[3]])
    done = run("make", "-o", output, "-n", 9)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == f"2 questions kept of 2 made; {output} has 3."
    assert "has 1 questions; going on" in done.stderr
    assert "has been tried" in done.stderr
    assert len(server.bodies("/v1/chat/completions")) == asked + 4, "no passage is asked about twice"
    questions = read_questions(output)
    assert [question.question for question in questions] == [GOOD[order[at]][0] for at in (0, 2, 3)]
    base = KnowledgeBase(place, settings=server.settings)
    assert gold_spans(base, questions) == {q.id: (q.source, q.start, q.end) for q in questions}
    tried = [json.loads(line) for line in (tmp_path / "own.tried.jsonl").read_text().splitlines()]
    assert [line["rejected"] for line in tried] == [None, "not clear without the passage", None, None]
    measured = run(output, "--json", "--html", tmp_path / "report.html", "--limit-queries", 2)
    assert measured.exit_code == 0, measured.output
    figures = json.loads(measured.stdout)
    assert (figures["set"], figures["queries"], figures["sampled_from"]) == ("own.jsonl", 2, 3)
    assert (figures["ranked"], figures["recall@5"]) == ("passages", 1.0)
    assert "a sample of 3" in (tmp_path / "report.html").read_text()
