"""Text as the words that full-text search compares: split, stemmed, folded, each document in its own language.

LanceDB's index has one language for a whole table and no way to cut Chinese; so the store holds our words, separated
by blanks, and its index only splits at these. The only door to PyStemmer and regex.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

import regex
import Stemmer

from rag.stop_words import STOP_WORDS

# Scripts that write words without blanks between them, or particles onto them: cut into pairs of characters.
_PAIRED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_RUN = regex.compile(rf"(?V1)(?P<paired>{_PAIRED}+)|[[\p{{L}}\p{{M}}\p{{N}}]--{_PAIRED}]+")
_SIMPLE_RUN = regex.compile(r"[A-Za-z0-9]+")  # the same for ASCII, in a quarter of the time
_CAMEL = regex.compile(r"\p{Ll}\p{Lu}|\p{Lu}{2}\p{Ll}{2}")
_HUMP = regex.compile(r"\p{Lu}+(?!\p{Ll})|\p{Lu}?\p{Ll}+|\p{N}+")
_ACCENTS = regex.compile("[\u0300-\u036f]+")
_BY_SCRIPT = (
    ("ja", regex.compile(r"[\p{Hiragana}\p{Katakana}]")),
    ("ko", regex.compile(r"\p{Hangul}")),
    ("th", regex.compile(r"\p{Thai}")),
    ("zh", regex.compile(r"\p{Han}")),
)
_STEMMERS = {
    "": "english",  # tables and code: names and headings in English, more often than not
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "sv": "swedish",
    "da": "danish",
    "no": "norwegian",
    "fi": "finnish",
    "ru": "russian",
    "pl": "polish",
    "cs": "czech",
    "hu": "hungarian",
    "ro": "romanian",
    "tr": "turkish",
}
_TOLD_BY = 20_000  # characters; a document's language shows in its first pages
_LEAST_SHARE = 0.12  # of a text's words are stop words of its language; in running text a third and more are
_LONGEST = 64  # characters of a word; what is longer is no word


def language_of(text: str) -> str:
    """The language that a text is written in as its ISO 639-1 code, "" where it is none of ours or no running text."""
    sample = text[:_TOLD_BY]
    words = [run.casefold() for run, paired in _runs(sample) if not paired]
    signs = sum(len(run) for run, paired in _runs(sample) if paired)
    if signs > sum(map(len, words)) / 2:
        # A Japanese text is mostly kana, a Chinese one has hardly any.
        return next((code for code, script in _BY_SCRIPT if len(script.findall(sample)) > signs / 10), "")
    return _told_by(words, STOP_WORDS)


def language_name(code: str) -> str:
    """What a language is called in English, "" for one that is none of ours."""
    others = {"ja": "japanese", "ko": "korean", "th": "thai", "zh": "chinese"}
    return (others | _STEMMERS)[code].capitalize() if code and code in others | _STEMMERS else ""


def terms(text: str, language: str) -> str:
    """A passage's words in the form that is searched, separated by blanks.

    Stop words are left out, but for a passage that has nothing else: every passage can be found.
    """
    return " ".join(_terms(text, (language,), language) or _terms(text, (language,), ""))


def query_terms(question: str, languages: Sequence[str]) -> str:
    """A question's words in every form that they may have in documents of these languages, each once.

    `languages` are those of the documents, the commonest first.
    """
    words = [run.casefold() for run, paired in _runs(question) if not paired]
    lists = {code: STOP_WORDS[code] for code in languages if code in STOP_WORDS}
    forms = tuple(languages) or ("",)
    spoken = _told_by(words, lists) or forms[0]
    return " ".join(dict.fromkeys(_terms(question, forms, spoken) or _terms(question, forms, "")))


def _told_by(words: Sequence[str], lists: dict[str, frozenset[str]]) -> str:
    """The language whose stop words are most of some words, "" where they are few of any."""
    counts = {code: sum(word in stop for word in words) for code, stop in lists.items()}
    best = max(counts, key=lambda code: counts[code], default="")
    return best if best and counts[best] > max(1, _LEAST_SHARE * len(words)) else ""


def _terms(text: str, languages: tuple[str, ...], spoken: str) -> list[str]:
    """The forms of all words but the stop words of the language that the text is in."""
    found: list[str] = []
    for run, paired in _runs(text):
        found += _pairs(run) if paired else _forms(run, languages, spoken)
    return found


@lru_cache(maxsize=200_000)
def _forms(run: str, languages: tuple[str, ...], spoken: str) -> tuple[str, ...]:
    """A word, and the words that a name of a program is put together from, as each language stems them."""
    word = run.casefold()[:_LONGEST]
    if word in STOP_WORDS.get(spoken, ()):
        return ()
    parts = [part.casefold() for part in _HUMP.findall(run) if len(part) > 1] if _CAMEL.search(run) else []
    return tuple(dict.fromkeys(stem(form, language) for form in (word, *parts) for language in languages))


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """The words of a text, and whether each is a run of characters to be cut into pairs."""
    if text.isascii():
        yield from ((run, False) for run in _SIMPLE_RUN.findall(text))
        return
    for found in _RUN.finditer(text):
        yield found[0], found["paired"] is not None


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def stem(word: str, language: str) -> str:
    """The word's stem without accents: people leave them out when they ask."""
    stemmer = _stemmer(language)
    found = stemmer.stemWord(word) if stemmer else word
    if found.isascii():
        return found
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", found)))


@cache
def _stemmer(language: str) -> Stemmer.Stemmer | None:
    return Stemmer.Stemmer(_STEMMERS[language]) if language in _STEMMERS else None
