"""Subtitles (WebVTT and SubRip): what is said, each passage below the time at which it begins."""

import html
import re

from ingest.formats.blocks import Blocks, one_line
from ingest.formats.text import decode
from rag.errors import UnreadableDocument
from rag.types import Document

_TIMES = re.compile(
    r"[ \t]*(?P<start>(?:\d+:)?\d{1,2}:\d\d[.,]\d{1,3})[ \t]*-->[ \t]*(?:\d+:)?\d{1,2}:\d\d[.,]\d{1,3}.*"
)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"</?[A-Za-z\d][^<>]{0,200}>|\{\\[^{}]{0,200}\}")
# A cue is half a sentence: alone it would be neither found nor understood.
_PASSAGE_CHARS = 400


def parse_subtitles(data: bytes, source: str) -> Document:
    """A subtitle file: cues joined to passages that end with a sentence, their start (h:mm:ss) as heading.

    Lines that a cue repeats from the one before it are left out, a speaker is named where he changes. Raises
    UnreadableDocument for a file without times, EmptyDocument.
    """
    blocks = Blocks()
    words: list[str] = []
    lines_before: list[str] = []
    speaker = begin = ""
    has_times = False
    for block in re.split(r"\n[ \t]*\n+", decode(data, source)):
        lines = block.strip("\n").split("\n")
        times = next((at for at, line in enumerate(lines[:3]) if _TIMES.fullmatch(line)), None)
        if times is None:
            continue
        has_times = True
        if not words:
            begin = _shown(_TIMES.fullmatch(lines[times])["start"])  # type: ignore[index]
        spoken = []
        for line in lines[times + 1 :]:
            voice = _VOICE.search(line)
            said = one_line(html.unescape(_TAG.sub("", line)))
            if said and said not in lines_before:
                if voice and one_line(voice[1]) != speaker:
                    speaker = one_line(voice[1])
                    words += [f"{speaker}:"]
                words.append(said)
            spoken.append(said)
        lines_before = spoken
        length = sum(map(len, words))
        if length > 2 * _PASSAGE_CHARS or (length > _PASSAGE_CHARS and words[-1].endswith((".", "!", "?", "…", "。"))):
            blocks.stand_below(begin)
            blocks.add(" ".join(words))
            words = []
    blocks.stand_below(begin)
    blocks.add(" ".join(words))
    if not has_times and data.strip():
        raise UnreadableDocument(f"{source} is not a subtitle file: it has no times")
    return blocks.document(source, "", "subtitles")


def _shown(time: str) -> str:
    """A time as hours, minutes and seconds."""
    parts = re.split("[.,]", time)[0].split(":")
    hours, minutes, seconds = [0, *map(int, parts)][-3:]
    return f"{hours}:{minutes:02}:{seconds:02}"
