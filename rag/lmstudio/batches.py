"""Texts to the embedding server: in batches, with as many requests in flight as pay and no more."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

import rag.errors as errors

Vector = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str], Sequence[int]], npt.NDArray[np.float32]]

_MOST_IN_FLIGHT = 16
_PAYS = 1.15  # a level is worth its requests where it does so much more than the one before
_TRY_AGAIN = 60  # requests after which a settled level is questioned
_BATCH_TOKENS = 16_384
_PATIENCE_S = 0.05  # how long an incomplete batch waits for more texts
_LEAST = 8  # texts a request, where the last ones are shared out
# What is in flight is lost when we are killed: at most this many texts, or this share of what the run has embedded.
LOST_AT_FIRST = 16
_LOST_SHARE = 0.05
_TRIES = 3
_PAUSE_S = 0.5
_RESCUABLE = (errors.BadReply, errors.ContextOverflow)  # one text may have caused these; other errors stop the run
_PASSING = (errors.ServerError, errors.ModelGone)  # these classes themselves: it was busy, or restarted


class Throttle:
    """How many requests to keep in flight: one at first, twice as many while that pays, one after an error.

    A level's rate is its number of requests times the mean speed of one of them (Little's law), measured on requests
    that were sent when the level was in force and the server's queue had settled.
    """

    def __init__(self, most: int = _MOST_IN_FLIGHT) -> None:
        self.level = 1
        self._most = most
        self._rates: dict[int, float] = {}
        self._skip = 1
        self._speeds: list[float] = []
        self._settled = False
        self._since = 0

    def done(self, level: int, tokens: int, seconds: float) -> None:
        """Note a request that was sent at a level."""
        self._since += 1
        if self._settled:
            if self._since >= _TRY_AGAIN and self.level < self._most:
                self._settled = False
                self._rates.clear()
                self._measure(self.level)
            return
        if level != self.level:
            return
        if self._skip:
            self._skip -= 1
            return
        self._speeds.append(tokens / max(seconds, 1e-6))
        if len(self._speeds) < self.level:
            return
        self._rates[self.level] = self.level * sum(self._speeds) / len(self._speeds)
        self._decide()

    def failed(self) -> None:
        """Note an error: the server may have had too much to do."""
        self._settle(1)

    def _decide(self) -> None:
        slower = [level for level in self._rates if level < self.level]
        before = max(slower, default=None)
        if before is not None and self._rates[self.level] < _PAYS * self._rates[before]:
            self._settle(before)
        elif self.level >= self._most:
            self._settle(self.level)
        else:
            self._measure(min(self._most, 2 * self.level))

    def _measure(self, level: int) -> None:
        self.level, self._skip, self._speeds = level, level, []

    def _settle(self, level: int) -> None:
        self.level, self._settled, self._since = level, True, 0


@dataclass(frozen=True, slots=True)
class Text:
    """A text to embed, the name that its vector goes by, and its length in tokens, by estimate."""

    name: str
    text: str
    tokens: int


@dataclass(slots=True)
class _Batch:
    texts: list[Text]
    lead: tuple[str, ...] = ()
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of some texts: a vector, or the error that this text alone caused, by name. `tokens` as estimated."""

    results: dict[str, Vector | errors.ServerError]
    tokens: int


