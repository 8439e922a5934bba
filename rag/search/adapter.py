"""A turn of question vectors towards the passages that answer them, learnt from pairs. Pure.

Questions and passages are embedded by one model but not written alike. A rotation that brings people's own questions
nearer to their passages keeps all lengths and angles among questions, so it cannot fold two questions into one, and it
is pulled towards no turn at all, so that thirty pairs in 384 dimensions do not turn it anywhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]  # 2-D, one row a text

PULLS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_FOLDS = 4


def rotation(questions: Vectors, passages: Vectors, pull: float) -> Matrix:
    """The rotation W, shape (dimension, dimension), that brings questions to their passages: unit vectors, row by row.

    W minimises sum |W q - p|² + pull * n * |W - 1|² among orthogonal matrices: the orthogonal factor of the polar
    decomposition of sum p qᵀ + pull * n * 1 (Schönemann 1966, with a pull towards the identity).
    """
    count, dimension = questions.shape
    both = np.concatenate([questions, passages]).astype(np.float64)
    # What no vector of the pairs reaches stays as it is, so the decomposition is done within their span.
    basis = np.linalg.qr(both.T)[0] if 2 * count < dimension else np.eye(dimension)
    inner = (passages @ basis).T @ (questions @ basis) + pull * count * np.eye(basis.shape[1])
    left, _, right = np.linalg.svd(inner)
    turned: Matrix = np.eye(dimension) + basis @ (left @ right - np.eye(basis.shape[1])) @ basis.T
    return turned


def adapted(turn: Matrix, questions: Vectors) -> Vectors:
    """The questions' vectors, turned: a row, or a matrix of rows."""
    moved: Vectors = (questions @ turn.T).astype(np.float32)
    return moved


def learn(
    questions: Vectors, right: Sequence[Sequence[int]], passages: Vectors, pulls: Sequence[float] = PULLS
) -> Matrix | None:
    """The rotation for questions of which each has some right rows in `passages`; None where none ranks better.

    How strong the pull is, is chosen by cross-validation on these questions alone, by `discounted`.
    """
    targets = _targets(right, passages)
    best, chosen = float(discounted(questions, right, passages).mean()), None
    folds = np.arange(len(questions)) % _FOLDS
    for pull in pulls:
        gains = np.zeros(len(questions))
        for fold in range(_FOLDS):
            held, kept = folds == fold, folds != fold
            turn = rotation(questions[kept], targets[kept], pull)
            rows = [right[at] for at in range(len(right)) if held[at]]
            gains[held] = discounted(adapted(turn, questions[held]), rows, passages)
        if gains.mean() > best:
            best, chosen = float(gains.mean()), pull
    return None if chosen is None else rotation(questions, targets, chosen)


def discounted(questions: Vectors, right: Sequence[Sequence[int]], passages: Vectors) -> npt.NDArray[np.float64]:
    """For each question the mean of 1/log2(1 + rank) of its right passages among all, by cosine: 1 is best.

    The discount of nDCG, without a cut: a passage that comes up from the fiftieth rank to the twentieth counts too.
    """
    cosines = questions @ passages.T
    return np.array(
        [
            np.mean(1 / np.log2(2 + (row[None, :] > row[list(rows)][:, None]).sum(axis=1)))
            for row, rows in zip(cosines, right, strict=True)
        ]
    )


def _targets(right: Sequence[Sequence[int]], passages: Vectors) -> Vectors:
    """The middle of each question's right passages, as a unit vector."""
    means = np.array([passages[list(rows)].mean(axis=0) for rows in right])
    unit: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit
