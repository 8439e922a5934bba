"""Who can reach an engine: this machine alone, or others too."""

from rag.web.names import is_loopback


def exposure(host: str, auth: bool) -> str | None:
    """Return the warning for an engine that others can reach and that asks nobody who they are, else None."""
    if auth or is_loopback(host):
        return None
    return (
        f"The engine listens on {host} and asks for no token: everybody who can reach this machine can use it, load "
        "and unload its models, and have it download others. Start it with --auth, or leave out --host."
    )
