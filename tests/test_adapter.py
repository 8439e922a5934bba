"""Question vectors learn a turn from pairs: what a rotation keeps, what it finds, how it is kept, when it is used."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import run

import rag.errors as errors
from rag.evaluation.adapting import Figures, Trial, lessons, taught_turn, trial
from rag.evaluation.datasets import Question, read_questions
from rag.knowledge_base import KnowledgeBase
from rag.search.adapter import adapted, discounted, learn, rotation
from rag.store.adapter_file import load_adapter, remove_adapter, save_adapter
from rag.store.schema import Identity

Vectors = npt.NDArray[np.float32]
QUESTIONS = Path(__file__).parents[1] / "data" / "questions.jsonl"
IDENTITY = Identity("text-embedding-test", "Q8_0", 8, "", "", 200)


def unit(rows: npt.NDArray[np.float64]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def turned_world(count: int, dimension: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Passages, and questions that are the passages turned by one rotation, with some noise."""
    drawn = np.random.default_rng(seed)
    passages = unit(drawn.normal(size=(count, dimension)))
    turn = np.linalg.qr(0.5 * drawn.normal(size=(dimension, dimension)) + 2 * np.eye(dimension))[0]
    return unit(passages @ turn + 0.3 * drawn.normal(size=(count, dimension)) / dimension**0.5), passages


@settings(max_examples=20)
@given(count=st.integers(2, 20), pull=st.sampled_from([0.003, 0.1, 10.0]), seed=st.integers(0, 99))
def test_a_rotation_keeps_lengths_and_angles(count: int, pull: float, seed: int) -> None:
    questions, passages = turned_world(count, 24, seed)
    turn = rotation(questions, passages, pull)
    assert turn @ turn.T == pytest.approx(np.eye(24), abs=1e-9)
    moved = adapted(turn, questions)
    assert moved @ moved.T == pytest.approx(questions @ questions.T, abs=1e-5)


@pytest.mark.parametrize("count", [5, 40])
def test_a_strong_pull_turns_nothing_and_the_span_alone_is_turned(count: int) -> None:
    questions, passages = turned_world(count, 24)
    assert rotation(questions, passages, 1e6) == pytest.approx(np.eye(24), abs=1e-4)
    turn = rotation(questions, passages, 0.01)
    assert np.linalg.norm(adapted(turn, questions) - passages) < np.linalg.norm(questions - passages)
    basis = np.linalg.qr(np.concatenate([questions, passages]).T, mode="complete")[0]
    if beyond := basis.shape[1] - 2 * count if 2 * count < 24 else 0:
        assert turn @ basis[:, -beyond:] == pytest.approx(basis[:, -beyond:], abs=1e-6)


def test_what_is_learnt_holds_for_questions_that_were_not_shown() -> None:
    questions, passages = turned_world(200, 16)
    right = [[at] for at in range(200)]
    turn = learn(questions[:150], right[:150], passages)
    assert turn is not None
    held, rest = questions[150:], right[150:]
    before, after = discounted(held, rest, passages).mean(), discounted(adapted(turn, held), rest, passages).mean()
    assert after > before + 0.1


def test_nothing_is_learnt_where_nothing_is_to_be() -> None:
    passages = turned_world(60, 16)[1]
    assert learn(passages[:30], [[at] for at in range(30)], passages) is None


def test_the_discount_of_known_ranks() -> None:
    passages = np.eye(3, dtype=np.float32)
    questions = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]], np.float32)
    assert discounted(questions, [[1], [0, 2]], passages) == pytest.approx([1 / np.log2(3), (1 + 0.5) / 2])


