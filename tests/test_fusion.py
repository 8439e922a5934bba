"""The fusion of both searches: weights, lists that ran out, and no search that is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.search.fusion import fused
from rag.store.search import Found


def found(id_: str, score: float) -> Found:
    """A chunk that a search found."""
    return Found(id_, id_, 0, "text", 0, 4, None, (), score)


def ids(near: list[Found], worded: list[Found], weight: float = 0.4, *, exhausted: bool = False) -> list[str]:
    """The fused order."""
    return [chunk.id for chunk, _ in fused(near, worded, weight, exhausted=exhausted)]


NEAR = [found("a", 0.9), found("b", 0.8), found("c", 0.1)]
WORDED = [found("b", 7.0), found("d", 6.5), found("a", 1.0)]


def test_what_both_searches_find_comes_first() -> None:
    assert ids(NEAR, WORDED)[0] == "b"


@pytest.mark.parametrize(("weight", "first"), [(1.0, "a"), (0.0, "b")])
def test_the_weight_gives_one_search_all(weight: float, first: str) -> None:
    assert ids(NEAR, WORDED, weight)[0] == first


def test_scores_are_a_convex_combination_of_scaled_ones() -> None:
    near = [found("a", 0.9), found("b", 0.5), found("c", 0.1)]
    result = fused(near, [found("b", 12.0), found("d", 2.0)], 0.4, exhausted=False)
    assert {chunk.id: score for chunk, score in result} == pytest.approx(
        {"b": 0.4 * 0.5 + 0.6, "a": 0.4, "c": 0, "d": 0}
    )


def test_ties_are_broken_the_same_way_each_time() -> None:
    assert ids([found("b", 0.5), found("a", 0.5)], []) == ["a", "b"]


def test_one_search_alone_keeps_its_order() -> None:
    assert ids(NEAR, []) == ["a", "b", "c"]
    assert ids([], WORDED) == ["b", "d", "a"]


def test_the_last_of_few_matches_is_not_scaled_to_nothing() -> None:
    near, worded = [found("x", 0.9), found("y", 0.2)], [found("p", 9.0), found("q", 8.9)]
    assert ids(near, worded) == ["p", "x", "q", "y"]
    assert ids(near, worded, exhausted=True) == ["p", "q", "x", "y"]


scores = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 50), max_size=8)


@given(scores, scores, st.floats(0, 1), st.booleans())
def test_nothing_found_is_lost_and_scores_stay_in_bounds(
    near: dict[str, float], worded: dict[str, float], weight: float, exhausted: bool
) -> None:
    lists = [
        sorted((found(id_, score) for id_, score in side.items()), key=lambda f: -f.score) for side in (near, worded)
    ]
    result = fused(*lists, weight, exhausted=exhausted)
    assert {chunk.id for chunk, _ in result} == near.keys() | worded.keys()
    values = [score for _, score in result]
    assert values == sorted(values, reverse=True)
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in values)
