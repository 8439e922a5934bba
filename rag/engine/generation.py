"""Have a worker answer, and read its stream as events."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from rag.engine.conversation import Task
from rag.engine.events import (
    Answer,
    AnswerSoFar,
    CallArguments,
    CallBegins,
    End,
    Event,
    FinishReason,
    PromptRead,
    Reasoning,
    Text,
    Usage,
)
from rag.engine.faults import WorkerRefused
from rag.engine.ids import tool_call_id
from rag.engine.instance import Instance
from rag.engine.instances import Instances
from rag.engine.reading import reader
from rag.engine.upstream import JSON, lines, refusal
from rag.web.sse import json_bytes

INCOMPLETE = "The worker's answer ended before its end."


async def generate(instances: Instances, instance: Instance, task: Task) -> AsyncGenerator[Event]:
    """Wait for a turn and yield the answer's events, `End` last; closing the generator stops the worker.

    Raises a Fault, also in the middle of the answer.
    """
    async with (
        instances.use(instance) as client,
        client.stream("POST", task.path, content=json_bytes(task.body), headers=JSON) as response,
    ):
        if response.is_error:
            await response.aread()
            raise refusal(response)
        async for event in events(lines(response), task):
            yield event


async def whole(instances: Instances, instance: Instance, task: Task) -> Answer:
    """Return the whole answer."""
    so_far = AnswerSoFar()
    async with aclosing(generate(instances, instance, task)) as answering:
        async for event in answering:
            so_far.add(event)
            if isinstance(event, End):
                return so_far.answer(event)
    raise WorkerRefused(500, INCOMPLETE, "server_error")


async def events(told: AsyncIterator[str], task: Task) -> AsyncIterator[Event]:
    """Read the worker's event stream. Raises WorkerRefused where it tells an error or breaks off."""
    stream = _Stream(task)
    async for line in told:
        if line == "data: [DONE]":
            break
        if not line.startswith(("data: ", "error: ")):
            continue
        chunk = json.loads(line.split(": ", 1)[1])
        if error := chunk.get("error", chunk if line.startswith("error: ") else None):
            raise WorkerRefused(error.get("code", 500), error.get("message", str(error)), error.get("type", "unknown"))
        for event in stream.read(chunk):
            yield event
    yield stream.end()


class _Stream:
    """What has to be remembered from chunk to chunk."""

    def __init__(self, task: Task) -> None:
        self._reader = reader(task.reading)
        self._count_prompt = task.count_prompt
        self._finish: FinishReason | None = None
        self._stop_sequence: str | None = None
        self._usage = Usage()
        self._reasoning = 0
        self._called = False
        self._logprobs: list[dict[str, Any]] = []

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """Return the events of one chunk."""
        events: list[Event] = []
        if self._count_prompt and (timings := chunk.get("timings")):
            self._count_prompt = False
            events.append(PromptRead(timings["cache_n"] + timings["prompt_n"]))
        if counted := chunk.get("usage"):
            cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            self._usage = Usage(counted["prompt_tokens"], counted["completion_tokens"], self._reasoning, cached)
        for choice in chunk["choices"][:1]:
            events += self._spoken(choice)
            if choice.get("finish_reason"):
                self._finish = choice["finish_reason"]
                self._stop_sequence = chunk.get("__verbose", {}).get("stopping_word") or None
                events += self._with_logprobs(self._reader.rest())
        self._called = self._called or any(isinstance(event, CallBegins) for event in events)
        return events

    def _spoken(self, choice: dict[str, Any]) -> list[Event]:
        delta = choice.get("delta", choice)  # plain completions have no delta
        events: list[Event] = []
        if thought := delta.get("reasoning_content"):
            events.append(Reasoning(thought))
        self._logprobs += (choice.get("logprobs") or {}).get("content", ())
        if text := delta.get("content") or delta.get("text"):
            events += self._with_logprobs(self._reader.feed(text))
        for call in delta.get("tool_calls") or ():
            function = call.get("function", {})
            if name := function.get("name"):
                events.append(CallBegins(call["index"], tool_call_id(), name))
            if arguments := function.get("arguments"):
                events.append(CallArguments(call["index"], arguments))
        # llama.cpp sends a chunk per token, and counts no reasoning by itself.
        self._reasoning += any(isinstance(event, Reasoning) for event in events)
        return events

    def _with_logprobs(self, events: list[Event]) -> list[Event]:
        told: list[Event] = []
        for event in events:
            if isinstance(event, Text) and self._logprobs:
                told.append(Text(event.text, tuple(self._logprobs)))
                self._logprobs = []
            else:
                told.append(event)
        return told

    def end(self) -> End:
        """Return the last event. Raises WorkerRefused where the stream broke off before it."""
        if self._finish is None:
            raise WorkerRefused(500, INCOMPLETE, "server_error")
        finish: FinishReason = "tool_calls" if self._called and self._finish == "stop" else self._finish
        return End(finish, replace(self._usage, reasoning=self._reasoning), self._stop_sequence)
