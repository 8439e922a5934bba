"""A small server that speaks the Hugging Face hub's API for files of a test, on loopback."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


@dataclass
class Hub:
    """One repository, acme/Thinker-GGUF, and what goes wrong with it."""

    files: dict[str, bytes]
    url: str = ""
    broken_after: list[int] = field(default_factory=list)
    """For each coming transfer: end the connection after so many bytes; none left: all goes well."""
    refusals: list[int] = field(default_factory=list)
    """Statuses that the coming transfers are answered with first."""
    wrong_hash: bool = False
    slow: threading.Event = field(default_factory=threading.Event)
    """Set: transfers wait before their second half."""
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Path, Range and Authorization of every transfer."""


@contextmanager
def hub_server(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve the files. Transfers are redirected to another host name, as the hub does."""
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/api/models/acme/Thinker-GGUF/revision/main"):
                self._json(200, {"id": "acme/Thinker-GGUF", "sha": COMMIT, "siblings": siblings(hub)})
            elif path.startswith("/api/"):
                self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            elif path.startswith(f"/acme/Thinker-GGUF/resolve/{COMMIT}/"):
                hub.seen.append((path, self.headers["Range"], self.headers["Authorization"]))
                target = path.replace(f"/acme/Thinker-GGUF/resolve/{COMMIT}", "/cdn")
                self._json(302, {}, {"Location": hub.url.replace("127.0.0.1", "localhost") + target})
            else:
                hub.seen.append((path, self.headers["Range"], self.headers["Authorization"]))
                self._transfer(hub.files[path.removeprefix("/cdn/")])

        def _json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _transfer(self, content: bytes) -> None:
            if hub.refusals:
                self._json(hub.refusals.pop(0), {"error": "not now"})
                return
            start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            rest = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if hub.broken_after:
                self.wfile.write(rest[: hub.broken_after.pop(0)])
                return
            half = len(rest) // 2
            try:
                self.wfile.write(rest[:half])
                self.wfile.flush()
                while hub.slow.is_set():
                    threading.Event().wait(0.05)
                self.wfile.write(rest[half:])
            except (BrokenPipeError, ConnectionResetError):
                pass

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.slow.clear()
        server.shutdown()
        server.server_close()
        thread.join()


def siblings(hub: Hub) -> list[dict[str, Any]]:
    """The repository's files as the hub lists them."""
    listed: list[dict[str, Any]] = [{"rfilename": "README.md", "size": 10, "blobId": "b" * 40}]
    for name, content in hub.files.items():
        digest = "0" * 64 if hub.wrong_hash else hashlib.sha256(content).hexdigest()
        lfs = {"sha256": digest, "size": len(content), "pointerSize": 134}
        listed.append({"rfilename": name, "size": len(content), "blobId": "b" * 40, "lfs": lfs})
    return listed
