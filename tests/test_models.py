"""Families and the choice of a model, without a server."""

import pytest

import rag.errors as errors
from rag.lmstudio.choice import choose
from rag.lmstudio.families import UNKNOWN, estimated_tokens, family_of, looks_like_embedder
from rag.lmstudio.models import Instance, Model
from rag.tokens import count


@pytest.mark.parametrize(
    ("key", "query", "document"),
    [
        ("text-embedding-nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("multilingual-e5-large", "query: ", "passage: "),
        ("text-embedding-e5-small-v2", "query: ", "passage: "),
        ("text-embedding-bge-m3", "", ""),
        ("text-embedding-bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("text-embedding-embeddinggemma-300m", "task: search result | query: ", "title: none | text: "),
        ("text-embedding-snowflake-arctic-embed-l-v2.0", "query: ", ""),
        ("text-embedding-all-minilm-l6-v2", "", ""),
        ("something-new", "", ""),
    ],
)
def test_prefixes_by_family(key: str, query: str, document: str) -> None:
    family = family_of(key)
    assert (family.query_prefix, family.document_prefix) == (query, document)


def test_names_tell_embedders_where_types_are_missing() -> None:
    assert looks_like_embedder("nomic-embed-text")
    assert looks_like_embedder("bge-small-en-v1.5")
    assert not looks_like_embedder("llama-3.1-8b-instruct")


@pytest.mark.parametrize("text", ["plain words here", "." * 400, "| - | - | - |" * 20, "的" * 100])
def test_the_estimate_is_never_below_words_and_signs(text: str) -> None:
    """WordPiece takes each sign as a token of its own, where cl100k_base packs hundreds of dots into a few."""
    signs = sum(not char.isalnum() and not char.isspace() for char in text)
    assert estimated_tokens(text, count(text), UNKNOWN) >= signs


def model(key: str, type_: str = "llm", *instances: Instance) -> Model:
    return Model(key, type_, key, 1, 4096, None, instances)  # type: ignore[arg-type]


CHAT, LOADED, EMBEDDER = (
    model("qwen/a"),
    model("b", "llm", Instance("b:2", 4096)),
    model("text-embedding-x", "embedding"),
)


def test_the_wanted_model_is_found_by_key_in_any_case_or_by_instance() -> None:
    assert choose([CHAT, LOADED], "llm", "QWEN/A") is CHAT
    assert choose([CHAT, LOADED], "llm", "b:2") is LOADED


def test_without_a_wish_a_loaded_model_comes_first() -> None:
    assert choose([EMBEDDER, CHAT, LOADED], "llm", None) is LOADED
    assert choose([EMBEDDER, CHAT], "llm", None) is CHAT


def test_a_chat_model_is_refused_as_embedder_with_the_embedders_there() -> None:
    with pytest.raises(errors.ModelNotFound, match=r"not an embedding model.*text-embedding-x"):
        choose([CHAT, EMBEDDER], "embedding", "qwen/a")


def test_nothing_there_names_the_command_that_gets_one() -> None:
    with pytest.raises(errors.ModelNotFound, match="rag models get text-embedding"):
        choose([CHAT], "embedding", None)
