"""Start a worker process, wait until its model is loaded, and end it."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass

import httpx2

from rag.engine.worker import WorkerSpec

STOP_SECONDS = 5.0

# libgomp's threads wait for each other by spinning for milliseconds. On two cores of which one was busy with something
# else, a chat model made 3 tokens/s that way and 33 with this; on idle cores it costs 3 to 8 percent.
SPIN_COUNT = "1000"


class WorkerFailed(Exception):
    """The worker ended before its model was loaded."""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker that has loaded its model, and the connection to it."""

    process: asyncio.subprocess.Process
    client: httpx2.AsyncClient

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    async def stop(self) -> None:
        """End the process; what it was doing breaks off."""
        await end(self.process)
        await self.client.aclose()


async def start_worker(spec: WorkerSpec) -> WorkerProcess:
    """Start a worker and wait until it listens. Raises WorkerFailed with its reason; cancelling ends the process."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rag.engine.worker",
            spec.to_json(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ},
        )
    except OSError as exc:
        raise WorkerFailed(f"no worker process could be started: {exc}") from exc
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the worker ended without a word"}
    except asyncio.CancelledError:
        await asyncio.shield(end(process))
        raise
    except ValueError as exc:
        await end(process)
        reply = {"error": f"the worker did not answer in JSON: {exc}"}
    if "error" in reply:
        code = await process.wait()
        raise WorkerFailed(f"{reply['error']} (Exit code: {code})")
    # llama.cpp's HTTP server closes idle connections whenever it likes; a kept one fails the next request.
    client = httpx2.AsyncClient(
        base_url=reply["address"],
        headers={"Authorization": f"Bearer {reply['token']}"},
        timeout=httpx2.Timeout(None, connect=10),
        limits=httpx2.Limits(max_keepalive_connections=0),
        trust_env=False,
        verify=False,  # it speaks plain HTTP: reading the system's certificates would hold up all streams for 80 ms
    )
    return WorkerProcess(process, client)


async def end(process: asyncio.subprocess.Process) -> None:
    """Terminate a process, kill it where it does not listen, and wait for its end."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except ProcessLookupError:
        await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
