"""How to search, as one value that the library, the commands and the evaluation share."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

import rag.errors as errors


class Mode(StrEnum):
    """Which searches take part."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    WORDS = "words"


class SearchKeywords(TypedDict, total=False):
    """The fields of SearchOptions as keyword arguments; None stands for the default."""

    limit: int | None
    mode: Mode | str
    floor: float | None
    vector_weight: float | None
    where: str | None
    paths: Sequence[str] | None
    diversity: float | None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search; each default is what measured best over several sets.

    `limit` is how many passages there are at most, `mode` which searches take part. A passage that scores less than
    `floor` times what the best one does is left out. `vector_weight`, from 0 to 1, is the vector's part in the fusion
    of both searches; the words have the rest. `where` is a filter in the language of `rag.where`, `paths` are globs on
    sources as `rag.paths` reads them; only what both select is searched. `diversity`, from 0 to 1, is how much it
    counts against a passage that it resembles those before it.
    """

    limit: int
    mode: Mode = Mode.HYBRID
    floor: float = 0.0
    vector_weight: float = 0.4
    where: str = ""
    paths: Sequence[str] = ()
    diversity: float = 0.0

    def __post_init__(self) -> None:
        """Take a mode by its name. Raises UsageProblem where a value cannot be."""
        if self.limit < 1:
            raise errors.UsageProblem(f"A search for {self.limit} passages finds none; the least is 1.")
        if self.mode not in tuple(Mode):
            raise errors.UsageProblem(f"{self.mode!r} is none of {', '.join(Mode)}.")
        object.__setattr__(self, "mode", Mode(self.mode))
        if not 0 <= self.floor <= 1:
            raise errors.UsageProblem(f"The floor {self.floor} is not between 0 and 1.")
        if not 0 <= self.vector_weight <= 1:
            raise errors.UsageProblem(f"The vector's weight {self.vector_weight} is not between 0 and 1.")
        object.__setattr__(self, "paths", (self.paths,) if isinstance(self.paths, str) else tuple(self.paths))
        if not 0 <= self.diversity <= 1:
            raise errors.UsageProblem(f"The diversity {self.diversity} is not between 0 and 1.")
