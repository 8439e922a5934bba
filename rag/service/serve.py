"""Run the service in this process until a signal ends it."""

from collections.abc import Callable

import rag.errors as errors
from rag.service.options import ServiceOptions
from rag.settings import Settings
from rag.web.serving import address, guarded_listener, log_to_stderr, serve_until_ended


def serve(settings: Settings, options: ServiceOptions, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or a termination ends it; `ready` is told the address once it is listened on.

    Raises UsageProblem where others could reach it and no token is demanded, or the address cannot be listened on,
    before anything large is imported; MissingExtra.
    """
    log_to_stderr("rag.service", "rag.web")
    listener = guarded_listener(options.host, options.port, options.token, "rag serve")
    try:
        import uvicorn  # noqa: F401

        from rag.service.app import build_app
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.split(".")[0] in ("rag", "ingest"):
            raise
        raise errors.MissingExtra("The service", "service") from exc
    app = build_app(settings, options)
    ready(address(listener, options.host))
    serve_until_ended(app, listener, app.state.desk.end)
