"""Texts to vectors on one worker, cut at the context as LM Studio cuts them: silently, but for a line in the log."""

import logging
from typing import Any

import httpx2

from rag.engine.faults import WorkerRefused
from rag.engine.upstream import post

log = logging.getLogger("rag.engine")

# Below this, a text is sent as it is and cut only where the worker refuses the request: tokenising all of them ahead
# would cost every request what few need.
LIKELY_CHARACTERS_PER_TOKEN = 3


async def embed(client: httpx2.AsyncClient, texts: list[str], context_length: int) -> list[list[float]]:
    """Return one L2-normalised vector per text, in order.

    A text that has more tokens than `context_length` is embedded as its longest beginning that fits, with the model's
    own closing token.
    """
    likely = context_length * LIKELY_CHARACTERS_PER_TOKEN
    inputs: list[str | list[int]] = [
        await _cut(client, text, context_length) if len(text) > likely else text for text in texts
    ]
    try:
        return await _vectors(client, inputs)
    except WorkerRefused as exc:
        if not (exc.overflow or "too large to process" in str(exc)):
            raise
    inputs = [
        await _cut(client, item, context_length)
        if isinstance(item, str) and _may_exceed(item, context_length)
        else item
        for item in inputs
    ]
    return await _vectors(client, inputs)


async def _vectors(client: httpx2.AsyncClient, inputs: list[str | list[int]]) -> list[list[float]]:
    reply: dict[str, Any] = await post(client, "/v1/embeddings", {"input": inputs})
    return [item["embedding"] for item in sorted(reply["data"], key=lambda item: int(item["index"]))]


def _may_exceed(text: str, context_length: int) -> bool:
    # A token takes at least a byte of the text; two more tokens open and close it.
    return len(text.encode("utf-8", "replace")) + 2 > context_length


async def _cut(client: httpx2.AsyncClient, text: str, context_length: int) -> str | list[int]:
    tokens = await _tokens(client, text, special=True)
    if len(tokens) <= context_length:
        return text
    log.warning(
        "[WARNING] Number of tokens in input string (%d) exceeds model context length (%d). Truncating to %d tokens.",
        len(tokens),
        context_length,
        context_length,
    )
    plain = await _tokens(client, text, special=False)
    opening = next((i for i in range(3) if tokens[i : i + 1] == plain[:1]), 0)
    closing = tokens[opening + len(plain) :]
    return tokens[: context_length - len(closing)] + closing


async def _tokens(client: httpx2.AsyncClient, text: str, *, special: bool) -> list[int]:
    reply: dict[str, list[int]] = await post(client, "/tokenize", {"content": text, "add_special": special})
    return reply["tokens"]
