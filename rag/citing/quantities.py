"""Numbers in a text as values with units, so that "24 months", "two years" and "2 Jahre" are the same amount.

Spelled numbers in English, German and French; thousands and decimal signs of either use; dates in any order. Units are
converted only where that is exact.
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number at a place in a list of words. `values` are its readings: "1.299" is one, in German another.

    `unit` is "" where none is known, else what `measures` are counted in: "2 years" has the value 2 and measures 24
    months; or "section", "date" and the like for what is no amount. `spelled` tells a number written as a
    word, `implied` an amount without a number ("a year"), which supports a claim but makes none.
    """

    place: int
    text: str
    values: frozenset[str]
    unit: str = ""
    measures: frozenset[str] = frozenset()
    spelled: bool = False
    implied: bool = False

    def agrees(self, other: "Quantity") -> bool:
        """Whether `other`, in the evidence, can be this amount."""
        if self.unit == "calendar" and other.unit not in ("calendar", "date"):
            return False
        if other.unit == "calendar" and self.unit not in ("calendar", "date"):
            return False
        if other.unit == "heading" and self.unit != "section":
            return False
        if self.unit == "ordinal" and other.unit not in ("ordinal", "date"):
            return False
        if self.measures and other.measures:
            return self.unit == other.unit and bool(self.measures & other.measures)
        return bool(self.values & other.values)


_ONES = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante",
}
_SMALL = {word: value for names in _ONES.values() for value, word in enumerate(names.split())}
_SMALL |= {word: 10 * value for names in _TENS.values() for value, word in enumerate(names.split(), 2)}
_SMALL |= {"dozen": 12, "dutzend": 12, "douzaine": 12, "dreissig": 30, "twice": 2, "zweimal": 2}
_VAGUE = frozenset({"one", "un", "eins"})  # as often a pronoun or an article as a number
_GERMAN = re.compile(r"(ein|zwei|drei|vier|fünf|sechs|sieben|acht|neun)und(zwanzig|drei(?:ß|ss)ig|\w+zig)")
_ORDINALS = {
    word: value
    for value, word in enumerate(
        "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
        "sixteenth seventeenth eighteenth nineteenth twentieth".split(),
        3,
    )
} | {"second": 2, "zweite": 2, "dritte": 3, "vierte": 4, "fünfte": 5, "deuxième": 2, "troisième": 3, "quatrième": 4}
_ORDINAL_ENDINGS = frozenset("st nd rd th er ère ème e".split())
_ROMAN = {
    word: str(value) for value, word in enumerate("ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi".split(), 2)
}
del _ROMAN["v"], _ROMAN["x"]  # as often volts, versus, and what is not known
_SCALES = {
    "hundred": 2, "hundert": 2, "cent": 2, "cents": 2, "thousand": 3, "tausend": 3, "mille": 3, "tsd": 3,
    "million": 6, "millions": 6, "millionen": 6, "mio": 6, "mn": 6, "billion": 9, "billions": 9, "bn": 9,
    "milliarde": 9, "milliarden": 9, "mrd": 9, "milliard": 9, "milliards": 9, "trillion": 12, "trillions": 12,
}  # fmt: skip
_LETTER_SCALES = {"k": 3, "m": 6, "b": 9}

