"""Maximal marginal relevance: what 0 leaves alone, what 1 does, and what holds for every ranking."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag.search.diversity import diverse
from rag.store.search import Found


def ranking(scores: list[float]) -> list[tuple[Found, float]]:
    return [
        (Found(str(at), "d", at, "", at, at + 1, None, (), score), score)
        for at, score in enumerate(sorted(scores, reverse=True))
    ]


@given(
    st.lists(st.floats(0, 1), max_size=12),
    st.integers(0, 15),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_what_holds_for_every_ranking(scores: list[float], limit: int, diversity: float, seed: int) -> None:
    ranked = ranking(scores)
    drawn = np.random.default_rng(seed)
    vectors = {found.id: drawn.normal(size=4).astype(np.float32) for found, _ in ranked}
    vectors = {id_: vector / np.linalg.norm(vector) for id_, vector in vectors.items()}
    chosen = diverse(ranked, vectors, limit, diversity)
    ids = [found.id for found, _ in chosen]
    assert len(ids) == len(set(ids)) == min(limit, len(ranked))
    assert all(pair in ranked for pair in chosen), "scores stay with their passages"
    assert chosen[:1] == ranked[: min(limit, 1)], "the best one stays first"
    assert diverse(ranked, vectors, limit, 0.0) == ranked[:limit]
    assert ids[: limit // 2] == [found.id for found, _ in diverse(ranked, vectors, limit // 2, diversity)]


def test_a_passage_like_the_first_gives_way() -> None:
    ranked = ranking([1.0, 0.9, 0.5])
    vectors = {"0": np.array([1, 0], np.float32), "1": np.array([1, 0], np.float32), "2": np.array([0, 1], np.float32)}
    assert [found.id for found, _ in diverse(ranked, vectors, 3, 0.2)] == ["0", "1", "2"]
    assert [found.id for found, _ in diverse(ranked, vectors, 3, 0.5)] == ["0", "2", "1"]


def test_a_passage_without_a_vector_resembles_none() -> None:
    ranked = ranking([1.0, 0.9, 0.5])
    vectors = {"0": np.array([1, 0], np.float32), "1": np.array([1, 0], np.float32)}
    assert [found.id for found, _ in diverse(ranked, vectors, 2, 0.5)] == ["0", "2"]
    assert [found.id for found, _ in diverse(ranked, {}, 2, 0.5)] == ["0", "1"]
