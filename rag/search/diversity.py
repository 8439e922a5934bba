"""A ranking whose passages differ from one another, on request."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rag.store.search import Found


def diverse(
    ranked: Sequence[tuple[Found, float]],
    vectors: Mapping[str, npt.NDArray[np.float32]],
    limit: int,
    diversity: float,
) -> list[tuple[Found, float]]:
    """The first `limit` of a ranking by maximal marginal relevance (Carbonell and Goldstein 1998), scores unchanged.

    Each next one has the largest (1 - diversity) * score - diversity * (largest cosine to those chosen before), with
    scores from 0 to 1 and `vectors` the chunks' unit vectors by id; one without a vector resembles none. 0 changes
    nothing; the best one stays first whatever the diversity; ties keep the ranking's order.
    """
    limit = min(limit, len(ranked))
    if diversity == 0 or limit == 0:
        return list(ranked[:limit])
    dimension = next((vector.size for vector in vectors.values()), 1)
    nothing = np.zeros(dimension, np.float32)
    matrix = np.array([vectors.get(found.id, nothing) for found, _ in ranked])
    scores = np.array([score for _, score in ranked])
    chosen = [0]
    nearest = matrix @ matrix[0]
    while len(chosen) < limit:
        value = (1 - diversity) * scores - diversity * nearest
        value[chosen] = -np.inf
        chosen.append(int(np.argmax(value)))
        nearest = np.maximum(nearest, matrix @ matrix[chosen[-1]])
    return [ranked[at] for at in chosen]
