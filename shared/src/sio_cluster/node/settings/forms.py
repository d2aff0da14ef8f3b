"""Forms in which settings come from files and from other programs, brought into the one that is meant."""

import re
from ipaddress import ip_address, ip_network
from typing import Any

_OWN_PORTS = {"http": ":80", "https": ":443"}


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


def as_redis_url(url: str) -> str:
    """The URL as it is. ValueError where it is none of Redis."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return url


def as_path(path: str) -> str:
    """A path with one slash before it and none behind it. ValueError for the root itself."""
    trimmed = "/" + path.strip("/")
    if trimmed == "/":
        raise ValueError("must name a path below the root, such as /socket.io")
    return trimmed


def as_origins(origins: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Origins as browsers write them. ValueError where one is no origin."""
    return None if origins is None else tuple(_as_origin(origin) for origin in origins)


def as_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Networks in their usual form, or `*` alone. ValueError where one is no network."""
    return networks if networks == ("*",) else tuple(str(ip_network(network)) for network in networks)


def as_parts(value: Any) -> Any:
    """The parts of a text that commas separate, without empty ones; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def as_lower(value: Any) -> Any:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def without_line_end(value: Any) -> Any:
    """Text without the CR and LF at its end: files of secrets often end in LF, and Windows writes CR before it."""
    return value.rstrip("\r\n") if isinstance(value, str) else value


def _as_origin(text: str) -> str:
    """In lower case, without a slash at the end and without the scheme's own port."""
    origin = text.lower()
    if origin in ("*", "null"):
        return origin
    scheme, separator, host = origin.partition("://")
    host = host.rstrip("/").removesuffix(_OWN_PORTS.get(scheme, "/"))
    if not separator or re.search(r"[/?#@*\s]", host) or scheme in ("ws", "wss"):
        raise ValueError(f"{text} is no origin; it must be like https://example.org, or *")
    if scheme in _OWN_PORTS and (not host or host.startswith(":")):
        raise ValueError(f"{text} names no host; it must be like https://example.org, or *")
    if not host.isascii():
        raise ValueError(
            f"{text} has letters that browsers write in another way, such as https://xn--bcher-kva.example"
        )
    return f"{scheme}://{host}"
