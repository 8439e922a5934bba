"""Run the engine in this process: bind the port, write down who serves it, answer until told to stop."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.engine.exposure import exposure
from rag.engine.places import Places, lm_studio_models_folder, models_folder, places
from rag.web.quiet import quiet
from rag.web.sockets import listen

log = logging.getLogger("rag.engine")

PORT_TAKEN = 98


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How the engine is to run."""

    host: str = "127.0.0.1"
    port: int = 1234
    models: Path | None = None
    idle_seconds: float = 0.0
    jit: bool = True
    auto_evict: bool = True
    jit_ttl_seconds: float = 3600.0
    guardrail: bool = True
    auth: bool = False
    cors: bool = False
    most_body_megabytes: float = 64.0
    faults: tuple[str, ...] = ()
    """As NAME or NAME=VALUE."""
    threads: int = 0
    verbose: bool = False

    def promises(self) -> dict[str, Any]:
        """Return what whoever asks for an engine must not be given otherwise, for the record of who serves the port."""
        return {
            "jit": self.jit,
            "auto_evict": self.auto_evict,
            "guardrail": self.guardrail,
            "auth": self.auth,
            "cors": self.cors,
            "faults": list(self.faults),
        }


def serve(options: ServeOptions) -> int:
    """Serve until a signal or idleness ends it; return the exit code, PORT_TAKEN where the port is not free."""
    import uvicorn

    from rag.engine.app import Front, build_app
    from rag.engine.downloads import Downloads
    from rag.engine.fault_list import read_faults
    from rag.engine.instances import Instances, Policy
    from rag.engine.library import Library
    from rag.engine.simulate import Simulation
    from rag.engine.token_store import TokenStore

    simulation = Simulation(read_faults(options.faults))
    # Workers inherit stderr: one log, in the order in which things happened.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        listener = listen(options.host, options.port)
    except OSError as exc:
        log.error("cannot listen on %s:%d: %s", options.host, options.port, exc)
        return PORT_TAKEN
    port: int = listener.getsockname()[1]
    own = options.models or models_folder()
    policy = Policy(
        options.jit,
        options.auto_evict,
        jit_ttl_seconds=options.jit_ttl_seconds,
        threads=options.threads,
        verbose=options.verbose,
        guardrail=options.guardrail,
    )
    instances = Instances(
        simulation.library(Library((own, lm_studio_models_folder()))), policy, simulation.start, simulation.before_use
    )
    where = places(port)
    front = Front(
        options.host,
        TokenStore(where.folder) if options.auth else None,
        options.cors,
        int(options.most_body_megabytes * 1024 * 1024),
        simulation or None,
    )

    def leave() -> None:
        server.should_exit = True

    app = build_app(instances, Downloads(own), front, options.idle_seconds, leave)
    server = uvicorn.Server(quiet(app))
    with _recorded(where, options.host, port, options.promises()):
        log.info("engine on http://%s:%d, models in %s", options.host, port, own)
        if warning := exposure(options.host, options.auth):
            log.warning("%s", warning)
        if simulation:
            log.warning("faults on request: %s", ", ".join(options.faults))
        server.run(sockets=[listener])
        log.info("engine stopped")
    return 0


@contextmanager
def _recorded(where: Places, host: str, port: int, promises: Mapping[str, Any]) -> Iterator[None]:
    import psutil

    record = {"pid": os.getpid(), "created": psutil.Process().create_time(), "host": host, "port": port, **promises}
    temporary = where.record.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(where.record)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(where.record.read_text(encoding="utf-8"))["pid"] == os.getpid():
                where.record.unlink()
