"""One answer of /api/v1/chat: loads the model, talks to it, calls tools, and tells every step as an event."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rag.engine.conversation import Task, ToolChoice, assistant_call, chat_task
from rag.engine.events import Answer, AnswerSoFar, Call, End, Event, Reasoning, Text
from rag.engine.faults import Fault, LoadFailed, WorkerRefused
from rag.engine.generation import INCOMPLETE, events
from rag.engine.ids import response_id
from rag.engine.instance import Instance, LoadOptions
from rag.engine.instances import Instances
from rag.engine.integrations import InvalidArguments, ServerTool, toolbox
from rag.engine.native_chat_request import ChatRequest, Message, check_reasoning, conversation, unknown_response
from rag.engine.replies import CONTEXT_OVERFLOW, Refusal, native_fault, native_refusal
from rag.engine.responses_store import ResponseStore
from rag.engine.upstream import lines, refusal

MOST_TOOL_ROUNDS = 25

Told = dict[str, Any]
"""An event as the client gets it."""
Tell = Callable[[Told], Awaitable[None]]


@dataclass(slots=True)
class Statistics:
    """What is counted over all rounds of one answer."""

    input_tokens: int = 0
    """Of the last round, whose prompt holds all earlier ones."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    generation_seconds: float = 0.0
    first_token_seconds: float | None = None
    load_seconds: float | None = None

    def shown(self) -> dict[str, Any]:
        """Return LM Studio's `stats`."""
        speed = self.output_tokens / self.generation_seconds if self.generation_seconds > 0 else 0.0
        shown: dict[str, Any] = {
            "input_tokens": self.input_tokens,
            "total_output_tokens": self.output_tokens,
            "reasoning_output_tokens": self.reasoning_tokens,
            "tokens_per_second": speed,
            "time_to_first_token_seconds": round(self.first_token_seconds or 0.0, 3),
        }
        if self.load_seconds is not None:
            shown["model_load_time_seconds"] = round(self.load_seconds, 3)
        return shown


class NativeChat:
    """The answer to one request. `run` is called once; `result` tells at any time how far it has come."""

    def __init__(self, request: ChatRequest, instances: Instances, store: ResponseStore) -> None:
        """Check the request against what there is. Raises Refusal before anything is loaded or sent."""
        self._request = request
        self._instances = instances
        self._store = store
        try:
            self._instance_id, model, self._must_load = instances.awaited(request.model)
            if model.kind != "llm":
                raise LoadFailed(request.model, "Model is not llm.")
        except Fault as fault:
            raise native_fault(fault) from fault
        check_reasoning(request, model)
        self._earlier: list[Message] = []
        if request.previous_response_id is not None:
            earlier = store.get(request.previous_response_id)
            if earlier is None:
                raise unknown_response(request.previous_response_id)
            self._earlier = list(earlier)
        if request.system_prompt is not None:
            # One system message, the newest: most templates refuse a second one.
            talk = [message for message in self._earlier if message["role"] != "system"]
            self._earlier = [{"role": "system", "content": request.system_prompt}, *talk]
        self._output: list[dict[str, Any]] = []
        self._statistics = Statistics()
        self._response_id: str | None = None

    def result(self) -> dict[str, Any]:
        """Return the body of the answer."""
        body: dict[str, Any] = {"model_instance_id": self._instance_id, "output": self._output}
        body["stats"] = self._statistics.shown()
        if self._response_id is not None:
            body["response_id"] = self._response_id
        return body

    async def run(self, tell: Tell) -> None:
        """Answer, and tell every event between `chat.start` and `chat.end`. Raises Refusal."""
        messages: list[Message] = [*self._earlier, {"role": "user", "content": self._request.content}]
        failure: Fault | Refusal | None = None
        try:
            instance = await self._load(tell)
            async with toolbox(self._request.integrations) as tools:
                try:
                    await self._rounds(instance, messages, tools, tell)
                except (Fault, Refusal) as exc:
                    failure = exc  # kept out of the toolbox, which would wrap it
            if failure is not None:
                raise failure
        except Fault as fault:
            raise _native(fault) from fault
        if self._request.store:
            self._response_id = response_id()
            self._store.put(self._response_id, messages)

    async def _load(self, tell: Tell) -> Instance:
        named = {"model_instance_id": self._instance_id}
        if self._must_load:
            await tell({"type": "model_load.start", **named})
            # llama.cpp's wheel does not tell how far a load is: nothing is made up in between.
            await tell({"type": "model_load.progress", **named, "progress": 0.0})
        options = LoadOptions(context_length=self._request.context_length)
        instance = await self._instances.for_request(self._request.model, "llm", options=options, exact=True)
        self._instance_id = named["model_instance_id"] = instance.id
        if self._must_load:
            self._statistics.load_seconds = instance.load_seconds
            await tell({"type": "model_load.progress", **named, "progress": 1.0})
            await tell({"type": "model_load.end", **named, "load_time_seconds": round(instance.load_seconds, 3)})
        return instance

    async def _rounds(
        self, instance: Instance, messages: list[Message], tools: dict[str, ServerTool], tell: Tell
    ) -> None:
        shown = tuple(tool.shown for tool in tools.values())
        for number in range(MOST_TOOL_ROUNDS + 1):
            # Who has called so often has to answer with what it knows.
            choice: ToolChoice = "none" if number == MOST_TOOL_ROUNDS else "auto"
            task = chat_task(conversation(self._request, messages, shown, choice), instance.model.tool_use)
            answer = await self._round(instance, task, tell)
            messages.append(_as_message(answer))
            if not answer.calls:
                return
            for call in answer.calls:
                output = await self._call(call, tools, tell)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": output})

    async def _round(self, instance: Instance, task: Task, tell: Tell) -> Answer:
        voice = _Voice(self._output, tell)
        so_far = AnswerSoFar()
        watch = _Watch(tell, self._statistics)
        await tell({"type": "prompt_processing.start"})
        async with (
            self._instances.use(instance) as client,
            client.stream("POST", task.path, json={**task.body, "return_progress": True}) as response,
        ):
            if response.is_error:
                await response.aread()
                raise refusal(response)
            async for event in events(watch.lines(lines(response)), task):
                await watch.first_token()
                so_far.add(event)
                await voice.say(event)
                if isinstance(event, End):
                    watch.count(event)
                    return so_far.answer(event)
        raise WorkerRefused(500, INCOMPLETE, "server_error")

    async def _call(self, call: Call, tools: dict[str, ServerTool], tell: Tell) -> str:
        """Run one tool call and return what the model is told of it."""
        tool = tools.get(call.name)
        metadata: dict[str, Any] = {"type": "invalid_name", "tool_name": call.name}
        if tool is None:
            return await self._fail(f"Cannot find tool with name {call.name}.", metadata, tell)
        named = {"tool": call.name, "provider_info": tool.provider_info}
        await tell({"type": "tool_call.start", **named})
        metadata |= {"type": "invalid_arguments", "arguments": {}, "provider_info": tool.provider_info}
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError as exc:
            return await self._fail(f"The arguments are not valid JSON: {exc}", metadata, tell)
        if not isinstance(arguments, dict):
            return await self._fail("The arguments are not an object.", metadata, tell)
        done = {"tool": call.name, "arguments": arguments}
        await tell({"type": "tool_call.arguments", **done, "provider_info": tool.provider_info})
        try:
            output = await tool.call(arguments)
        except InvalidArguments as exc:
            return await self._fail(str(exc), metadata | {"arguments": arguments}, tell)
        item = {**done, "output": output, "provider_info": tool.provider_info}
        self._output.append({"type": "tool_call", **item})
        await tell({"type": "tool_call.success", **item})
        return output

    async def _fail(self, reason: str, metadata: dict[str, Any], tell: Tell) -> str:
        self._output.append({"type": "invalid_tool_call", "reason": reason, "metadata": metadata})
        await tell({"type": "tool_call.failure", "reason": reason, "metadata": metadata})
        return f"Error: {reason}"


