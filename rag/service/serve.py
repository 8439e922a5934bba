"""Run the service until a signal ends it: in this process, or in several."""

from collections.abc import Callable
from importlib.util import find_spec

import rag.errors as errors
from rag.service.options import ServiceOptions
from rag.settings import Settings
from rag.web.names import is_loopback
from rag.web.sockets import listen

_EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(settings: Settings, options: ServiceOptions, ready: Callable[[str], None], workers: int = 1) -> None:
    """Serve until Ctrl-C or a termination ends it; `ready` is told the address once it is listened on.

    Raises UsageProblem where others could reach it and no token is demanded, or the address cannot be listened on,
    before anything large is imported; MissingExtra.
    """
    if not options.token and not is_loopback(options.host):
        raise errors.UsageProblem(
            f"On {options.host} everybody who can reach this machine could read the documents. Set a token, "
            "RAG_SERVICE_TOKEN or --token, or leave out --host."
        )
    if not all(map(find_spec, _EXTRA)):
        raise errors.MissingExtra("The service", "service")
    try:
        listener = listen(options.host, options.port)
    except OSError as exc:
        raise errors.UsageProblem(
            f"{options.host}:{options.port} cannot be listened on ({exc.strerror}). Does `rag serve` run already? "
            "--port names another port."
        ) from exc
    host = f"[{options.host}]" if ":" in options.host else options.host
    ready(f"http://{host}:{listener.getsockname()[1]}")
    if workers > 1:
        from rag.service.workers import serve_by

        serve_by(workers, settings, options, listener)
    else:
        from rag.service.process import serve_listener

        serve_listener(settings, options, listener)
