"""A worker that says what a script has, in llama.cpp's form: for what small models do not do when asked.

`python scripted_worker.py FOLDER` serves on a free port, which it prints. Each request takes the next entry of
FOLDER/script.json, a list of deltas with the reason of the end, and is kept in FOLDER/requests.jsonl.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PLAIN, WITH_TOOLS = "scripted", "scripted-with-tools"
"""The models that a scripted engine has: one whose template knows no tools, and one whose template does."""

USAGE = {"completion_tokens": 9, "prompt_tokens": 20, "total_tokens": 29, "prompt_tokens_details": {"cached_tokens": 4}}


def serve(folder: Path) -> None:
    """Serve until killed."""
    script = iter(json.loads((folder / "script.json").read_text(encoding="utf-8")))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with (folder / "requests.jsonl").open("ab") as requests:
                requests.write(body + b"\n")
            deltas, finish = next(script)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self._send(choices=[{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}])
            for delta in deltas:
                self._send(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
            if finish == "error":
                self._send(error={"code": 500, "message": "it broke", "type": "server_error"})
            elif finish is not None:
                self._send(choices=[{"index": 0, "delta": {}, "finish_reason": finish}])
                self._send(choices=[], usage=USAGE, timings={"cache_n": 4, "prompt_n": 16})
                self.wfile.write(b"data: [DONE]\n\n")

        def _send(self, **chunk: Any) -> None:
            self.wfile.write(b"data: " + json.dumps({"created": 1, **chunk}, ensure_ascii=False).encode() + b"\n\n")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


@contextmanager
def scripted_engine(folder: Path, script: list[tuple[list[dict[str, Any]], str | None]]) -> Iterator[Any]:
    """Yield a client of the engine's own routes, in front of a worker that follows the script."""
    import httpx2
    from app_thread import running
    from fastapi import FastAPI

    from rag.engine import messages_routes, openai_routes
    from rag.engine.instances import Instances, Policy
    from rag.engine.library import Library
    from rag.engine.process import WorkerProcess
    from rag.engine.replies import Refusal, as_response
    from rag.engine.responses_routes import responses_router

    for name, template in ((PLAIN, "{{ messages }}"), (WITH_TOOLS, "{{ tools }}")):
        _write_model(folder / "models" / f"{name}.gguf", template)
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")

    async def start(_: Any) -> WorkerProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(folder), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        return WorkerProcess(process, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False))

    async def refused(_: Any, exc: Any) -> Any:
        return as_response(exc)

    instances = Instances(Library((folder / "models",)), Policy(), start)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await instances.unload_all()

    app = FastAPI(lifespan=lifespan)
    app.state.instances = instances
    for router in (openai_routes.router, responses_router(), messages_routes.router):
        app.include_router(router)
    app.add_exception_handler(Refusal, refused)
    with (
        running(app, log_level="error") as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        yield client


def _write_model(path: Path, template: str) -> None:
    """Write a model file that has a header and nothing else, which is all that the engine itself reads."""
    from gguf import GGUFWriter

    path.parent.mkdir(exist_ok=True)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def requests(folder: Path) -> list[dict[str, Any]]:
    """Return what the worker was asked."""
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
