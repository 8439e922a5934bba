"""A text as words that can be compared: stems, names, weights, in any language that is written with words or signs.

Scripts without blanks (Chinese, Japanese, Korean, Thai) become pairs of neighbouring signs.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from rag.stop_words import STOP_WORDS
from rag.words import language_of, stem

_SIGNS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LABEL = r"(?<![^\W_])(?!(?:EUR|USD|GBP|CHF|JPY)\d)[A-Z]{1,3}\d+(?:\.\d+)*(?!\w)"  # the 6 of a bolt M6 counts nothing
_TOKEN = re.compile(
    rf"[{_SIGNS}]+|{_LABEL}|\d{{4}}-\d\d-\d\d|(?:(?<![\w.,)\]])[-−](?=\d))?\d+(?:[.,:/'’]\d+)*|[^\W\d_{_SIGNS}]+|[%‰$€£¥°₹]",
    re.UNICODE,
)
_ENUMERATION = re.compile(  # "1)" and a list's "1.", but not "12. März"
    r"(?<![\w(.,])\d{1,2}\)(?=\s)|\A\s*\d{1,2}[.)](?=\s)(?!\s+(?:Jan|Feb|M[aä]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov|De[cz]))"
)
_SIGN = re.compile(rf"[{_SIGNS}]")

# Besides the stop words: what carries no fact by itself. Denials are looked at elsewhere.
_ALSO = {
    "en": "about above after again all also am any because before being below between both cannot d during each either "
    "few further having here hers him however itself just like ll made make makes may might more most much must "
    "never nor off once one only onto other ours out over own per re s same shall some t theirs themselves "
    "therefore through thus too under until up upon ve very via well whether while within without yours",
    "de": "alle bzw darf daß diesen hatte ihren ihrer kein keine keinem keinen keiner können müssen nie schon sehr "
    "seinen seiner seit sowie",
    "fr": "a avoir cet doit doivent jamais leurs peut peuvent tous tout toute toutes très étaient était",
}
# Words that fit nearly any sentence say little about which one it is.
_COMMON = frozenset(
    "use used uses using usage provide provides provided providing include includes included including various "
    "different certain specific particular many several way ways thing things example examples allow allows allowed "
    "allowing help helps helped helping ensure ensures make making takes take taken give gives given get gets getting "
    "need needs needed show shows shown set sets number kind kinds type types called known name named term terms "
    "significant significantly important key main overall based approach method methods process additionally "
    "respectively effectively potentially typically generally especially particularly specifically related involve "
    "involves consist contain contains refer refers describe describes according mention mentioned document "
    "documents documentation passage text state stated come comes became become becomes go goes went new good better "
    "best first people part parts result results resulting lead leads leading enable enables enabling achieve order "
    "possible time place year years day days wird gibt mehr viele verschiedene beispiel wurde permet peut plusieurs "
    "answer question thereby across without not overall unlike despite although though "
    "instead rather whereas since unless among along outside inside near around regardless given following besides "
    "together".split()
)
_SAME = {"northern": "north", "southern": "south", "eastern": "east", "western": "west"}
_COMMON_WEIGHT, _WEIGHT, _NAME_WEIGHT = 0.45, 1.0, 1.3


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A text's words in order. `folded` as written but for case; `stems` are "" where a word carries no fact.

    `weights` say how much a word tells; `named` are the places of words written as names are; words
    with the same number in `clauses` have no comma, bracket or dash between them. `opens` says that the first word may
    be a name or a common noun: at a sentence's start both have a capital.
    """

    folded: tuple[str, ...]
    stems: tuple[str, ...]
    weights: dict[str, float]  # by stem
    named: frozenset[int]
    clauses: tuple[int, ...]
    opens: bool


@lru_cache(maxsize=512)
def language(text: str) -> str:
    """The text's language, by the most stop words where it is too short to tell, "en" where that is no help."""
    sample = re.sub(r"\b\w\b", " ", text[:1000])  # in tables "w" is a watt and no Polish word
    if told := language_of(sample):
        return told
    tokens = re.findall(r"[^\W\d_]+", sample.casefold())
    counts = {name: sum(map(stop.__contains__, tokens)) for name, stop in STOP_WORDS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] > counts["en"] else "en"


@lru_cache(maxsize=32)
def _function(language: str) -> frozenset[str]:
    return STOP_WORDS.get(language, frozenset()).union(_ALSO.get(language, "").split())


