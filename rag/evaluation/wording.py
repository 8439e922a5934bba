"""How well a text answers as a gold answer does: exact match and F1, as SQuAD counts them. Pure."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_MARKERS = re.compile(r"\s?\[(?:\d+(?:,\s*\d+)*|unverified)\]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def answer_words(text: str) -> list[str]:
    """A text's words as SQuAD's metric has them: lower case, without punctuation and the English articles.

    Markers of citations are left out. Chinese and Japanese signs are a word each, as in MLQA (Lewis et al. 2020).
    """
    plain = _MARKERS.sub("", unicodedata.normalize("NFKC", text)).lower()
    plain = "".join(char for char in plain if unicodedata.category(char)[0] not in "PS")
    return _WORD.findall(_ARTICLES.sub(" ", plain))


def exact_match(said: str, golds: Sequence[str]) -> float:
    """1 where the words are those of one of the gold answers, in their order; else 0."""
    words = answer_words(said)
    return float(any(words == answer_words(gold) for gold in golds))


def word_f1(said: str, golds: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, 0 to 1, against the gold answer that fits best."""
    return max((_f1(answer_words(said), answer_words(gold)) for gold in golds), default=0.0)


def _f1(said: Sequence[str], gold: Sequence[str]) -> float:
    common = sum((Counter(said) & Counter(gold)).values())
    return 2 * common / (len(said) + len(gold)) if common else 0.0


def holds_gold(said: str, golds: Sequence[str]) -> float:
    """1 where every word of one of the gold answers is said; else 0."""
    words = set(answer_words(said))
    return float(any(wanted and wanted <= words for wanted in (set(answer_words(gold)) for gold in golds)))
