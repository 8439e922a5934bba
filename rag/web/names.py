"""By which names this machine is asked for: what tells a request that is meant for it from one of a foreign page."""

import ipaddress
import socket
from urllib.parse import urlsplit

# Nobody can register a name below these, so no foreign page can have one: Docker and Podman call the host so.
_PRIVATE_ENDINGS = (".localhost", ".internal")


def is_loopback(host: str) -> bool:
    """Whether what listens on `host` can be reached from this machine alone."""
    return host.casefold() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


class OwnNames:
    """The names that a server on this machine may be asked for by.

    A foreign page can make its own name resolve to 127.0.0.1 (DNS rebinding): then the Host header has that name,
    which is none of these.
    """

    def __init__(self, host: str) -> None:
        name = socket.gethostname().casefold()
        self._names = {host.casefold(), name, f"{name}.local"}

    def has(self, name: str) -> bool:
        """Whether the name, without a port, is one of them, or one that cannot be anybody else's."""
        return "." not in name or name in self._names or name.endswith(_PRIVATE_ENDINGS) or _is_address(name)


def host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return header.casefold()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
