"""Fusion and joining, with made-up results and no model."""

import pytest

from rag.retrieve import VECTOR_WEIGHT, fused, joined
from rag.store.search import Found


def found(id_: str, score: float, ordinal: int = 0, document: str = "d", page: int | None = None) -> Found:
    return Found(id_, document, ordinal, id_, ordinal * 10, ordinal * 10 + 9, page, (), score)


def test_fusion_is_a_convex_combination_of_scaled_scores() -> None:
    near = [found("a", 0.9), found("b", 0.5), found("c", 0.1)]
    worded = [found("b", 12.0), found("d", 2.0)]
    scores = {item.id: score for item, score in fused(near, worded)}
    assert scores == pytest.approx(
        {"b": VECTOR_WEIGHT * 0.5 + (1 - VECTOR_WEIGHT), "a": VECTOR_WEIGHT, "c": 0.0, "d": 0.0}
    )
    assert fused(near, worded)[0][0].id == "b"


def test_one_search_alone_keeps_its_order_and_full_scale() -> None:
    near = [found("a", 0.9), found("b", 0.5)]
    assert [(item.id, score) for item, score in fused(near, [])] == [("a", 1.0), ("b", 0.0)]
    assert fused([], []) == []


def test_ties_are_broken_the_same_way_each_time() -> None:
    assert [item.id for item, _ in fused([found("b", 0.5), found("a", 0.5)], [])] == ["a", "b"]


def test_neighbours_become_one_passage_in_text_order() -> None:
    ranked = [(found("c", 1, ordinal=4), 1.0), (found("x", 1, ordinal=9), 0.9), (found("b", 1, ordinal=3), 0.8)]
    groups = joined(ranked, limit=5)
    assert [[member.id for member in group] for group, _ in groups] == [["b", "c"], ["x"]]
    assert [score for _, score in groups] == [1.0, 0.9]


def test_other_documents_and_other_pages_do_not_join() -> None:
    ranked = [(found("a", 1, 1, page=1), 1.0), (found("b", 1, 2, page=2), 0.9), (found("c", 1, 2, "other", 1), 0.8)]
    assert [len(group) for group, _ in joined(ranked, limit=5)] == [1, 1, 1]


def test_never_more_groups_than_asked_for() -> None:
    ranked = [(found(str(n), 1, n * 2), 1.0 - n / 10) for n in range(8)]
    assert [group[0].id for group, _ in joined(ranked, limit=3)] == ["0", "1", "2"]
