"""What an answer claims: its sentences, the passages that the model's markers name, and whether it refuses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rag.citing.wording import language, words
from rag.markers import Kind, Piece, pieces
from rag.sentences import sentences

# Stand for inline code and for markers while sentences are looked for: no sentence ends in them.
_CODE, _MARK = "\ue000", "\ue001"
_MARKS_BEHIND = re.compile(rf"([.!?。！？]['\"”’»]?)((?:[ \t]?{_MARK})+)")

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

    A marker behind a full stop belongs to the sentence before it, unless the answer begins with a marker.
    """
    found: list[Claim] = []
    for is_block, parts in groupby(pieces(answer), key=lambda piece: piece.kind is Kind.BLOCK):
        if is_block:
            found.append(Claim("".join(part.text for part in parts), (), asserts=False))
        else:
            found += _in_prose(list(parts))
    return found


def _in_prose(parts: Sequence[Piece]) -> list[Claim]:
    """The claims of a text without blocks of code."""
    code = [part.text for part in parts if part.kind is Kind.CODE]
    numbers = [part.numbers for part in parts if part.kind is Kind.MARKER]
    hidden = "".join(_hidden(part) for part in parts)
    if not hidden.lstrip().startswith(_MARK):
        hidden = _MARKS_BEHIND.sub(lambda found: f"{found[2]}{found[1]}", hidden)
    found = []
    for start, end in sentences(hidden):
        sentence = hidden[start:end]
        marked = [number for _ in range(sentence.count(_MARK)) for number in numbers.pop(0)]
        if plain := re.sub(rf"[ \t]?{_MARK}", "", sentence).strip():
            text = re.sub(_CODE, lambda _: code.pop(0), plain)
            found.append(Claim(text, tuple(dict.fromkeys(marked)), _asserts(text)))
    return found


def _hidden(part: Piece) -> str:
    stands_for = {Kind.CODE: _CODE, Kind.MARKER: _MARK}.get(part.kind)
    return stands_for or part.text.replace(_CODE, "").replace(_MARK, "")


def _asserts(sentence: str) -> bool:
    if sentence.startswith("#") or sentence.rstrip("*_ ").endswith(("?", ":", "？", "：")):
        return False
    said = words(sentence, language(sentence))
    return bool(said.weights) or any(word[-1].isdigit() for word in said.folded)


def refuses(answer: str) -> bool:
    """Whether the model says, in its first sentence, that it cannot answer."""
    spans = sentences(answer)
    return not spans or bool(REFUSAL.search(answer[slice(*spans[0])].replace("’", "'")))
