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


class Rerank(StrEnum):
    """Who judges the best passages once more."""

    OFF = "off"
    LLM = "llm"
    CROSS = "cross"


class Expand(StrEnum):
    """Which other questions are searched for besides."""

    OFF = "off"
    VARIANTS = "variants"
    PARTS = "parts"


class SearchKeywords(TypedDict, total=False):
    """The fields of SearchOptions as keyword arguments; None stands for the default."""

    limit: int | None
    mode: Mode | str
    floor: float | None
    vector_weight: float | None
    where: str | None
    paths: Sequence[str] | None
    diversity: float | None
    rerank: Rerank | str | None
    rerank_weight: float | None
    expand: Expand | str | None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search; each default is what measured best over several sets.

    `limit` is how many passages there are at most, `mode` which searches take part. A passage that scores less than
    `floor` times what the best one does is left out. `vector_weight`, from 0 to 1, is the vector's part in the fusion
    of both searches; the words have the rest. `where` is a filter in the language of `rag.search.where`, `paths` are
    globs on sources as `rag.search.paths` reads them; only what both select is searched. `diversity`, from 0 to 1, is
    how much it counts against a passage that it resembles those before it.

    `rerank` has the best candidates judged once more, by the chat model or by the cross-encoder of the settings;
    `rerank_weight`, from 0 to 1, is the judge's part in their scores. `expand` has the chat model write other questions
    to search for besides.
    """

    limit: int
    mode: Mode = Mode.HYBRID
    floor: float = 0.0
    vector_weight: float = 0.4
    where: str = ""
    paths: Sequence[str] = ()
    diversity: float = 0.0
    rerank: Rerank = Rerank.OFF
    rerank_weight: float = 0.4
    expand: Expand = Expand.OFF

    def __post_init__(self) -> None:
        """Take choices by their names. Raises UsageProblem where a value cannot be."""
        if self.limit < 1:
            raise errors.UsageProblem(f"A search for {self.limit} passages finds none; the least is 1.")
        for name, kind in (("mode", Mode), ("rerank", Rerank), ("expand", Expand)):
            given = getattr(self, name)
            if given not in tuple(kind):
                raise errors.UsageProblem(f"{given!r} is none of {', '.join(kind)}.")
            object.__setattr__(self, name, kind(given))
        if not 0 <= self.floor <= 1:
            raise errors.UsageProblem(f"The floor {self.floor} is not between 0 and 1.")
        if not 0 <= self.vector_weight <= 1:
            raise errors.UsageProblem(f"The vector's weight {self.vector_weight} is not between 0 and 1.")
        if not 0 <= self.rerank_weight <= 1:
            raise errors.UsageProblem(f"The reranker's weight {self.rerank_weight} is not between 0 and 1.")
        object.__setattr__(self, "paths", (self.paths,) if isinstance(self.paths, str) else tuple(self.paths))
        if not 0 <= self.diversity <= 1:
            raise errors.UsageProblem(f"The diversity {self.diversity} is not between 0 and 1.")
