"""Evaluation sets: the measures by hand-made cases, the layout's readers, and the command on a real small set."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import rag.errors as errors
from rag.cli.app import app
from rag.evaluation.datasets import read_dataset
from rag.evaluation.metrics import Range, interval, ndcg, recall, reciprocal_rank, span_score

GAINS = {"a": 1.0, "b": 1.0, "c": 0.0}


def test_ranking_measures() -> None:
    assert ndcg(["a", "b"], GAINS, 10) == 1
    assert ndcg(["x", "a"], {"a": 1}, 10) == pytest.approx(1 / math.log2(3))
    assert ndcg(["x", "a"], {"a": 1}, 1) == 0
    assert recall(["a", "c", "b"], GAINS, 2) == 0.5
    assert reciprocal_rank(["c", "x", "b"], GAINS) == pytest.approx(1 / 3)
    assert reciprocal_rank(["c"], GAINS) == 0


def test_graded_gains_prefer_the_better_document_first() -> None:
    gains = {"best": 3.0, "good": 1.0}
    assert ndcg(["best", "good"], gains, 10) == 1
    assert ndcg(["good", "best"], gains, 10) < 1


def test_spans_by_hand() -> None:
    score = span_score([("d", 0, 100), ("other", 0, 100)], [("d", 50, 150)])
    assert (score.recall, score.precision) == (0.5, 0.25)
    assert score.iou == pytest.approx(50 / 250)
    assert span_score([], [("d", 0, 10)]).recall == 0


ranges = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(1, 20)).map(lambda t: (t[0], t[1], t[1] + t[2])),
    max_size=6,
)


@given(ranges, ranges)
def test_spans_agree_with_sets_of_characters(retrieved: list[Range], gold: list[Range]) -> None:
    got = {(document, at) for document, start, end in retrieved for at in range(start, end)}
    wanted = {(document, at) for document, start, end in gold for at in range(start, end)}
    score = span_score(retrieved, gold)
    assert score.recall == pytest.approx(len(got & wanted) / len(wanted) if wanted else 0)
    assert score.precision == pytest.approx(len(got & wanted) / len(got) if got else 0)
    assert score.iou == pytest.approx(len(got & wanted) / len(got | wanted) if got | wanted else 0)


def test_the_interval_holds_the_mean_and_never_changes() -> None:
    values = [0.0, 1.0] * 50
    low, high = interval(values)
    assert low < 0.5 < high
    assert interval(values) == (low, high)
    assert interval([0.3]) == (0.3, 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of three documents with two questions and a gold span."""
    place = tmp_path / "pets"
    (place / "docs").mkdir(parents=True)
    texts = {
        "parrot": "A parrot eats seeds and nuts. It can live for sixty years.",
        "cat": "A cat sleeps sixteen hours a day and hunts mice at night.",
        "tax": "The tax on land is due in March of each year.",
    }
    for name, text in texts.items():
        (place / "docs" / f"{name}.txt").write_text(text)
    queries = [{"_id": "q1", "text": "What does a parrot eat?"}, {"_id": "q2", "text": "When is the land tax due?"}]
    (place / "queries.jsonl").write_text("\n".join(map(json.dumps, [*queries, {"_id": "q3", "text": "no answer"}])))
    (place / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tparrot\t1\nq2\ttax\t1\n")
    span = {"query_id": "q1", "doc": "parrot", "start": 0, "end": 29, "quote": texts["parrot"][:29]}
    (place / "spans.jsonl").write_text(json.dumps(span))
    return place


def test_a_set_is_read(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert [query.id for query in dataset.queries] == ["q1", "q2"]
    assert dataset.queries[0].spans == (("parrot", 0, 29),)
    assert dataset.source == dataset.spanned == folder / "docs"


def test_judgements_of_passages_need_the_corpus_and_spans_their_documents(folder: Path) -> None:
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "parrot#1", "title": "", "text": "A parrot eats seeds."}))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tparrot#1\t1\n")
    dataset = read_dataset(folder)
    assert dataset.source == folder / "corpus.jsonl"
    assert dataset.spanned == folder / "docs"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("queries.jsonl", '{"_id": "q1"}', "line 1, has no text"),
        ("queries.jsonl", "nonsense", "line 1, is not a JSON object"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\tparrot\tmuch\n", "line 2, is no judgement"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n", "no question with a relevant document"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(folder: Path, file: str, content: str, message: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(errors.UsageProblem, match=message):
        read_dataset(folder)


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"no queries\.jsonl"):
        read_dataset(tmp_path)


def test_the_command_measures_compares_and_gates(
    folder: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    environment = {**command_environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["eval", str(folder), *map(str, arguments)], env=environment)

    done = run("--json", "--ablation", "--with", "mode=words")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["queries"] == figures["sampled_from"] == 2
    assert figures["unanswerable"] == 1
    assert figures["ranked"] == "documents"
    assert figures["mrr"] == figures["recall@5"] == figures["ndcg@10"] == figures["span_recall"] == 1
    assert 0.4 < figures["span_precision"] <= 1
    assert list(figures["ablation"]) == ["default", "vector", "words", "mode=words"]
    assert figures["ablation"]["words"]["difference"]["mrr"] == [0, 0, 0]
    assert figures["cost"]["chat_requests"] == 0
    (tmp_path / "better.json").write_text(json.dumps({**figures, "span_precision": 2.0}))
    worse = run("--json", "--ablation", "--with", "mode=words", "--baseline", tmp_path / "better.json")
    assert worse.exit_code == 1
    assert "worse: span_precision" in worse.stderr
    assert without_costs(json.loads(worse.stdout)) == without_costs(figures), "a second run measures the same"
    plain = run("--baseline", tmp_path / "better.json", "--gate", 5)
    assert plain.exit_code == 0
    assert plain.stdout.splitlines()[0] == "measure\tdefault"
    assert plain.stdout.splitlines()[1].startswith("ndcg@10\t1.000 (")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tunknown\t1\n")
    assert "documents that are judged are not among those of" in str(run("--json").exception)
    passages = [{"_id": f"{name}#1", "title": name, "text": f"About a {name}."} for name in ("cat", "parrot")]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, passages)))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tparrot#1\t1\n")
    both = json.loads(run("--json").stdout)
    assert both["mrr"] == both["span_recall"] == 1


def without_costs(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures but for the time they took."""
    ablation = {name: {**way, "cost": None} for name, way in figures["ablation"].items()}
    return {**figures, "cost": None, "ablation": ablation}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kb", "x"], "brings its own documents"),
        (["--with", "mood=good"], "'mood=good' is not FIELD=VALUE with a field of"),
        (["--with", "mode=magic"], "'magic' is none of"),
        (["--with", "vector_weight=much"], "the value is of the wrong kind"),
        (["--html", "nowhere/page.html"], "There is no folder"),
    ],
)
def test_wrong_use_is_said_before_anything_is_measured(folder: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["eval", str(folder), *arguments])
    assert isinstance(done.exception, errors.UsageProblem)
    assert message in str(done.exception)