# word → (what it is counted in, how many of these)
_UNITS: dict[str, tuple[str, Decimal]] = {
    word: (unit, Decimal(factor))
    for unit, factor, names in (
        ("percent", "1", "% percent pct prozent"),
        ("€", "1", "€ eur euro euros"),
        ("$", "1", "$ usd dollar dollars"),
        ("£", "1", "£ gbp pound pounds"),
        ("¥", "1", "¥ jpy yen"),
        ("chf", "1", "chf franken"),
        ("₹", "1", "₹ inr rupee rupees"),
        ("second", "1", "second seconds sec secs sekunde sekunden seconde secondes"),
        ("second", "60", "minute minutes min mins minuten"),
        ("second", "3600", "hour hours hr hrs stunde stunden heure heures"),
        ("second", "86400", "day days tag tage tagen jour jours"),
        ("second", "604800", "week weeks woche wochen semaine semaines"),
        ("month", "1", "month months monat monate monaten mois"),
        ("month", "12", "year years yr yrs jahr jahre jahren ans année années"),
        ("year", "10", "decade decades jahrzehnt jahrzehnte décennie décennies"),
        ("metre", "0.001", "mm millimetre millimetres millimeter millimeters"),
        ("metre", "0.01", "cm centimetre centimetres centimeter centimeters zentimeter"),
        ("metre", "1", "metre metres meter meters mètre mètres"),
        ("metre", "1000", "km kilometre kilometres kilometer kilometers kilomètre kilomètres"),
        ("mile", "1", "mile miles meile meilen"),
        ("foot", "1", "ft foot feet"),
        ("gram", "0.001", "mg milligram milligrams milligramm"),
        ("gram", "1", "g gram grams gramm gramme grammes"),
        ("gram", "1000", "kg kilogram kilograms kilogramm kilo kilos"),
        ("litre", "0.001", "ml millilitre millilitres milliliter"),
        ("litre", "1", "l litre litres liter liters"),
        ("kb", "1", "kb kilobyte kilobytes"),
        ("mb", "1", "mb megabyte megabytes"),
        ("gb", "1", "gb gigabyte gigabytes"),
        ("tb", "1", "tb terabyte terabytes"),
        ("volt", "0.001", "mv millivolt"),
        ("volt", "1", "v volt volts"),
        ("watt", "1", "w watt watts"),
        ("watt", "1000", "kw kilowatt kilowatts"),
        ("hertz", "1", "hz hertz"),
        ("hertz", "1000000", "mhz megahertz"),
        ("nm", "1", "nm newtonmetre newtonmetres"),
    )
    for word in names.split()
}
_CURRENCIES = frozenset("€ $ £ ¥ ₹ eur usd gbp chf jpy inr".split())  # these may stand before their number
_ARTICLES = frozenset("a an every each ein eine einem einen une".split())
_OFTEN = frozenset("times time once twice mal einmal zweimal fois".split())  # "four times a year" lasts no year
MONTHS = {
    word: str(value)
    for names in (
        "january february march april may june july august september october november december",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "jan feb mar apr may jun jul aug sep oct nov dec",
    )
    for value, word in enumerate(names.split(), 1)
}
_MONTHS_THAT_ARE_WORDS = frozenset("may march mars mar jan sep dec".split())
_SECTIONS = frozenset("section chapter part clause article paragraph kapitel abschnitt teil artikel chapitre".split())
_STARTS = frozenset({*_SMALL, *_ORDINALS, *_ROMAN, *_ARTICLES, *MONTHS})
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d{1,4}([./])\d{1,2}\1\d{1,4}|\d{1,2}/\d{1,2}")
_SECTION = re.compile(r"\d{1,2}(?:\.\d{1,2})*")
_GROUPED = re.compile(r"-?\d{1,3}(?:([,.'])\d{3})(?:\1\d{3})*")


