"""An answer as the events of /v1/responses, in OpenAI's order; a whole answer is what the last of them carries."""

from collections.abc import Iterator
from typing import Any

from rag.engine.events import AnswerSoFar, CallArguments, CallBegins, End, Event, Reasoning, Text
from rag.engine.responses_form import (
    Head,
    call_item,
    item_id,
    message_item,
    reasoning_item,
    text_part,
    told_logprob,
)

Told = dict[str, Any]


class ResponseEvents:
    """Turns an answer's events into those of a response. One output item is open at a time.

    `so_far` is the answer, `last` the response as the last event told it.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: _OpenItem | None = None
        self.so_far = AnswerSoFar()
        self.last = head.response("in_progress")

    def opening(self) -> Iterator[Told]:
        """Yield what comes before the answer."""
        yield self._told("response.created", response=self.last)
        yield self._told("response.in_progress", response=self.last)

    def add(self, event: Event) -> Iterator[Told]:
        """Yield what an event of the answer becomes."""
        self.so_far.add(event)
        match event:
            case Reasoning():
                yield from self._piece("reasoning", event.text)
            case Text():
                yield from self._piece("message", event.text, event.logprobs)
            case CallBegins():
                yield from self._close()
                yield from self._begin(_OpenItem("function_call", "fc", event))
            case CallArguments():
                yield from self._piece("function_call", event.text)
            case End():
                yield from self._end(event)

    def failure(self, message: str) -> Iterator[Told]:
        """Yield what tells that the answer breaks off."""
        # The SDK's look for `error`, OpenAI's own form has the message beside the type.
        error = {"message": message, "type": "internal_error", "param": None, "code": "unknown"}
        yield self._told("error", message=message, code="unknown", param=None, error=error)

    def _end(self, end: End) -> Iterator[Told]:
        cut = end.finish_reason == "length"
        yield from self._close("incomplete" if cut else "completed")
        status = "incomplete" if cut else "completed"
        incomplete = "max_output_tokens" if cut else None
        self.last = self._head.response(status, self._output, end.usage, incomplete)
        yield self._told(f"response.{status}", response=self.last)

    def _piece(self, kind: str, text: str, logprobs: tuple[dict[str, Any], ...] = ()) -> Iterator[Told]:
        if self._open is None or self._open.kind != kind:
            yield from self._close()
            yield from self._begin(_OpenItem(kind, "msg" if kind == "message" else "rs"))
        item = self._open
        assert item is not None
        item.text += text
        item.logprobs += logprobs
        more: dict[str, Any] = {"logprobs": [told_logprob(one) for one in logprobs]} if kind == "message" else {}
        yield self._told(f"response.{item.stem}.delta", **self._place(item), delta=text, **more)

    def _begin(self, item: "_OpenItem") -> Iterator[Told]:
        self._open = item
        yield self._told(
            "response.output_item.added", output_index=len(self._output), item=item.shown("in_progress", whole=False)
        )
        if item.kind != "function_call":
            yield self._told("response.content_part.added", **self._place(item), part=item.part(whole=False))

    def _close(self, status: str = "completed") -> Iterator[Told]:
        item, self._open = self._open, None
        if item is None:
            return
        place = self._place(item)
        if item.kind == "function_call":
            assert item.call is not None
            arguments = item.text or "{}"
            yield self._told(f"response.{item.stem}.done", **place, name=item.call.name, arguments=arguments)
        else:
            part = item.part(whole=True)
            more = {"logprobs": part["logprobs"]} if item.kind == "message" else {}
            yield self._told(f"response.{item.stem}.done", **place, text=item.text, **more)
            yield self._told("response.content_part.done", **place, part=part)
        shown = item.shown(status, whole=True)
        yield self._told("response.output_item.done", output_index=len(self._output), item=shown)
        self._output.append(shown)

    def _place(self, item: "_OpenItem") -> dict[str, Any]:
        place: dict[str, Any] = {"item_id": item.id, "output_index": len(self._output)}
        return place if item.kind == "function_call" else {**place, "content_index": 0}

    def _told(self, kind: str, **more: Any) -> Told:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **more}


class _OpenItem:
    """The output item that is being written."""

    def __init__(self, kind: str, prefix: str, call: CallBegins | None = None) -> None:
        self.kind = kind
        self.id = item_id(prefix)
        self.call = call
        self.text = ""
        self.logprobs: tuple[dict[str, Any], ...] = ()

    @property
    def stem(self) -> str:
        """What its deltas are called."""
        stems = {"message": "output_text", "reasoning": "reasoning_text", "function_call": "function_call_arguments"}
        return stems[self.kind]

    def part(self, *, whole: bool) -> dict[str, Any]:
        """Return its one part."""
        text = self.text if whole else ""
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": text}
        return text_part(text, self.logprobs if whole else ())

    def shown(self, status: str, *, whole: bool) -> dict[str, Any]:
        """Return it as an item, without its text while it begins."""
        if self.call is not None:
            arguments = (self.text or "{}") if whole else ""
            return call_item(self.id, status, self.call.id, self.call.name, arguments)
        parts = [self.part(whole=True)] if whole else []
        return (message_item if self.kind == "message" else reasoning_item)(self.id, status, parts)
