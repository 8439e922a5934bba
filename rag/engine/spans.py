"""Find what stands between two marks in a text that comes in pieces."""

from typing import Literal

Kind = Literal["outside", "inside", "closed"]


class Spans:
    """Splits a text at an opening and a closing mark, without waiting longer than a mark could still be under way.

    What comes out, joined, is what went in without the marks. With `leading`, only a span that opens the text counts,
    and later marks are text like any other.
    """

    def __init__(self, opening: str, closing: str, *, leading: bool = False) -> None:
        self._opening = opening
        self._closing = closing
        self._leading = leading
        self._inside = False
        self._over = False
        self._held = ""

    def feed(self, text: str) -> list[tuple[Kind, str]]:
        """Take the next piece; return what has become certain. A closing mark comes out as ("closed", "")."""
        self._held += text
        out: list[tuple[Kind, str]] = []
        while not self._over:
            mark = self._closing if self._inside else self._opening
            at = self._held.find(mark)
            if self._leading and not self._inside:
                start = self._held.lstrip()
                if not start.startswith(mark):
                    if mark.startswith(start):
                        return out
                    self._over = True
                    break
                at = len(self._held) - len(start)
            if at < 0:
                keep = _overlap(self._held, mark)
                self._release(out, len(self._held) - keep)
                return out
            self._release(out, at)
            self._held = self._held[len(mark) :]
            if self._inside:
                out.append(("closed", ""))
                self._over = self._leading
            self._inside = not self._inside
        self._release(out, len(self._held))
        return out

    def rest(self) -> list[tuple[Kind, str]]:
        """Return what was held back, at the end of the text."""
        out: list[tuple[Kind, str]] = []
        self._release(out, len(self._held))
        return out

    def _release(self, out: list[tuple[Kind, str]], length: int) -> None:
        if length > 0:
            out.append(("inside" if self._inside else "outside", self._held[:length]))
            self._held = self._held[length:]


def _overlap(text: str, mark: str) -> int:
    """Return how many characters at the end of the text could be the beginning of the mark."""
    longest = min(len(text), len(mark) - 1)
    return next((size for size in range(longest, 0, -1) if mark.startswith(text[-size:])), 0)
