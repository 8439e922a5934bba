"""An embedding server whose cost is modelled, so that a client's own cost can be told from the server's.

A request costs `--base` seconds and `--token` seconds for each token (four characters), and is served by whichever of
`--slots` slots is free first, in order of arrival. Times are kept in exact virtual time: a request starts when its slot
was due to end, not when a late timer ended it. Vectors are bags of words, so that searches find what they should.

`GET /stats` tells what was asked and `limit_s`, the least time in which the slots can do it; `POST /reset` starts anew;
`POST /cost?base=&token=&slots=` changes the model; `POST /die?after=N` ends the process before the Nth request from now
is answered; `POST /fail?after=N&times=M` answers M requests with 503 from the Nth on.
"""

import argparse
import asyncio
import heapq
import os
import re
import sys
import time
import zlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import orjson

DIMENSION = 384
MODEL = "synthetic-embedding"
_ROWS = 1 << 13
_WORD = re.compile(r"\w+")
_BASIS = np.random.default_rng(20).standard_normal((_ROWS, DIMENSION)).astype(np.float32)


@dataclass
class Server:
    """The cost model, its slots' ends in virtual time, and what was asked since the last reset."""

    base: float
    token: float
    slots: int
    die_after: int = 0
    fail_after: int = 0
    fail_times: int = 0
    counts: dict[str, float] = field(default_factory=dict)
    ends: list[float] = field(default_factory=list)
    in_flight: int = 0
    word_rows: dict[str, int] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget all requests."""
        self.ends = [0.0] * self.slots
        self.counts = dict.fromkeys(
            ("requests", "texts", "tokens", "busy_s", "first", "last", "most_in_flight", "largest", "answered"), 0
        )

    def stats(self) -> dict[str, float]:
        """Counts, and the least time that the slots need for them."""
        counts = self.counts
        return {
            **counts,
            "limit_s": counts["busy_s"] / self.slots,
            "span_s": counts["last"] - counts["first"],
            "cpu_s": time.process_time(),
        }

    def vector(self, text: str) -> bytes:
        """The unit vector of a text: the sum of its words' random vectors, as JSON."""
        rows = self.word_rows
        found = np.fromiter(
            (
                rows[word] if word in rows else rows.setdefault(word, zlib.crc32(word.encode()) % _ROWS)
                for word in _WORD.findall(text.lower()) or ["?"]
            ),
            np.int64,
        )
        which, times = np.unique(found, return_counts=True)
        total = np.sqrt(times).astype(np.float32) @ _BASIS[which]
        return orjson.dumps(total / np.linalg.norm(total), option=orjson.OPT_SERIALIZE_NUMPY)

    async def embed(self, body: bytes) -> tuple[int, bytes]:
        """Answer one request when its slot's virtual time has come."""
        now = time.perf_counter()
        asked = orjson.loads(body)
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        counts = self.counts
        counts["requests"] += 1
        if self.fail_times and counts["requests"] >= self.fail_after:
            self.fail_times -= 1
            return 503, b'{"error":{"message":"the server is overloaded","type":"server_error"}}'
        tokens = sum(-(-len(text) // 4) for text in texts)
        cost = self.base + self.token * tokens
        end = max(now, self.ends[0]) + cost
        heapq.heapreplace(self.ends, end)
        counts["first"] = counts["first"] or now
        counts["texts"] += len(texts)
        counts["tokens"] += tokens
        counts["busy_s"] += cost
        counts["largest"] = max(counts["largest"], len(texts))
        self.in_flight += 1
        counts["most_in_flight"] = max(counts["most_in_flight"], self.in_flight)
        rows = [
            b'{"object":"embedding","index":%d,"embedding":%b}' % (index, self.vector(text))
            for index, text in enumerate(texts)
        ]
        answer = b'{"object":"list","model":%b,"usage":{"prompt_tokens":0,"total_tokens":0},"data":[%b]}' % (
            orjson.dumps(asked.get("model", MODEL)),
            b",".join(rows),
        )
        await asyncio.sleep(max(0.0, end - time.perf_counter()))
        self.in_flight -= 1
        if self.die_after and counts["requests"] >= self.die_after:
            os._exit(1)
        counts["answered"] += len(texts)
        counts["last"] = time.perf_counter()
        return 200, answer

    async def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Route one request."""
        url = urlsplit(target)
        query: dict[str, str] = dict(parse_qsl(url.query))
        if url.path == "/v1/embeddings" and method == "POST":
            return await self.embed(body)
        if url.path == "/v1/models":
            return 200, orjson.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if url.path == "/stats":
            return 200, orjson.dumps(self.stats())
        if url.path in ("/reset", "/cost", "/die", "/fail"):
            self.base = float(query.get("base", self.base))
            self.token = float(query.get("token", self.token))
            self.slots = int(query.get("slots", self.slots))
            if url.path in ("/reset", "/cost"):
                self.reset()
            if url.path == "/die":
                self.die_after = int(self.counts["requests"]) + int(query["after"])
            if url.path == "/fail":
                self.fail_after = int(self.counts["requests"]) + int(query["after"])
                self.fail_times = int(query["times"])
            return 200, b"{}"
        return 404, b'{"error":{"message":"not found"}}'

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after another."""
        try:
            while line := await reader.readline():
                method, target, _ = line.decode("latin-1").split(" ", 2)
                headers: dict[str, str] = {}
                while (line := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, content = await self.answer(method, target, body)
                head = (
                    f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
                )
                writer.write(head.encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()


async def _main(arguments: Any) -> None:
    server = Server(arguments.base, arguments.token, arguments.slots)
    server.reset()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", arguments.port, limit=1 << 26)
    port = listening.sockets[0].getsockname()[1]
    print(port, flush=True)
    # It ends with the program that started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one; it is printed")
    parser.add_argument("--base", type=float, default=0.005, help="seconds a request (default: 0.005)")
    parser.add_argument("--token", type=float, default=0.00002, help="seconds a token (default: 0.00002)")
    parser.add_argument("--slots", type=int, default=4, help="requests at the same time (default: 4)")
    asyncio.run(_main(parser.parse_args()))
