"""Numbers and dates of a sheet in the words of whoever reads the sheet. Pure.

Excel's own text depends on the reader's country, so dates are ISO and thousands have no separator: both as people type
them in a question. What the format says on its own, percent, decimals and currency, is kept.
"""

import datetime
import re
from functools import lru_cache

# Excel shows 15 digits: 0.1 + 0.2 is 0.3 to whoever reads the sheet.
_DIGITS = 15
_MOST_DECIMALS = 15
_QUOTED = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|\[[^\]]*\]|_.|\*.')
_PATTERN = re.compile(r"(?P<before>[^#0?]*)[#0?][#0?,]*(?:\.(?P<decimals>[0#?]*))?(?P<scale>,*)(?P<behind>[^#0?]*)")
_SYMBOLS = re.compile(r"[%$€£¥₹A-Za-zµ°²³/ ()-]*")


def shown(value: object, number_format: str = "") -> str:
    """A cell's value in words: ISO dates, whole numbers without a fraction, truth as the sheet writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number(value, number_format)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "seconds")
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _number(value: float, number_format: str) -> str:
    plain = (
        str(int(value))
        if isinstance(value, int) or (value.is_integer() and abs(value) < 10**_DIGITS)
        else format(value, f".{_DIGITS}g")
    )
    if number_format in {"", "General", "@"} or abs(value) >= 10**_DIGITS:
        return plain
    form = _form(number_format)
    if form is None:
        return plain
    before, decimals, behind = form
    scaled = value * 100 if "%" in before + behind else value
    digits = f"{abs(scaled):.{decimals}f}" if decimals is not None else plain.lstrip("-")
    # Rounding to what is shown must not make a nothing of a small number.
    if value and not float(digits):
        return plain
    return f"{'-' if value < 0 else ''}{before}{digits}{behind}".strip()


@lru_cache(maxsize=512)
def _form(number_format: str) -> tuple[str, int | None, str] | None:
    """What stands before a number, its decimals, what stands behind; None for a format that is none of the usual."""
    first = number_format.split(";")[0]
    literals: list[str] = []

    def keep(found: re.Match[str]) -> str:
        literal = found[1] or found[2] or found[3] or ""
        literals.append(literal)
        return literal if not re.search(r"[#0?.,]", literal) else " "

    pattern = _PATTERN.fullmatch(_QUOTED.sub(keep, first))
    if pattern is None or pattern["scale"]:
        return None
    before, behind = pattern["before"], pattern["behind"]
    if not (_SYMBOLS.fullmatch(before) and _SYMBOLS.fullmatch(behind)) or re.match(r"E[+-]?$", behind):
        return None
    decimals = pattern["decimals"] or ""
    if "#" in decimals or "?" in decimals or len(decimals) > _MOST_DECIMALS:
        return None
    return before.replace("(", "").lstrip("-"), len(decimals), behind.replace(")", "")
