"""The port on which a node listens."""

import socket

_MAPPED = "::ffff:"
"""How an address of IPv4 begins where it is written as one of IPv6 (RFC 4291 section 2.5.5.2)."""


def listen_on(host: str, port: int, backlog: int | None = None) -> socket.socket:
    """A socket that listens on the first address of this name. `::` takes IPv4 too, where the system can.

    `backlog`: how many TCP connections may wait to be accepted. Raises OSError.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=both)


def plain_address(address: str) -> str:
    """The same address. One of IPv4 stands as such, also where a socket of `::` took its connection."""
    return address.removeprefix(_MAPPED) if address.startswith(_MAPPED) and "." in address else address
