"""Joining, with made-up results and no model."""

from rag.search.retrieve import joined
from rag.store.search import Found


def found(id_: str, score: float, ordinal: int = 0, document: str = "d", page: int | None = None) -> Found:
    return Found(id_, document, ordinal, id_, ordinal * 10, ordinal * 10 + 9, page, (), score)


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


def over(id_: str, ordinal: int, start: int, end: int, document: str = "d") -> Found:
    return Found(id_, document, ordinal, "", start, end, None, (), 1.0)


def test_what_overlaps_is_one_passage_however_long() -> None:
    """Chunks with overlap: no text is shown twice, and a slice goes to the end that lies farthest."""
    chain = [(over(str(at), at, at * 10, at * 10 + 15), 1.0 - at / 100) for at in range(5)]
    assert [[member.id for member in group] for group, _ in joined(chain, limit=5)] == [["0", "1", "2", "3", "4"]]
    within = [(over("inner", 7, 20, 30), 1.0), (over("outer", 3, 0, 100), 0.9), (over("else", 3, 0, 100, "e"), 0.8)]
    assert [[member.id for member in group] for group, _ in joined(within, 5)] == [["outer", "inner"], ["else"]]


def test_neighbours_that_only_touch_join_up_to_three() -> None:
    row = [(over(str(at), at, at * 10, at * 10 + 10), 1.0 - at / 100) for at in range(4)]
    assert [[member.id for member in group] for group, _ in joined(row, limit=5)] == [["0", "1", "2"], ["3"]]


def test_what_lies_between_two_passages_makes_them_one() -> None:
    apart = [(found("a", 1, 1), 1.0), (found("c", 1, 3), 0.9), (found("x", 1, 9), 0.8), (found("b", 1, 2), 0.7)]
    assert [[member.id for member in group] for group, _ in joined(apart, limit=5)] == [["a", "b", "c"], ["x"]]
    bridge = [(over("a", 0, 0, 50), 1.0), (over("b", 9, 70, 90), 0.9), (over("c", 4, 40, 80), 0.8)]
    assert [[member.id for member in group] for group, _ in joined(bridge, limit=5)] == [["a", "c", "b"]]


def test_the_floor_counts_from_the_best_whatever_the_order() -> None:
    """Diversity changes the order, not the scores."""
    ranked = [(found("a", 1, 1), 1.0), (found("b", 1, 5), 0.4), (found("c", 1, 9), 0.8)]
    assert [group[0].id for group, _ in joined(ranked, limit=5, floor=0.5)] == ["a", "c"]
