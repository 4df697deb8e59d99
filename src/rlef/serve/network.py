"""Where to listen: addresses and ports."""

import ipaddress
import socket
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's own."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, waiting: int = 128) -> socket.socket:
    """Opens the port.

    Args:
        host: An address or a name of this machine.
        port: 0: any that is free.
        waiting: Connections that may wait to be taken.

    Raises:
        ValueError: It cannot be had. One line: what, why, and what is allowed.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, proto)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(waiting)
        except OSError:
            found.close()
            raise
    except (OSError, UnicodeError) as error:  # the latter: no name of a host
        raise ValueError(
            f"cannot listen at {host} port {port} ({getattr(error, 'strerror', None) or error}); "
            "allowed: a port that is free, --port 0 finds one, and an address of this machine"
        ) from None
    return found


def plain_host(host: str) -> str:
    """An address without the brackets that an IPv6 one has in a URL."""
    return host.removeprefix("[").removesuffix("]")


def host_of(header: str) -> str:
    """The name in a header ``Host``, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""