def test_an_adapter_is_kept_whole_and_for_its_index_alone(tmp_path: Path) -> None:
    assert load_adapter(tmp_path, IDENTITY) is None
    turn = rotation(*turned_world(20, 8), 0.1)
    save_adapter(tmp_path, turn, IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.npz"]
    assert load_adapter(tmp_path, replace(IDENTITY, chunk_tokens=100)) == pytest.approx(turn, abs=1e-6)
    with pytest.raises(errors.IdentityMismatch, match="text-embedding-test"):
        load_adapter(tmp_path, replace(IDENTITY, embedding_model="another"))
    stored = (tmp_path / "adapter.npz").read_bytes()
    for damaged in (stored[: len(stored) // 2], b"", b"no zip at all"):
        (tmp_path / "adapter.npz").write_bytes(damaged)
        with pytest.raises(errors.KnowledgeBaseError, match="cannot be read"):
            load_adapter(tmp_path, IDENTITY)
    assert remove_adapter(tmp_path)
    assert not remove_adapter(tmp_path)


def test_it_pays_where_the_gain_is_beyond_chance() -> None:
    gains = Figures((0.5,) * 40, (0.5, 1.0) * 20)
    chance = Figures((0.5,) * 40, (0.4, 0.65) * 20)
    assert gains.gain == pytest.approx(0.25)
    assert Trial(40, gains, chance).pays
    assert not Trial(40, Figures((0.5,) * 3, (0.5, 0.5, 1.0)), gains).pays
    assert gains.to_dict()["found_in_5"] == {"before": 1.0, "after": 1.0}


def test_lessons_of_the_sample_through_the_search(sample_kb: KnowledgeBase) -> None:
    questions = read_questions(QUESTIONS)
    with pytest.raises(errors.UsageProblem, match="too few"):
        list(lessons(sample_kb, questions[:10]))
    taught = list(lessons(sample_kb, [question for question in questions if question.answerable][:20]))
    assert len(taught) == 20
    for lesson in taught[:5]:
        source, start, end = lesson.gold
        rows = sample_kb.store.chunk_rows(sample_kb.store.document(source).id)
        held = [row for row in rows if row["id"] in lesson.right]
        assert any(row["start"] < end and start < row["end"] for row in held)
    done: list[int] = []
    tried = trial(sample_kb, taught, lambda: done.append(1))
    assert len(done) == tried.questions == len(tried.vector.after) == 20
    assert 0.5 < json.loads(json.dumps(tried.hybrid.to_dict()))["mrr"]["before"] <= 1
    turn = taught_turn(sample_kb, taught)
    assert turn is None or turn @ turn.T == pytest.approx(np.eye(384), abs=1e-6)


def test_a_question_is_turned_where_its_vector_is_made(sample_kb: KnowledgeBase, tmp_path: Path) -> None:
    copy = tmp_path / "copy.kb"
    shutil.copytree(sample_kb.path, copy)
    identity = sample_kb.store.identity
    said: list[str] = []

    def similarity() -> float:
        with KnowledgeBase(copy, settings=sample_kb.settings, notify=said.append) as base:
            return base.search("How long is the warranty?", mode="vector", limit=1)[0].similarity or 0.0

    plain = similarity()
    save_adapter(copy, -np.eye(384), identity)
    assert similarity() < 0.3 < plain, "all is turned away"
    save_adapter(copy, -np.eye(384), replace(identity, embedding_model="another"))
    assert similarity() == pytest.approx(plain)
    assert [line for line in said if "was learnt for embedding model 'another'" in line]


def test_a_question_needs_its_document(sample_kb: KnowledgeBase) -> None:
    unknown = [Question(str(at), "What?", "", "nowhere.md", "words") for at in range(20)]
    with pytest.raises(errors.UsageProblem, match=r"nowhere\.md"):
        list(lessons(sample_kb, unknown))


def test_the_command_says_what_it_found(
    command_environment: dict[str, str], sample_kb: KnowledgeBase, tmp_path: Path
) -> None:
    copy, questions = tmp_path / "copy.kb", tmp_path / "questions.jsonl"
    shutil.copytree(sample_kb.path, copy)
    questions.write_text("\n".join(QUESTIONS.read_text(encoding="utf-8").splitlines()[:20]), encoding="utf-8")
    one_thread = command_environment | {"OMP_NUM_THREADS": "1"}  # two, with others at work, wait for one another
    done = run(one_thread, "rag", "adapt", questions, "--kb", copy, "--json")
    figures = json.loads(done.stdout)
    assert set(figures) == {"questions", "hybrid", "vector", "pays", "saved"}
    assert set(figures["hybrid"]) == {"mrr", "found_in_5", "gain", "gain_interval"}
    assert figures["questions"] == 20
    assert figures["saved"] == figures["pays"] == (copy / "adapter.npz").is_file()
    save_adapter(copy, np.eye(384), sample_kb.store.identity)
    assert run(command_environment, "rag", "adapt", "--remove", "--kb", copy).stdout == "Removed.\n"
    both = run(command_environment, "rag", "adapt", QUESTIONS, "--remove", "--kb", copy)
    assert (both.returncode, both.stderr) == (2, "error: Name a file of questions, or --remove: one of them.\n")
