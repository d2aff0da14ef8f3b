"""Forms in which settings come from files and from other programs, brought into the one that is meant."""

import re
from ipaddress import ip_address
from typing import Any


def as_host(text: str) -> str:
    """A name or an address; one of IPv6 without its brackets. ValueError for a URL, or a host with its port."""
    host = text.removeprefix("[").removesuffix("]")
    try:
        if ":" in host:
            ip_address(host)
    except ValueError:
        raise ValueError("must be a host's name or address, without scheme and port") from None
    return host


def as_port(value: Any) -> Any:
    """`tcp://10.0.0.1:6379` is what Kubernetes calls the port of a service: its last part is meant."""
    service = re.fullmatch(r"tcp://.+:([0-9]+)", value) if isinstance(value, str) else None
    return value if service is None else service[1]


def as_lower(value: Any) -> Any:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def without_line_end(value: Any) -> Any:
    """Text without the CR and LF at its end: files of secrets often end in LF, and Windows writes CR before it."""
    return value.rstrip("\r\n") if isinstance(value, str) else value
