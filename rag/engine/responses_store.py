"""What was said in earlier responses, in memory: bounded, and lost when the engine ends."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

MOST_RESPONSES = 1000
MOST_BYTES = 64 << 20


class ResponseStore:
    """Conversations by response id. Beyond either bound the one that was stored first is forgotten.

    Each entry holds its whole conversation, so that forgetting one breaks no other; what conversations share is
    counted once for each.
    """

    def __init__(self, most_responses: int = MOST_RESPONSES, most_bytes: int = MOST_BYTES) -> None:
        self._most_responses = most_responses
        self._most_bytes = most_bytes
        self._stored: OrderedDict[str, tuple[tuple[dict[str, Any], ...], int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._stored)

    def get(self, response_id: str) -> Sequence[dict[str, Any]] | None:
        """Return the conversation up to and with that response."""
        entry = self._stored.get(response_id)
        return None if entry is None else entry[0]

    def put(self, response_id: str, messages: Sequence[dict[str, Any]]) -> None:
        """Store a conversation; one that alone exceeds the bound is not."""
        size = len(json.dumps(messages))
        if size > self._most_bytes:
            return
        self._stored[response_id] = (tuple(messages), size)
        self._bytes += size
        while len(self._stored) > self._most_responses or self._bytes > self._most_bytes:
            _, (_, freed) = self._stored.popitem(last=False)
            self._bytes -= freed
