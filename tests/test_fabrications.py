"""Planted fabrications on the project's own true claims: what the check notices, and how often it cries wolf."""

import pytest

from bench.fabrications import OWN
from rag.evaluation.fabricate import KINDS, fabrications, read_pairs
from rag.evaluation.planted import Scores, curve, scored

PAIRS = read_pairs(OWN)


@pytest.fixture(scope="module")
def scores() -> Scores:
    return scored(PAIRS)


def test_the_set_is_varied() -> None:
    assert len(PAIRS) >= 60
    assert {pair.language for pair in PAIRS} == {"en", "de", "fr"}
    assert len({pair.document for pair in PAIRS}) >= 15


def test_fabrications_are_the_same_for_the_same_seed_and_differ_from_the_claim() -> None:
    made = list(fabrications(PAIRS, seed=3))
    assert made == list(fabrications(PAIRS, seed=3))
    assert made != list(fabrications(PAIRS, seed=4))
    assert {one.kind for one in made} == set(KINDS)
    for one in made:
        assert (one.claim != one.pair.claim) is (one.kind != "source")
        assert (one.passages != one.pair.passages) is (one.kind == "source")


# The set is hard on purpose: every third claim has a denial of its own, or paraphrases one.
@pytest.mark.parametrize(("kind", "least"), [("number", 0.97), ("name", 0.9), ("source", 0.97), ("negation", 0.65)])
def test_fabrications_are_noticed(scores: Scores, kind: str, least: float) -> None:
    assert scores.detected(kind) >= least


def test_true_claims_are_seldom_doubted(scores: Scores) -> None:
    assert scores.false_alarms() <= 0.05


def test_the_curve_rises(scores: Scores) -> None:
    rows = curve(scores)[:-1]
    for kind in ("false_alarms", *KINDS):
        values = [row[kind] for row in rows]
        assert values == sorted(values)
