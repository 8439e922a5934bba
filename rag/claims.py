"""What an answer claims: its sentences, the passages that the model's markers name, and whether it refuses."""

import re
from dataclasses import dataclass

from rag.sentences import sentences
from rag.wording import language, words

# [1], [1, 2], [1-3], [[1]], [^1], [Source 2], 【1】, 【1†source】, ［1］
_NUMBERS = r"\^?\d{1,2}(?:\s*(?:[,;，、&–-]|and|und|et)\s*\^?\d{1,2})*"
MARKER = re.compile(
    r"[ \t]?(?:\[{1,2}|【|［)\s*(?:(?:passage|source|document|doc|ref|quelle)s?\s*[:#]?\s*)?"
    rf"({_NUMBERS})(?:†[^\]】］]{{0,40}})?\s*(?:\]{{1,2}}|】|］)",
    re.IGNORECASE,
)
_RUN = re.compile(rf"([.!?。！？]['\"”’»]?)((?:{MARKER.pattern})+)", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,2})\s*[–-]\s*\^?(\d{1,2})")
_FENCED = re.compile(r"^(```|~~~).*?(?:^\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_HIDDEN = "\ue000"  # stands for inline code while markers are looked for: no marker, and no end of a sentence

REFUSAL = re.compile(
    r"\b(i (do not|don't|dont) know|not (mentioned|specified|stated|provided|given|available|found)|"
    r"(does|do) not (say|mention|specify|state|provide|contain|include)|"
    r"doesn't (say|mention|specify|state|provide|contain)|"
    r"no (information|mention)|cannot (be )?(answer|determine|find|found)|can't (answer|determine|find)|"
    r"unable to (answer|determine|find)|das weiß ich nicht|je ne sais pas)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of an answer, without the model's markers, and the passages that those named (from 1).

    `asserts` is False for what claims nothing: code, headings, questions, "The steps are:", "Yes."
    """

    text: str
    marked: tuple[int, ...]
    asserts: bool = True


def claims(answer: str) -> list[Claim]:
    """An answer's sentences in order, each block of code as one.

    A marker behind a full stop belongs to the sentence before it, unless the answer begins with a marker. This looks at
    the whole text: one that shows an answer while it is streamed must hold back what follows an opening bracket, until
    it closes or 60 characters have passed, and an opening ` until its end.
    """
    found: list[Claim] = []
    at = 0
    for block in _FENCED.finditer(answer):
        found += _in_prose(answer[at : block.start()])
        found.append(Claim(block.group(), (), asserts=False))
        at = block.end()
    return found + _in_prose(answer[at:])


def _in_prose(text: str) -> list[Claim]:
    """The claims of a text without blocks of code."""
    code = [match.group() for match in _CODE.finditer(text)]
    hidden = _CODE.sub(_HIDDEN, text.replace(_HIDDEN, ""))
    if not MARKER.match(hidden.lstrip()):
        hidden = _RUN.sub(lambda run: f"{run[2]}{run[1]}", hidden)
    found = []
    for start, end in sentences(hidden):
        sentence = hidden[start:end]
        marked = [number for marker in MARKER.finditer(sentence) for number in _numbers(marker[1])]
        if plain := MARKER.sub("", sentence).strip():
            shown = re.sub(_HIDDEN, lambda _: code.pop(0), plain)
            found.append(Claim(shown, tuple(dict.fromkeys(marked)), _asserts(shown)))
    return found


def _numbers(listed: str) -> list[int]:
    """The numbers of a marker; 2-4 are three."""
    spread = _RANGE.sub(lambda ends: ",".join(map(str, range(int(ends[1]), int(ends[2]) + 1))), listed)
    return [int(number) for number in re.findall(r"\d+", spread)]


def _asserts(sentence: str) -> bool:
    if sentence.startswith("#") or sentence.rstrip("*_ ").endswith(("?", ":", "？", "：")):
        return False
    said = words(sentence, language(sentence))
    return bool(said.weights) or any(word[-1].isdigit() for word in said.folded)


def refuses(answer: str) -> bool:
    """Whether the model says, in its first sentence, that it cannot answer."""
    spans = sentences(answer)
    return not spans or bool(REFUSAL.search(answer[slice(*spans[0])].replace("’", "'")))
