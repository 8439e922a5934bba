"""Batches and requests in flight: as many as pay, none lost, and one bad text harms itself alone."""

import heapq
import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

import rag.errors as errors
from rag.lmstudio.batches import Embedded, Embedding, Text, Throttle


def settled_level(slots: int, requests: int = 400) -> list[int]:
    """The levels after each request to a server of so many slots, each of which does a token in a millisecond."""
    throttle = Throttle()
    ends = [0.0] * slots
    now = 0.0
    flying: list[tuple[float, float, int]] = []  # end, start, level
    levels = []
    for _ in range(requests):
        while len(flying) < throttle.level:
            end = max(now, ends[0]) + 1.0
            heapq.heapreplace(ends, end)
            heapq.heappush(flying, (end, now, throttle.level))
        end, start, level = heapq.heappop(flying)
        now = end
        throttle.done(level, 1000, end - start)
        levels.append(throttle.level)
    return levels


def test_a_server_that_works_one_by_one_gets_one_at_a_time() -> None:
    levels = settled_level(1)
    assert levels[0] == 1
    assert max(levels) <= 2
    assert levels.count(1) > 0.8 * len(levels)


@pytest.mark.parametrize("slots", [2, 4, 8])
def test_a_server_that_works_side_by_side_gets_work_for_all_slots(slots: int) -> None:
    levels = settled_level(slots)
    assert levels[0] == 1
    assert levels[40:].count(slots) > 0.6 * len(levels[40:])
    assert min(levels[40:]) >= slots
    assert max(levels) <= 2 * slots


def test_an_error_brings_it_back_to_one() -> None:
    throttle = Throttle()
    throttle.level = 8
    throttle.failed()
    assert throttle.level == 1


def vectors(texts: Sequence[str], estimates: Sequence[int]) -> npt.NDArray[np.float32]:
    assert len(texts) == len(estimates)
    return np.array([[len(text), ord(text[0])] for text in texts], np.float32)


def embedded(
    texts: Sequence[str],
    embed: Callable[[Sequence[str], Sequence[int]], npt.NDArray[np.float32]] = vectors,
    lead: tuple[str, ...] = (),
    check: Callable[[npt.NDArray[np.float32]], None] = lambda found: None,
) -> dict[str, npt.NDArray[np.float32] | errors.ServerError]:
    """What becomes of texts that are their own names. Raises what stops the work."""
    told: queue.Queue[Embedded | BaseException] = queue.Queue()
    work = Embedding(embed, 4, told.put, told.put, lead, check)
    work.add(Text(text, text, 10) for text in texts)
    work.flush()
    results: dict[str, npt.NDArray[np.float32] | errors.ServerError] = {}
    try:
        while len(results) < len(texts):
            one = told.get(timeout=30)
            if isinstance(one, BaseException):
                raise one
            results |= one.results
    finally:
        work.close()
    return results


TEXTS = [chr(ord("a") + number) * (number + 1) for number in range(23)]


def test_every_text_gets_its_own_vector() -> None:
    results = embedded(TEXTS)
    assert {name: list(vector) for name, vector in results.items() if isinstance(vector, np.ndarray)} == {
        text: [len(text), ord(text[0])] for text in TEXTS
    }


def test_one_bad_text_harms_itself_alone() -> None:
    def picky(texts: Sequence[str], estimates: Sequence[int]) -> npt.NDArray[np.float32]:
        if "ccc" in texts:
            raise errors.ContextOverflow("too long")
        return vectors(texts, estimates)

    results = embedded(TEXTS, picky)
    assert isinstance(results.pop("ccc"), errors.ContextOverflow)
    assert len(results) == 22
    assert all(isinstance(vector, np.ndarray) for vector in results.values())


def test_a_busy_server_is_asked_again_one_at_a_time() -> None:
    lock = threading.Lock()
    refused: list[int] = []

    def busy(texts: Sequence[str], estimates: Sequence[int]) -> npt.NDArray[np.float32]:
        with lock:
            if len(refused) < 2:
                refused.append(len(texts))
                raise errors.ServerError("overloaded (HTTP 503)")
        return vectors(texts, estimates)

    assert len(embedded(TEXTS, busy)) == 23
    assert len(refused) == 2


def test_a_server_that_is_gone_ends_the_work() -> None:
    def gone(texts: Sequence[str], estimates: Sequence[int]) -> npt.NDArray[np.float32]:
        raise errors.ServerUnreachable("nothing answers")

    with pytest.raises(errors.ServerUnreachable):
        embedded(TEXTS, gone)


def test_the_lead_is_checked_before_anything_else_is_sent() -> None:
    asked: list[list[str]] = []
    checked: list[list[float]] = []

    def noting(texts: Sequence[str], estimates: Sequence[int]) -> npt.NDArray[np.float32]:
        asked.append(list(texts))
        return vectors(texts, estimates)

    def refuse(found: npt.NDArray[np.float32]) -> None:
        checked.append(found[:, 0].tolist())
        raise errors.IdentityMismatch("another model")

    with pytest.raises(errors.IdentityMismatch):
        embedded(TEXTS, noting, ("canary", "bird"), refuse)
    assert asked == [["canary", "bird", "a", "bb"]]
    assert checked == [[6, 4, 1, 2]]
