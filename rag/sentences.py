"""Where sentences begin and end: pure, by punctuation and line shape, for any language that marks sentence ends."""

import re

# A sentence may end here; what stands before and after decides. Chinese and Japanese stops need no blank behind them.
# A match starts only where a run of stops starts: tried at each of a million dots, the search would be quadratic.
_STOP = re.compile(r"""(?<![.!?…؟۔।])[.!?…؟۔।]++["'”’»)\]]*+(?=\s)|[。！？｡]++["'”’»)\]」』）】]*+""")
_CJK_STOP = frozenset("。！？｡")

# Never the end of a sentence: what follows belongs to it.
_TITLES = frozenset(
    "mr mrs ms dr prof hon rev gen col lt sgt capt st mt messrs vs cf viz resp approx ca al bzw z.b d.h u.a vgl "
    "bspw ggf sog evtl inkl zzgl hr fr dipl ing jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
# Not the end when a number follows: "No. 5" against "I said no."
_BEFORE_NUMBER = frozenset(
    "no nos nr fig figs eq eqs sec secs ch chap vol p pp par art abs kap bd ref refs tab".split()
)
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_NUMBERING = re.compile(r"\s*(?:\(?\d{1,3}|[A-Za-z])\Z")

_ITEM = re.compile(r"\s*(?:[-*+•‣▪◦–—·]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_HEADING = re.compile(r"#{1,6}\s+\S")
_FIELD = re.compile(r"[\w.\-]{1,40}:\s+\S")


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the text's sentences, in order.

    Spans do not overlap, have no white space at their ends and together hold everything but white space. An empty
    line ends a sentence; a single line break does only around table rows (cells parted by " | "), headings (`# `) and
    `key: value` lines, and before a list item.
    """
    spans = []
    for start, end in _blocks(text):
        spans += _inside(text, start, end)
    return spans


def _blocks(text: str) -> list[tuple[int, int]]:
    """Spans of lines that may hold a sentence together, in order."""
    blocks: list[tuple[int, int]] = []
    at = 0
    previous = ""
    for line in text.split("\n"):
        end = at + len(line)
        if line.strip():
            if blocks and previous.strip() and not _parts(previous, line):
                blocks[-1] = (blocks[-1][0], end)
            else:
                blocks.append((at, end))
        previous = line
        at = end + 1
    return blocks


def _parts(line: str, following: str) -> bool:
    """Whether the break between two lines ends a sentence."""
    if _is_row(line) or _is_row(following) or _ITEM.match(following):
        return True
    if _HEADING.match(line) or _HEADING.match(following):
        return True
    return bool(_FIELD.match(line) and _FIELD.match(following))


def _is_row(line: str) -> bool:
    return " | " in line or line.lstrip().startswith("|")


def _inside(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The sentences of one block."""
    spans: list[tuple[int, int]] = []
    for stop in _STOP.finditer(text, start, end):
        if _ends(text, start, stop.start(), stop.end(), end):
            _append(spans, text, start, stop.end())
            start = stop.end()
    _append(spans, text, start, end)
    return spans


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    part = text[start:end]
    if stripped := part.strip():
        start += len(part) - len(part.lstrip())
        spans.append((start, start + len(stripped)))


def _ends(text: str, start: int, mark: int, after: int, limit: int) -> bool:
    """Whether the stop at text[mark:after] ends the sentence that began at `start`."""
    if text[mark] in _CJK_STOP:
        return True
    # Sixty characters hold any blank between two sentences and any abbreviation: the cost of a stop stays constant.
    following = text[after : min(after + 60, limit)].lstrip()[:1]
    if following.islower():
        return False
    if text[mark:after] != ".":
        return True
    before = text[max(start, mark - 60) : mark]
    if len(before) == mark - start and _NUMBERING.match(before):
        return False
    found = _LAST_WORD.search(before)
    word = found.group().lower() if found else ""
    if word in _TITLES or (word in _BEFORE_NUMBER and following.isdigit()):
        return False
    # "J. Smith", "U.S. law", "e.g. Berlin"; but "vitamin C. The" is lost to it, the smaller harm.
    return not _INITIALS.fullmatch(word)
