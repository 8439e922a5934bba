"""A server before the model server that changes what is embedded, or what comes back: a fault that nobody announces."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

Texts = Callable[[list[str]], list[str]]
Vectors = Callable[[list[list[float]]], list[list[float]]]


@contextmanager
def proxy(host: str, *, texts: Texts = lambda given: given, vectors: Vectors = lambda made: made) -> Iterator[str]:
    """Its own host and port. `vectors` are those of one request; the indexes say that they are in order."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(client.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/embeddings":
                self._answer(client.post(self.path, json=body))
                return
            reply = client.post(self.path, json={**body, "input": texts(body["input"])})
            changed = reply.json()
            rows = vectors([row["embedding"] for row in changed["data"]])
            changed["data"] = [{**row, "embedding": new} for row, new in zip(changed["data"], rows, strict=True)]
            self._answer(httpx2.Response(reply.status_code, json=changed))

        def _answer(self, reply: httpx2.Response) -> None:
            self.send_response(reply.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            pass

    with (
        httpx2.Client(base_url=f"http://{host}", timeout=60, trust_env=False) as client,
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
    ):
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
