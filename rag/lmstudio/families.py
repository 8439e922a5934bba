"""What a family of embedding models needs and no server tells: prefixes, and how densely it cuts text into tokens.

Prefixes are part of how a model was trained; leaving them out costs 0.07 to 0.18 nDCG. They stand in each model's
card on Hugging Face.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """One family of embedding models.

    `token_ratio` is how many of the model's tokens may come on one token of cl100k_base in running text.
    `longest_input` bounds the input, in the model's tokens, where the training was shorter than the context.
    """

    name: str
    pattern: str
    query_prefix: str = ""
    document_prefix: str = ""
    token_ratio: float = 1.3
    longest_input: int | None = None


_RETRIEVAL = "Represent this sentence for searching relevant passages: "

# The first pattern that is found in the model's key wins, so the more special ones come first.
FAMILIES = (
    Family("nomic", r"nomic-embed", "search_query: ", "search_document: "),
    Family("e5-instruct", r"e5.*instruct", "Instruct: Given a question, retrieve passages that answer it\nQuery: "),
    Family("e5", r"\be5-|multilingual-e5", "query: ", "passage: ", longest_input=512),
    Family("bge-m3", r"bge-m3"),
    Family("bge", r"bge-.*-(en|zh)", _RETRIEVAL, longest_input=512),
    Family("qwen3", r"qwen3-embedding", "Instruct: Given a question, retrieve passages that answer it\nQuery: "),
    Family("embeddinggemma", r"embedding-?gemma", "task: search result | query: ", "title: none | text: "),
    Family("mxbai", r"mxbai-embed", _RETRIEVAL, longest_input=512),
    Family("arctic-v2", r"arctic-embed.*v2", "query: "),
    Family("arctic", r"arctic-embed", _RETRIEVAL, longest_input=512),
    Family("minilm", r"minilm", longest_input=512),
)
UNKNOWN = Family("unknown", "", token_ratio=1.5)


def family_of(model_key: str) -> Family:
    """The family of a model by its key on the server; UNKNOWN, which has no prefixes, where no name is known."""
    key = model_key.lower()
    return next((family for family in FAMILIES if re.search(family.pattern, key)), UNKNOWN)


def looks_like_embedder(model_key: str) -> bool:
    """Whether a name on a server without types is that of an embedding model."""
    return "embed" in model_key.lower() or family_of(model_key) is not UNKNOWN


_WORDS_AND_SIGNS = re.compile(r"\w+|[^\w\s]")


def estimated_tokens(text: str, cl100k_tokens: int, family: Family) -> int:
    """An upper estimate of the model's own token count.

    cl100k_base takes a run of dots or dashes as one token where WordPiece takes each sign as one, so words and signs
    are counted as well and the larger of both estimates holds.
    """
    words_and_signs = len(_WORDS_AND_SIGNS.findall(text))
    return 2 + max(round(cl100k_tokens * family.token_ratio), round(words_and_signs * 1.15))
