"""How a chat model's tokens compare with our count, learnt from what its server says that prompts had."""

import re
from collections import deque
from math import sqrt

UNKNOWN_RATIO = 1.25  # of a chat model's tokens to `prompt_count`, at most, in running text
TEMPLATE_TOKENS = 64  # what a model's chat template adds

_KEPT = 8  # prompts: texts of another language or kind cost otherwise
_LEAST_COUNTED = 200  # tokens of ours, below which the template is too large a part
_PLAUSIBLE = (0.2, 8.0)
_MARGIN = 0.1  # after one prompt; after n of them, as the spread of a mean, by the root of n less


class TokenScale:
    """What one model's prompts have cost so far. Its ratios include what the template adds."""

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=_KEPT)

    @property
    def known(self) -> bool:
        """Whether a prompt of this model has been counted."""
        return bool(self._ratios)

    def saw(self, counted: int, tokens: int) -> None:
        """Learn that a prompt of so many tokens by our count had so many by the model's."""
        if counted >= _LEAST_COUNTED and _PLAUSIBLE[0] < tokens / counted < _PLAUSIBLE[1]:
            self._ratios.append(tokens / counted)

    def most(self, tokens: int) -> int:
        """How many tokens of our count a prompt may have that takes at most so many of the model's."""
        if not self._ratios:
            return max(0, int((tokens - TEMPLATE_TOKENS) / UNKNOWN_RATIO))
        return max(0, int(tokens / self._bound))

    def more(self, tokens: int) -> int:
        """How many of ours may be added where so many of the model's are left: text of which nothing is known yet."""
        return max(0, int(tokens / (max(self._ratios, default=1.0) * UNKNOWN_RATIO)))

    def cost(self, counted: int) -> int:
        """How many of the model's tokens a prompt takes at most that has so many by our count."""
        if not self._ratios:
            return round(counted * UNKNOWN_RATIO) + TEMPLATE_TOKENS
        return round(counted * self._bound) + 1

    @property
    def _bound(self) -> float:
        return max(self._ratios) * (1 + _MARGIN / sqrt(len(self._ratios)))


def stated_tokens(refusal: str, context: int) -> int | None:
    """How long a prompt was, by the message that refused it: the least number in it beyond the context."""
    beyond = [int(number) for number in re.findall(r"\d+", refusal) if context < int(number) < 100 * context]
    return min(beyond, default=None)
