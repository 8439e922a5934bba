"""What a model thinks aloud in its text, `<think>…</think>`, told from what it answers, as it comes. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TAGS = ("<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]")
_TAG = re.compile("|".join(map(re.escape, _TAGS)))


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of what a model wrote: answer or thought.

    `again` says that all answer before was thought in truth, and is repeated in `thought`.
    """

    text: str = ""
    thought: str = ""
    again: bool = False


class Thoughts:
    """Tells thoughts from answer while both come, the same however the text is cut.

    A thought begins at a tag in front of a line and ends at the closing one, or with the text. Where the first tag
    closes, as with models whose template opens it, all before it was thought.
    """

    def __init__(self) -> None:
        self._held = ""
        self._answer = ""
        self._thinking = False
        self._thought_before = False

    def read(self, text: str) -> list[Heard]:
        """What is known now; the beginning of a tag is held back."""
        self._held += text
        return [heard for heard in self._known() if heard != Heard()]

    def end(self) -> list[Heard]:
        """What was held back."""
        rest, self._held = self._held, ""
        return [self._plain(rest)] if rest else []

    def _known(self) -> Iterator[Heard]:
        while tag := _TAG.search(self._held):
            before, self._held = self._held[: tag.start()], self._held[tag.end() :]
            yield self._plain(before)
            yield self._at(tag[0])
        keep = max((len(tag) for tag in _starts(self._held)), default=0)
        known, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        yield self._plain(known)

    def _plain(self, text: str) -> Heard:
        if self._thinking:
            return Heard(thought=text)
        self._answer += text
        return Heard(text)

    def _at(self, tag: str) -> Heard:
        opens = not tag.startswith(("</", "[/"))
        if opens and not self._thinking and not self._answer.rpartition("\n")[2].strip():
            self._thinking = self._thought_before = True
            return Heard()
        if not opens and self._thinking:
            self._thinking = False
            return Heard()
        if not opens and not self._thought_before:
            self._thought_before = True
            thought, self._answer = self._answer, ""
            return Heard(thought=thought, again=True)
        return self._plain(tag)


def _starts(text: str) -> Iterator[str]:
    """The beginnings of tags at the end of a text."""
    for tag in _TAGS:
        for length in range(1, len(tag)):
            if text.endswith(tag[:length]):
                yield tag[:length]
