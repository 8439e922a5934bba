"""Corpora for measuring ingestion, the same on every machine: made of the words of Python's own help topics."""

import itertools
import random
import re
from collections import Counter
from pathlib import Path
from pydoc_data import topics

_WORDS = [
    word for word, _ in Counter(re.findall(r"[a-z]{2,12}", " ".join(topics.topics.values()).lower())).most_common(3000)
]
_WEIGHTS = list(itertools.accumulate(1 / (rank + 6) for rank in range(len(_WORDS))))


class Author:
    """Writes about a few words that it likes, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.favourites = self.random.sample(_WORDS[200:], 10)

    def sentence(self) -> str:
        """Eight to twenty words."""
        words = self.random.choices(_WORDS, cum_weights=_WEIGHTS, k=self.random.randint(8, 20))
        words = [self.random.choice(self.favourites) if self.random.random() < 0.2 else word for word in words]
        return " ".join(words).capitalize() + "."

    def paragraph(self) -> str:
        """Three to six sentences."""
        return " ".join(self.sentence() for _ in range(self.random.randint(3, 6)))

    def heading(self) -> str:
        """Two or three words."""
        return " ".join(self.random.sample(self.favourites, self.random.randint(2, 3))).title()

    def markdown(self, size: int) -> str:
        """A Markdown file of about `size` characters, with sections, lists and tables."""
        parts = [f"# {self.heading()}", self.paragraph()]
        while sum(len(part) + 2 for part in parts) < size:
            parts += [f"## {self.heading()}", self.paragraph()]
            kind = self.random.randrange(4)
            if kind == 0:
                parts.append("\n".join(f"- {self.sentence()}" for _ in range(3)))
            elif kind == 1:
                rows = (f"| {self.random.choice(self.favourites)} | {self.random.randint(1, 999)} |" for _ in range(4))
                parts.append("\n".join(["| name | value |", "| --- | ---: |", *rows]))
        return "\n\n".join(parts) + "\n"


def many(folder: Path, files: int, size: int, seed: int = 0) -> Path:
    """Write a folder of Markdown files of about `size` characters each, forty to a subfolder."""
    for number in range(files):
        path = folder / f"{number // 40:03d}" / f"note{number:05d}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Author(seed * 1_000_003 + number).markdown(size), encoding="utf-8")
    return folder


def one(folder: Path, size: int) -> Path:
    """Write a folder with one text file of about `size` characters."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(Author(len(parts) // 50 + 77).paragraph() if len(parts) % 50 == 0 else _next(parts))
        length += len(parts[-1]) + 2
    (folder / "big.txt").write_text("\n\n".join(parts), encoding="utf-8")
    return folder


def _next(parts: list[str]) -> str:
    return Author(1_000_000 + len(parts)).paragraph()
