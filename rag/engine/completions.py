"""Plain completions in LM Studio's form: a prompt as it is, without a template."""

import time
from collections.abc import AsyncIterator
from typing import Any

from rag.engine.conversation import Task
from rag.engine.events import Answer, End, Event, Text, Usage
from rag.engine.ids import new_id
from rag.engine.sampling import InvalidRequest, sampling
from rag.web.sse import DONE, event


def task(body: dict[str, Any]) -> Task:
    """Return the worker's task. Raises InvalidRequest."""
    prompt = body.get("prompt")
    if prompt is None:
        raise InvalidRequest("'prompt' field is required", "prompt")
    if not isinstance(prompt, str):
        raise InvalidRequest("'prompt' field must be a string", "prompt")
    request = {**sampling(body, "max_tokens"), "prompt": prompt, "cache_prompt": True, "stream": True}
    return Task("/v1/completions", {**request, "stream_options": {"include_usage": True}}, "verbatim")


def completion(answer: Answer, instance_id: str) -> dict[str, Any]:
    """Return a whole answer."""
    return {
        "id": new_id("cmpl-", 21),
        "object": "text_completion",
        "created": int(time.time()),
        "model": instance_id,
        "choices": [_choice(answer.content, answer.end.finish_reason)],
        "usage": _usage(answer.end.usage),
        "stats": {},
    }


async def stream(events: AsyncIterator[Event], instance_id: str, include_usage: bool) -> AsyncIterator[bytes]:
    """Return an answer as chunks."""
    chunk = {
        "id": new_id("cmpl-", 21),
        "object": "text_completion",
        "created": int(time.time()),
        "model": instance_id,
    }
    async for told in events:
        if isinstance(told, Text):
            yield event({**chunk, "choices": [_choice(told.text, None)]})
        elif isinstance(told, End):
            yield event({**chunk, "choices": [_choice("", told.finish_reason)]})
            if include_usage:
                yield event({**chunk, "choices": [], "usage": _usage(told.usage)})
    yield DONE


def _choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _usage(counted: Usage) -> dict[str, int]:
    total = counted.prompt + counted.completion
    return {"prompt_tokens": counted.prompt, "completion_tokens": counted.completion, "total_tokens": total}