@dataclass(slots=True)
class Embedding:
    """A few threads that embed what is waiting, and call `on_done` or `on_error`.

    `lead` are texts that stand before all others in the first request. `check_lead` is shown that request's vectors
    before anything else is sent. What this or `on_done` raises ends the work. `at_risk` texts may be in flight from the
    first on.
    """

    embed: Embed
    batch: int
    on_done: Callable[[Embedded], None]
    on_error: Callable[[BaseException], None]
    lead: tuple[str, ...] = ()
    check_lead: Callable[[npt.NDArray[np.float32]], None] = lambda vectors: None
    throttle: Throttle = field(default_factory=Throttle)
    at_risk: int = LOST_AT_FIRST
    _waiting: deque[Text] = field(default_factory=deque)
    _again: deque[_Batch] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _active: int = 0
    _flying: int = 0  # texts in flight
    _done_texts: int = 0
    _threads: int = 0
    _flush: bool = False
    _closed: bool = False
    _last_added: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting and nothing in flight."""
        with self._changed:
            return not self._waiting and not self._active and not self._again

    def add(self, texts: Iterable[Text]) -> None:
        """Have texts embedded."""
        with self._changed:
            self._waiting.extend(texts)
            self._last_added = time.monotonic()
            self._grow()
            self._changed.notify()

    def flush(self, now: bool = True) -> None:
        """Say whether more texts are to come soon: if not, what is there is sent without waiting for them."""
        if now != self._flush:
            with self._changed:
                self._flush = now
                self._changed.notify_all()

    def close(self, wait_s: float = 0.0) -> None:
        """Send nothing more. Requests that are still in flight after `wait_s` seconds are left to themselves."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._active, wait_s)

    def _grow(self) -> None:
        while self._threads < self.throttle.level:
            self._threads += 1
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            batch, level = taken
            problem: BaseException | None = None
            done: Embedded | None = None
            try:
                done = self._done(batch, level)
                if done is not None:
                    self.on_done(done)
            except BaseException as exc:  # noqa: BLE001 - it is handed to the thread that waits for us
                problem = exc
            with self._changed:
                self._active -= 1
                if done is not None:
                    self._flying -= len(batch.texts)
                    self._done_texts += len(batch.texts)
                self._closed = self._closed or problem is not None
                self._grow()
                self._changed.notify_all()
            if problem is not None:
                self.on_error(problem)

    def _take(self) -> tuple[_Batch, int] | None:
        """The next batch and the level that it is sent at; None at the end."""
        with self._changed:
            while not self._closed:
                if self._active < self.throttle.level:
                    if self._again:
                        self._active += 1
                        return self._again.popleft(), self.throttle.level
                    if self._waiting and (batch := self._cut()):
                        self._active += 1
                        self._flying += len(batch.texts)
                        return batch, self.throttle.level
                is_due = self._waiting and self._active < self.throttle.level and not self._flush
                self._changed.wait(_PATIENCE_S if is_due else None)
            return None

    def _cut(self) -> _Batch | None:
        """As many of the waiting texts as one request takes; None where more are worth waiting for."""
        level = self.throttle.level
        room = max(self.at_risk, int(_LOST_SHARE * self._done_texts))
        most = min(self.batch - len(self.lead), -(-room // level))
        if self._flying and self._flying + most > room:
            return None
        free = level - self._active
        patient = not self._flush and time.monotonic() - self._last_added < _PATIENCE_S
        if len(self._waiting) < most and patient:
            return None
        if self._flush and len(self._waiting) < most * free:
            # The end of the work: all that is left at once, in equal parts.
            most = min(most, max(_LEAST, -(-len(self._waiting) // free)))
        texts: list[Text] = []
        tokens = 0
        while self._waiting and len(texts) < max(1, most):
            tokens += self._waiting[0].tokens
            if texts and tokens > _BATCH_TOKENS:
                break
            texts.append(self._waiting.popleft())
        lead, self.lead = self.lead, ()
        return _Batch(texts, lead)

    def _done(self, batch: _Batch, level: int) -> Embedded | None:
        """The vectors of a batch; None where it is to be sent again."""
        tokens = sum(text.tokens for text in batch.texts)
        began = time.perf_counter()
        try:
            results = self._vectors(batch)
        except errors.ServerError as exc:
            batch.tries += 1
            if type(exc) not in _PASSING or batch.tries >= _TRIES:
                raise
            time.sleep(_PAUSE_S * batch.tries)
            with self._changed:
                self.throttle.failed()
                self._again.append(batch)
            return None
        with self._changed:
            self.throttle.done(level, tokens, time.perf_counter() - began)
        return Embedded(results, tokens)

    def _vectors(self, batch: _Batch) -> dict[str, Vector | errors.ServerError]:
        texts = batch.texts
        try:
            matrix = self.embed(
                [*batch.lead, *(text.text for text in texts)],
                [*(len(text) for text in batch.lead), *(text.tokens for text in texts)],
            )
        except _RESCUABLE as exc:
            if len(texts) == 1 and not batch.lead:
                return {texts[0].name: exc}
            if batch.lead:
                self.check_lead(self.embed(batch.lead, [len(text) for text in batch.lead]))
            # One text among them is at fault; the others shall not pay for it.
            middle = len(texts) // 2
            results: dict[str, Vector | errors.ServerError] = {}
            for half in (texts[:middle], texts[middle:]):
                results |= self._vectors(_Batch(half)) if half else {}
            return results
        if batch.lead:
            self.check_lead(matrix)
        return dict(zip((text.name for text in texts), matrix[len(batch.lead) :], strict=True))
