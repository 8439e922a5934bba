"""A worker that says what a script tells it to, in llama.cpp's forms: `python native_worker.py SCRIPT LOG`.

SCRIPT is a JSON file with one entry per chat request: the deltas to stream. Beyond its end the last entry is repeated.
Every request's body becomes a line of LOG. A delta {"sleep": seconds} is a pause, {"break": true} a broken connection.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCRIPT, LOG = Path(sys.argv[1]), Path(sys.argv[2])
script: list[dict[str, Any]] = json.loads(SCRIPT.read_text(encoding="utf-8"))
writing = threading.Lock()


def note(what: Any) -> int:
    """Add a line to the log and return how many requests stood there before."""
    with writing:
        lines = LOG.read_text(encoding="utf-8").splitlines() if LOG.exists() else []
        with LOG.open("a", encoding="utf-8") as log:
            log.write(json.dumps(what) + "\n")
        return sum(line.startswith("{") for line in lines)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        number = note(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        turn = script[min(number, len(script) - 1)]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self._answer(turn)
        except (BrokenPipeError, ConnectionResetError):
            note("client left")

    def _answer(self, turn: dict[str, Any]) -> None:
        for done in (0, 6, 12):
            progress = {"total": 12, "cache": 0, "processed": done, "time_ms": done}
            self._chunk({"role": "assistant", "content": None}, prompt_progress=progress)
        for delta in turn["deltas"]:
            if "break" in delta:
                return
            if "sleep" in delta:
                time.sleep(delta["sleep"])
            else:
                self._chunk(delta)
        self._chunk({}, turn.get("finish", "stop"))
        count = len(turn["deltas"])
        usage = {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": 12 + count}
        timings = {"cache_n": 0, "prompt_n": 12, "predicted_ms": 50.0 * count}
        self._chunk(None, usage=usage, timings=timings)
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> None:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        chunk = {"object": "chat.completion.chunk", "created": 1, "id": "x", "model": "m", "choices": choices, **more}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def leave_with_the_engine() -> None:
    sys.stdin.buffer.read()
    server.shutdown()


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=leave_with_the_engine, daemon=True).start()
print(json.dumps({"address": f"http://127.0.0.1:{server.server_port}", "token": "t"}), flush=True)
server.serve_forever()