@lru_cache(maxsize=16384)
def words(text: str, language: str) -> Words:
    """Take a text apart; `language` decides on stems and on what is written as a name."""
    plain = _ENUMERATION.sub(" ", unicodedata.normalize("NFKC", text).replace("’", "'"))
    function = _function(language)
    folded: list[str] = []
    stems: list[str] = []
    weights: dict[str, float] = {}
    named: set[int] = set()
    firsts: list[tuple[int, int]] = []
    double: set[int] = set()
    capital = -1
    clauses: list[int] = []
    at_start = True
    before = clause = 0
    for match in _TOKEN.finditer(plain):
        token = match.group()
        gap = plain[before : match.start()]
        before = match.end()
        clauses += [clause] * (len(folded) - len(clauses))
        clause += any(char in ",;:()[]–—" for char in gap)
        at_start = at_start or any(char in '.!?:|•\n“"' for char in gap)
        if _SIGN.match(token):
            for pair in [token[at : at + 2] for at in range(max(1, len(token) - 1))]:
                folded.append(pair)
                stems.append(pair)
                weights[pair] = _WEIGHT
            at_start = False
            continue
        low = token.casefold()
        if gap == "'" and low in ("t", "s", "ll", "re", "ve", "d") and folded:
            if low == "t" and folded[-1].endswith("n"):  # "don't": n't is what matters
                folded.append("not")
                stems.append("")
            continue
        if not low[0].isalpha():
            folded.append(low)
            stems.append("")
            at_start = False
            continue
        if token.endswith("s") and token[:-1].isupper() and len(token) > 2:  # "LLMs" are several of "LLM"
            low = low[:-1]
        root = "" if low in function else stemmed(low, language)
        if root and at_start and token[0].isupper() and low not in _COMMON:
            firsts.append((len(folded), match.end()))
        if root and token[0].isupper() and not at_start:
            if gap == " " and capital == len(folded) - 1:  # German nouns have capitals, but two in a row are a name
                double |= {capital, len(folded)}
            capital = len(folded)
        if root and _is_name(token, at_start, language):
            named.add(len(folded))
            weights[root] = _NAME_WEIGHT
        elif root:
            weights.setdefault(root, _COMMON_WEIGHT if low in _COMMON else _WEIGHT)
        folded.append(low)
        stems.append(root)
        at_start = False
    clauses += [clause] * (len(folded) - len(clauses))
    if language == "de":
        for at in double:
            named.add(at)
            weights[stems[at]] = _NAME_WEIGHT
    else:
        for at, end in firsts:
            if _does_something(folded[at], plain[end : end + 40]):
                named.add(at)
                weights[stems[at]] = _NAME_WEIGHT
    opens = language != "de" and bool(firsts) and firsts[0][0] == 0 and not _NO_SUBJECT.search(folded[0])
    return Words(tuple(folded), tuple(stems), weights, frozenset(named), tuple(clauses), opens)


def _is_name(token: str, at_start: bool, language: str) -> bool:
    """Capitals inside a sentence, or more than one at its start; in German, where nouns have them, more than one."""
    if sum(char.isupper() for char in token) > 1:
        return token not in ("AI",)  # as good as a common noun by now
    return token[0].isupper() and not at_start and language != "de"


_DOES = (
    "is was are were has had have will can could would may might must did does do became wrote led won began est était "
    "sont fut es fue era è fu says owns makes runs leads sells holds plays writes lives works uses provides offers "
    "recommends requires supports allows includes contains"
)
_DOER = re.compile(
    rf"(?:'s)? (?:{'|'.join(_DOES.split())}|[a-z]{{3,}}ed)\b|'s? |"
    r" (?:of |and |de |von |van |the |& )?[A-Z]|, [A-Z]\w*,? "
)
_NO_DOER = re.compile(r"(?:ing|ly|tion|sion|ment|ness|ity|ance|ence|ism|ions|ments|ers|ors|ees|ists|ings)$")

# Denials, forms of verbs, and plurals ("Customers" for "you").
_NO_SUBJECT = re.compile(r"^n(?:one|obody|othing)$|(?:ing|ly|ed|[^s]s)$")


def _does_something(first: str, following: str) -> bool:
    """Whether a sentence's first word is a name, by what follows: "Rollo was", "Ann's", "Ford sells", "Paul Revere"."""
    found = _DOER.match(following)
    if not found or _NO_DOER.search(first):
        return False
    plural = first.endswith("s") and not first.endswith("ss")
    return not plural or not re.match(
        r" (?:are|were|have|can|could|would|may|might|must|will|do|[a-z]+ed)\b", following
    )


@lru_cache(maxsize=65536)
def stemmed(word: str, language: str) -> str:
    """A folded word's stem, without accents."""
    return stem(_SAME.get(word, word), language)


@lru_cache(maxsize=65536)
def plain(word: str) -> str:
    """Without accents: people leave them out of names."""
    if word.isascii():
        return word
    return "".join(char for char in unicodedata.normalize("NFD", word) if not unicodedata.combining(char))
