"""How a chat model's tokens compare with our count, learnt from what its server says that prompts had."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

from rag.tokens import counted

UNKNOWN_RATIO = 1.25  # of a chat model's tokens to `prompt_count`, at most, in running text
TEMPLATE_TOKENS = 64  # what a model's chat template adds

_KEPT = 8  # prompts: texts of another language or kind cost otherwise
_LEAST_COUNTED = 200  # tokens of ours, below which the template is too large a part
_PLAUSIBLE = (0.2, 8.0)
_MARGIN = 0.1  # after one prompt; after n of them, as the spread of a mean, by the root of n less
# What is taken for true of a tokenizer until prompts say otherwise, and how much of a prompt that counts: a token of
# words is one of ours, and each digit is a token, or three are one.
_DOUBT = 0.2
_KINDS = tuple(((_DOUBT, 0.0, _DOUBT), (0.0, _DOUBT, _DOUBT * digit)) for digit in (1.0, 1 / 3))


@dataclass(frozen=True, slots=True)
class Price:
    """What text costs a model at most, in its tokens: so many for one of ours of words, and for a digit.

    One price for both is wrong by a third where tables and prose meet: to some models each digit is a token, to others
    three are, and a small vocabulary cuts words but not digits.
    """

    word: float = 1.0
    digit: float = 1.0

    def __call__(self, text: str) -> int:
        """What a text costs at most."""
        return self.of(*counted(text))

    def of(self, words: int, digits: int) -> int:
        """What a text costs at most that has so many tokens of each kind by `rag.tokens.counted`."""
        return ceil(words * self.word + digits * self.digit)


OURS = Price()  # the same as `prompt_count`
_UNKNOWN = Price(word=1.3, digit=1.0)  # of small vocabularies; none that we know makes two tokens of a digit


class TokenScale:
    """What one model's prompts have cost so far. Its prices include what the template adds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int, int]] = deque(maxlen=_KEPT)  # our words and digits, its tokens

    @property
    def known(self) -> bool:
        """Whether a prompt of this model has been counted."""
        return bool(self._seen)

    def saw(self, prompt: str, tokens: int) -> None:
        """Learn that a prompt had so many of the model's tokens."""
        words, digits = counted(prompt)
        ours = words + digits
        if ours >= _LEAST_COUNTED and _PLAUSIBLE[0] < tokens / ours < _PLAUSIBLE[1]:
            self._seen.append((words, digits, tokens))

    def most(self, tokens: int) -> int:
        """How many tokens by `prompt_count` a prompt may have, whatever it holds, that takes at most so many."""
        return max(0, int((tokens - self.frame) / self._dearest))

    def cost(self, counted: int) -> int:
        """How many tokens a prompt takes at most, whatever it holds, that has so many by `prompt_count`."""
        return ceil(counted * self._dearest) + self.frame

    def more(self, tokens: int) -> int:
        """How much more a prompt that was just counted may cost, where it left so many tokens: what may be added is
        unlike what was counted. Less than nothing where it took too many, such as deeply indented code.
        """
        return floor(tokens * (1 + _MARGIN) / (UNKNOWN_RATIO if tokens > 0 else 1.0))

    @property
    def _dearest(self) -> float:
        return max(self.price.word, self.price.digit)

    @property
    def frame(self) -> int:
        """The tokens of the template, where the price does not include them yet."""
        return 0 if self._seen else TEMPLATE_TOKENS

    @property
    def price(self) -> Price:
        """What text costs at most, by the last prompts: none of them costs more than this says."""
        seen = tuple(self._seen)
        if not seen:
            return _UNKNOWN
        word, digit = _fitted(seen)
        low = max(tokens / (words * word + digits * digit) for words, digits, tokens in seen)
        above = max(low, 1.0) * (1 + _MARGIN / sqrt(len(seen)))
        return Price(word * above, digit * above)


def _fitted(seen: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """What a word's token and a digit cost, neither less than nothing: of the two kinds of tokenizers the one that
    explains the prompts better, by least squares of each prompt's error as a share of it.
    """
    rows = [(words / tokens, digits / tokens, 1.0) for words, digits, tokens in seen]
    return min((_least_squares([*rows, *doubts]) for doubts in _KINDS), key=lambda one: one[0])[1]


def _least_squares(rows: Sequence[tuple[float, float, float]]) -> tuple[float, tuple[float, float]]:
    """The error, and the two factors that are not below nothing and make of each row's first two its third."""
    ww, dd, wd = (sum(row[a] * row[b] for row in rows) for a, b in ((0, 0), (1, 1), (0, 1)))
    wt, dt = (sum(row[at] * row[2] for row in rows) for at in (0, 1))
    by = ww * dd - wd * wd
    word, digit = (wt * dd - dt * wd) / by, (dt * ww - wt * wd) / by
    if word < 0 or digit < 0:
        word, digit = (0.0, dt / dd) if word < 0 else (wt / ww, 0.0)
    return sum((w * word + d * digit - wanted) ** 2 for w, d, wanted in rows), (word, digit)


def stated_tokens(refusal: str, context: int) -> int | None:
    """How long a prompt was, by the message that refused it: the least number in it beyond the context."""
    beyond = [int(number) for number in re.findall(r"\d+", refusal) if context < int(number) < 100 * context]
    return min(beyond, default=None)