def numbered(heading: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
    """A heading's numbers, of which one in front counts nothing: "2 Safety" is no evidence for two of anything."""
    if not heading or heading[0].place or heading[0].unit or not _SECTION.fullmatch(heading[0].text):
        return heading
    if len(heading) > 1 and heading[1].place == 1:  # "12 May"
        return heading
    return replace(heading[0], unit="heading"), *heading[1:]


@lru_cache(maxsize=16384)
def quantities(folded: tuple[str, ...]) -> tuple[Quantity, ...]:
    """The numbers among a text's folded words, in order."""
    found: list[Quantity] = []
    at = 0
    while at < len(folded):
        word = folded[at]
        if not (word[-1].isdigit() or word in _STARTS or "und" in word):
            at += 1
            continue
        length, quantity = _at(folded, at)
        if quantity:
            found.extend(quantity)
        at += length
    return tuple(found)


def _at(folded: tuple[str, ...], at: int) -> tuple[int, list[Quantity]]:
    """How many words the number at a place takes, and what it is; (1, []) where there is none."""
    word = folded[at]
    following = folded[at + 1] if at + 1 < len(folded) else ""
    if word[-1].isdigit():
        return _digits(folded, at)
    if word in _ROMAN:
        return 1, [Quantity(at, word, frozenset({_ROMAN[word]}))]
    if word in MONTHS:
        beside = (folded[at - 1] if at else "") + " " + following
        if word in _MONTHS_THAT_ARE_WORDS and not re.search(r"\d", beside):
            return 1, []
        return 1, [Quantity(at, word, frozenset({MONTHS[word]}), "calendar")]
    if word in _ORDINALS:
        if word == "second" and (at == 0 or folded[at - 1] not in ("the", "its", "their", "his", "her")):
            return 1, []
        return 1, [Quantity(at, word, frozenset({str(_ORDINALS[word])}), "ordinal", spelled=True)]
    if word in _ARTICLES and following in _UNITS and following not in ("an", "l", "m", "g", "v", "w", "min"):
        if at and folded[at - 1] in _OFTEN:
            return 2, []
        return 2, [_measured(at, f"{word} {following}", {Decimal(1)}, following, spelled=True, implied=True)]
    return _spelled(folded, at)


def _digits(folded: tuple[str, ...], at: int) -> tuple[int, list[Quantity]]:
    word = folded[at]
    if _DATE.fullmatch(word):
        parts = re.split(r"[./-]", word)
        return 1, [Quantity(at, word, _date_part(part), "date") for part in parts]
    readings = _readings(word)
    before = folded[at - 1] if at else ""
    if before in _SECTIONS or not readings:  # a version, a time of day
        values = frozenset(map(_said, readings)) or frozenset({word})
        return 1, [Quantity(at, word, values, "section" if before in _SECTIONS else "")]
    following = folded[at + 1] if at + 1 < len(folded) else ""
    if following in _ORDINAL_ENDINGS:
        return 2, [Quantity(at, word, frozenset(map(_said, readings)), "ordinal")]
    length = 1
    if before in ("minus", "−"):
        readings = {-value for value in readings}
    if following in _SCALES and following != "cent":
        readings = {value * 10 ** _SCALES[following] for value in readings}
        length = 2
    elif following in _LETTER_SCALES:
        readings = readings | {value * 10 ** _LETTER_SCALES[following] for value in readings}
    unit = _unit(folded, at + length)
    if before in _CURRENCIES and unit not in _UNITS:
        unit = before
    return length, [_measured(at, word, readings, unit)]


def _unit(folded: tuple[str, ...], at: int) -> str:
    """The word that may be the unit of a number that stands before it."""
    unit = folded[at] if at < len(folded) else ""
    return "%" if unit in ("per", "pour") and folded[at + 1 : at + 2] == ("cent",) else unit


def _measured(
    place: int, text: str, values: set[Decimal], unit: str, *, spelled: bool = False, implied: bool = False
) -> Quantity:
    name, factor = _UNITS.get(unit, ("", Decimal(1)))
    measures = frozenset(_said(value * factor) for value in values) if name else frozenset()
    return Quantity(place, text, frozenset(map(_said, values)), name, measures, spelled, implied)


def _spelled(folded: tuple[str, ...], at: int) -> tuple[int, list[Quantity]]:
    """ "twenty-four", "two hundred and five", "vierundzwanzig", "vingt-quatre"."""
    total, current, length, last = 0, 0, 0, 0
    for offset, word in enumerate(folded[at : at + 8]):
        if word in ("and", "et") and length and last >= 100:
            continue
        value = _SMALL.get(word)
        if value is None and (match := _GERMAN.fullmatch(word)):
            value = _SMALL.get(match[1], 1) + _SMALL.get(match[2], 0)
        if value is not None and (not length or value < last):
            current += value
        elif word in _SCALES and length and word != "cents":
            if word == "cent" and folded[at + offset - 1] in ("pour", "per"):
                break
            if _SCALES[word] == 2:
                current *= 100
            else:
                total, current = total + current * 10 ** _SCALES[word], 0
            value = 10 ** _SCALES[word]
        else:
            break
        last = value
        length = offset + 1
    if not length:
        return 1, []
    unit = _unit(folded, at + length)
    if length == 1 and folded[at] in _VAGUE and unit not in _UNITS:
        return 1, []
    text = " ".join(folded[at : at + length])
    return length, [_measured(at, text, {Decimal(total + current)}, unit, spelled=True)]


def _readings(word: str) -> set[Decimal]:
    """The values that a number's digits can mean: 1,299 is 1299 or 1.299; empty for what is no plain number."""
    sign, digits = (-1, word[1:]) if word[0] in "-−" else (1, word)
    found: set[Decimal] = set()
    if digits.isdecimal():
        found.add(Decimal(digits))
    if _GROUPED.fullmatch(digits):
        found.add(Decimal(re.sub(r"[.,']", "", digits)))
    if re.fullmatch(r"\d+[.,]\d+", digits):
        found.add(Decimal(digits.replace(",", ".")))
    elif re.fullmatch(r"\d{1,3}(?:,\d{3})+\.\d+", digits):
        found.add(Decimal(digits.replace(",", "")))
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", digits):
        found.add(Decimal(digits.replace(".", "").replace(",", ".")))
    return {sign * value for value in found}


def _date_part(part: str) -> frozenset[str]:
    value = str(int(part))
    return frozenset({value, f"20{part}"} if len(part) == 2 and int(part) < 40 else {value})


def _said(value: Decimal) -> str:
    """A value in one spelling: 3.50 is 3.5."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
