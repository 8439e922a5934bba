"""Run the service until a signal ends it: in this process, or in several."""

from collections.abc import Callable
from importlib.util import find_spec

import rag.errors as errors
from rag.service.options import ServiceOptions
from rag.settings import Settings
from rag.web.serving import address, guarded_listener, log_to_stderr, serve_until_ended

_EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(settings: Settings, options: ServiceOptions, ready: Callable[[str], None], workers: int = 1) -> None:
    """Serve until Ctrl-C or a termination ends it; `ready` is told the address once it is listened on.

    Raises UsageProblem where others could reach it and no token is demanded, or the address cannot be listened on,
    before anything large is imported; MissingExtra.
    """
    log_to_stderr("rag.service", "rag.web")
    listener = guarded_listener(options.host, options.port, options.token, "rag serve")
    if not all(map(find_spec, _EXTRA)):
        raise errors.MissingExtra("The service", "service")
    if workers > 1:
        from rag.service.workers import serve_by

        ready(address(listener, options.host))
        serve_by(workers, settings, options, listener)
        return
    from rag.service.app import build_app

    app = build_app(settings, options)
    ready(address(listener, options.host))
    serve_until_ended(app, listener, app.state.desk.end)