@dataclass(slots=True)
class _Voice:
    """Tells what the model says, and writes it down: reasoning and messages, one at a time."""

    output: list[dict[str, Any]]
    tell: Tell
    speaking: str | None = None

    async def say(self, event: Event) -> None:
        """Tell one event of the answer; whatever is not speech ends what is being said."""
        if isinstance(event, Text | Reasoning):
            what = "message" if isinstance(event, Text) else "reasoning"
            if self.speaking != what:
                await self._stop()
                self.speaking = what
                self.output.append({"type": what, "content": ""})
                await self.tell({"type": f"{what}.start"})
            self.output[-1]["content"] += event.text
            await self.tell({"type": f"{what}.delta", "content": event.text})
        else:
            await self._stop()

    async def _stop(self) -> None:
        if self.speaking is not None:
            await self.tell({"type": f"{self.speaking}.end"})
            self.speaking = None


@dataclass(slots=True)
class _Watch:
    """Looks on at one round: how far the prompt is read, when the first token comes, how long the rest takes."""

    tell: Tell
    statistics: Statistics
    started: float = field(default_factory=time.monotonic)
    reading: bool = True
    predicted_seconds: float = 0.0

    async def lines(self, lines: AsyncIterator[str]) -> AsyncIterator[str]:
        """Pass the worker's lines on, and take from them what no event of an answer has."""
        async for line in lines:
            if '"prompt_progress"' in line and self.reading:
                progress = json.loads(line.removeprefix("data: "))["prompt_progress"]
                share = progress["processed"] / max(1, progress["total"])
                await self.tell({"type": "prompt_processing.progress", "progress": share})
            elif '"timings"' in line:
                timings = json.loads(line.removeprefix("data: ")).get("timings") or {}
                self.predicted_seconds = timings.get("predicted_ms", 0.0) / 1000
            yield line

    async def first_token(self) -> None:
        """Note that the model has begun to speak, or has ended without a word."""
        if self.reading:
            self.reading = False
            if self.statistics.first_token_seconds is None:
                self.statistics.first_token_seconds = time.monotonic() - self.started
            await self.tell({"type": "prompt_processing.end"})

    def count(self, end: End) -> None:
        """Add the round's tokens."""
        self.statistics.input_tokens = end.usage.prompt
        self.statistics.output_tokens += end.usage.completion
        self.statistics.reasoning_tokens += end.usage.reasoning
        # llama.cpp measures next to no time for a single token: it came with the prompt.
        measured = self.predicted_seconds if end.usage.completion > 1 else 0.0
        self.statistics.generation_seconds += measured or time.monotonic() - self.started


def _as_message(answer: Answer) -> Message:
    """Return an answer for the conversation. Reasoning is not repeated to the model."""
    message: Message = {"role": "assistant", "content": answer.content}
    if answer.calls:
        message["tool_calls"] = [assistant_call(call.id, call.name, _object(call.arguments)) for call in answer.calls]
    return message


def _object(arguments: str) -> str:
    """Return a call's arguments where they are a JSON object; templates read them, and fail on anything else."""
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except ValueError:
        return "{}"


def _native(fault: Fault) -> Refusal:
    if isinstance(fault, WorkerRefused) and fault.overflow:
        return native_refusal(500, "internal_error", CONTEXT_OVERFLOW, "unknown")
    if isinstance(fault, WorkerRefused) and fault.status < 500:
        return native_refusal(400, "invalid_request", str(fault))
    return native_fault(fault)
