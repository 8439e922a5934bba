"""How uvicorn serves here: without logs of its own, without saying its name, and not waiting long for who stays on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp


def quiet(app: "ASGIApp", connections: int | None = None) -> "uvicorn.Config":
    """The configuration of a server for the app, with at most so many `connections` at once."""
    import uvicorn

    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=3,
        server_header=False,
        ws="none",
        limit_concurrency=connections,
    )
