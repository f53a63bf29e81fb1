"""Cut this process off from all other machines: connections and look-ups fail as without a network."""

import ipaddress
import socket
from collections.abc import Callable

attempts: list[str] = []  # the hosts that somebody tried to reach
_GUARDED = ("connect", "connect_ex", "sendto")
_LOOK_UPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")


def is_loopback(host: str | bytes | None) -> bool:
    """Tell whether a host name or address means this machine."""
    host = host.decode() if isinstance(host, bytes) else host or "localhost"
    if host.rstrip(".") in ("localhost", "0.0.0.0", "::"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def block() -> Callable[[], None]:
    """Block the network in this process, and return what lifts the block.

    A blocked connection raises ConnectionRefusedError, a blocked look-up socket.gaierror, as on a machine
    without a network. Unix sockets are left alone.
    """
    kept = [(socket.socket, name, getattr(socket.socket, name)) for name in _GUARDED]
    kept += [(socket, name, getattr(socket, name)) for name in _LOOK_UPS]

    def guard_connection(real: Callable) -> Callable:
        def guarded(self: socket.socket, *args):
            address = args[-1]
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
                attempts.append(str(address[0]))
                raise ConnectionRefusedError(f"the tests allow no connection to {address[0]}")
            return real(self, *args)

        return guarded

    def guard_look_up(real: Callable) -> Callable:
        def guarded(host, *args, **kwargs):
            if not is_loopback(host):
                attempts.append(str(host))
                raise socket.gaierror(socket.EAI_NONAME, f"the tests allow no look-up of {host}")
            return real(host, *args, **kwargs)

        return guarded

    for owner, name, real in kept:
        setattr(owner, name, (guard_connection if owner is socket.socket else guard_look_up)(real))

    def lift() -> None:
        for owner, name, real in kept:
            setattr(owner, name, real)

    return lift
