"""A text as words that can be compared: stems, names, weights, in any language that is written with words or signs.

Stems come from Snowball for the languages named here; others are compared as they are written. Scripts without blanks
(Chinese, Japanese, Korean, Thai) become pairs of neighbouring signs.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

_SIGNS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(
    rf"[{_SIGNS}]+|\d{{4}}-\d\d-\d\d|(?:(?<![\w.,)\]])[-−](?=\d))?\d+(?:[.,:/'’]\d+)*|[^\W\d_{_SIGNS}]+|[%‰$€£¥°₹]",
    re.UNICODE,
)
_ENUMERATION = re.compile(  # "1)" and a list's "1.", but not "12. März"
    r"(?<![\w(.,])\d{1,2}\)(?=\s)|\A\s*\d{1,2}[.)](?=\s)(?!\s+(?:Jan|Feb|M[aä]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov|De[cz]))"
)
_SIGN = re.compile(rf"[{_SIGNS}]")

# Function words: they carry no fact, and they tell languages apart.
_FUNCTION = {
    "en": "a an and are as at be been being but by did do does for from had has have having he her here hers him his "
    "how i if in into is it its itself me my of off on onto or our ours out over own shall she should so some such "
    "than that the their theirs them themselves then there these they this those through to too under until up upon "
    "us very was we were what when where whether which while who whom whose why will with within would you your "
    "yours also any both can could each either just may might more most much must other same about above after again "
    "all am because before below between during few further once only because per via s t d ll re ve however "
    "therefore thus well one like make makes made not no nor never without cannot",
    "de": "der die das den dem des ein eine einer eines einem einen und oder ist sind war waren wird werden wurde "
    "wurden wie was wer wo wann welche welcher welches in im am an auf aus bei mit nach von vom zu zum zur für über "
    "unter es er sie sich auch dass daß wenn als so noch schon nur man hat haben hatte kann können muss müssen soll "
    "darf ich wir ihr ihre ihrer ihren sein seine seiner seinen durch um bis vor seit diese dieser dieses diesen da "
    "dann aber doch sowie bzw sehr alle nicht kein keine keinen keinem keiner ohne nie",
    "fr": "le la les l un une des du de d et est sont était étaient a ont que qu qui quoi dont où dans sur sous pour "
    "par au aux avec en ce cet cette ces il elle ils elles on nous vous se s son sa ses leur leurs y ou mais si comme "
    "plus être avoir été peut peuvent doit doivent même tout tous toute toutes aussi très lors j c m t pas "
    "ne n jamais sans",
    "es": "el la los las un una unos unas de del al y o u que en es son era eran fue fueron ha han por para con se su "
    "sus lo le les como más pero si este esta estos estas ese esa muy también cuando donde quien cual ser estar hay "
    "entre sobre desde hasta puede pueden debe deben",
    "it": "il lo la i gli le un uno una di del della dei degli delle da dal dalla in nel nella con su sul per tra fra "
    "e o ed che chi cui è sono era erano ha hanno si come più ma se anche questo questa questi queste essere può "
    "possono deve devono al alla ai alle",
    "nl": "de het een en of is zijn was waren wordt worden werd van in op te aan met voor door uit bij naar om over "
    "als dat die dit deze er ook maar dan nog wel heeft hebben had kan kunnen moet moeten zal zij hij ze je u we wij",
    "pt": "o a os as um uma uns umas de do da dos das em no na nos nas por para com e ou que é são era foi foram se "
    "seu sua seus suas como mais mas também ao à este esta isso ser estar tem pode podem deve devem entre até",
    "sv": "och att det som en ett den de är var på av för med till har om i inte från kan ska eller men så vid",
    "ru": "и в во на с со к по из за о об от до для у как что это этот эта эти он она они оно его её их был была были "
    "быть есть а но или же бы ли при так который которая которые",
}
FUNCTION = {language: frozenset(words.split()) for language, words in _FUNCTION.items()}
_STEMMERS = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "nl": "dutch",
    "pt": "portuguese", "sv": "swedish", "ru": "russian",
}  # fmt: skip

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
    with the same number in `clauses` have no comma, bracket or dash between them.
    """

    folded: tuple[str, ...]
    stems: tuple[str, ...]
    weights: dict[str, float]  # by stem
    named: frozenset[int]
    clauses: tuple[int, ...]


@lru_cache(maxsize=512)
def language(text: str) -> str:
    """The text's language by its function words, "en" where they do not tell."""
    tokens = re.findall(r"[^\W\d_]+", text[:1000].casefold())
    counts = {name: sum(map(words.__contains__, tokens)) for name, words in FUNCTION.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] > counts["en"] else "en"


@lru_cache(maxsize=16384)
def words(text: str, language: str) -> Words:
    """Take a text apart; `language` decides on stems and on what is written as a name."""
    plain = _ENUMERATION.sub(" ", unicodedata.normalize("NFKC", text).replace("’", "'"))
    function = FUNCTION[language]
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
        stem = "" if low in function else stemmed(low, language)
        if stem and at_start and token[0].isupper() and low not in _COMMON:
            firsts.append((len(folded), match.end()))
        if stem and token[0].isupper() and not at_start:
            if gap == " " and capital == len(folded) - 1:  # German nouns have capitals, but two in a row are a name
                double |= {capital, len(folded)}
            capital = len(folded)
        if stem and _is_name(token, at_start, language):
            named.add(len(folded))
            weights[stem] = _NAME_WEIGHT
        elif stem:
            weights.setdefault(stem, _COMMON_WEIGHT if low in _COMMON else _WEIGHT)
        folded.append(low)
        stems.append(stem)
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
    return Words(tuple(folded), tuple(stems), weights, frozenset(named), tuple(clauses))


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
    """A folded word's stem; one that all spellings share that a reader takes for the same word."""
    # A stemmer keeps the word that it works on, so each call has its own: threads may ask at the same time.
    return plain(str(snowballstemmer.stemmer(_STEMMERS[language]).stemWord(_SAME.get(word, word))))


@lru_cache(maxsize=65536)
def plain(word: str) -> str:
    """Without accents: people leave them out of names."""
    if word.isascii():
        return word
    return "".join(char for char in unicodedata.normalize("NFD", word) if not unicodedata.combining(char))
