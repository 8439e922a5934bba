"""Answered questions of a knowledge base → the weights and the threshold by which it abstains, and their worth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import rag.errors as errors
from rag.confidence import Confidence, Signals, Weights
from rag.evaluation.metrics import auroc

LEAST_ANSWERABLE, LEAST_OTHERS = 20, 10
_FOLDS = 5
_PULL = 2.0  # towards the weights that there are: as sure of them as of a few dozen questions
_STEPS = 50

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decided:
    """How well answerable questions are told from others: `accuracy` is the mean of the share of those answered and
    the share of these refused, `refused` the share of answerable ones refused; all of them 0 to 1.
    """

    auroc: float
    accuracy: float
    refused: float

    def to_dict(self) -> dict[str, float]:
        """The shape of its part of `rag eval --answers --fit --json`."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Fit:
    """What was learnt from all questions, and what it is worth on questions that it was not learnt from."""

    confidence: Confidence
    before: Decided
    after: Decided

    @property
    def pays(self) -> bool:
        """Whether questions held out are decided better than before."""
        return self.after.accuracy > self.before.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The part `fit` of `rag eval --answers --fit --json`."""
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "threshold": round(self.confidence.threshold, 6),
            "weights": {name: round(value, 6) for name, value in asdict(self.confidence.weights).items()},
        }


def fit(given: Sequence[tuple[Signals, bool]], confidence: Confidence) -> Fit:
    """Learn from signals, each with whether its question is answerable; those without vectors are left out.

    The weights are a logistic regression that is drawn to the present ones; the threshold decides held-out questions
    best (five folds), the mean of both kinds. Raises UsageProblem where there are too few of either kind.
    """
    known = [(signals, yes) for signals, yes in given if signals.similarity is not None]
    enough([yes for _, yes in known])
    rows = np.array([[1.0, s.similarity or 0.0, s.stated, s.heard, s.said] for s, _ in known])
    answerable = np.array([yes for _, yes in known], float)
    prior = np.array(list(asdict(confidence.weights).values()))
    folds, silent = _folds(answerable), rows[:, 3] <= -1
    held = np.zeros(len(rows))
    for fold in range(_FOLDS):
        rest = folds != fold
        held[~rest] = _sigmoid(rows[~rest] @ _learnt(rows[rest], answerable[rest], prior))
    refused = silent.copy()
    for fold in range(_FOLDS):
        rest = folds != fold
        refused[~rest] |= held[~rest] < _threshold(held[rest], answerable[rest], silent[rest])
    now = _sigmoid(rows @ prior)
    return Fit(
        replace(
            confidence,
            weights=Weights(*map(float, _learnt(rows, answerable, prior))),
            threshold=_threshold(held, answerable, silent),
            fitted=len(known),
        ),
        before=_decided(now, answerable, silent | (now < confidence.threshold)),
        after=_decided(held, answerable, refused),
    )


def enough(answerable: Sequence[bool]) -> None:
    """Raise UsageProblem where there are too few questions of either kind to fit from."""
    count = sum(answerable)
    if count < LEAST_ANSWERABLE or len(answerable) - count < LEAST_OTHERS:
        raise errors.UsageProblem(
            f"To fit takes {LEAST_ANSWERABLE} questions that the documents answer and {LEAST_OTHERS} that they do not; "
            f"there are {count} and {len(answerable) - count}. --off-topic OTHER_SET asks questions of another set."
        )


def _folds(answerable: Vector) -> npt.NDArray[np.int64]:
    """The number of each question's fold, each kind shared out evenly."""
    folds = np.zeros(len(answerable), np.int64)
    pick = np.random.default_rng(0)
    for kind in (0.0, 1.0):
        at = np.flatnonzero(answerable == kind)
        folds[pick.permutation(at)] = np.arange(len(at)) % _FOLDS
    return folds


def _learnt(rows: Vector, answerable: Vector, prior: Vector) -> Vector:
    """Weights by Newton's method, both kinds counting as much, whatever their number."""
    share = answerable.mean()
    counts = np.where(answerable == 1, 0.5 / share, 0.5 / (1 - share))
    weights = prior.copy()
    pull = np.full(len(prior), _PULL)
    pull[0] = _PULL / 10  # how likely an answer is at all differs most from one knowledge base to another

    def loss(weights: Vector) -> float:
        odds = rows @ weights
        return float(counts @ (np.logaddexp(0, odds) - answerable * odds) + pull @ (weights - prior) ** 2 / 2)

    for _ in range(_STEPS):
        likely = _sigmoid(rows @ weights)
        slope = rows.T @ (counts * (likely - answerable)) + pull * (weights - prior)
        bend = (rows * (counts * likely * (1 - likely))[:, None]).T @ rows + np.diag(pull)
        step = np.linalg.solve(bend, slope)
        # Far from the minimum, as where the default decides all questions wrong, a whole step overshoots.
        while loss(weights - step) > loss(weights) and np.abs(step).max() >= 1e-9:
            step /= 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _sigmoid(odds: Vector) -> Vector:
    return 1 / (1 + np.exp(-np.clip(odds, -60, 60)))


def _threshold(scores: Vector, answerable: Vector, silent: Mask) -> float:
    """The least probability with which both kinds are decided best, between two scores; the lowest of several."""
    ordered = np.unique(scores)
    between = [0.0, *((ordered[1:] + ordered[:-1]) / 2)]
    return float(max(between, key=lambda least: (_accuracy(answerable, silent | (scores < least)), -least)))


def _decided(scores: Vector, answerable: Vector, refused: Mask) -> Decided:
    yes = answerable == 1
    return Decided(
        auroc=auroc(scores[yes].tolist(), scores[~yes].tolist()),
        accuracy=_accuracy(answerable, refused),
        refused=float(refused[yes].mean()),
    )


def _accuracy(answerable: Vector, refused: Mask) -> float:
    yes = answerable == 1
    return float(((~refused[yes]).mean() + refused[~yes].mean()) / 2)
