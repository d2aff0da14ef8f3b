"""REDIS_URL: what it says, and what it may say."""

import re
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url

from sio_cluster.protocol.errors import AccessRefused, ConfigError

_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_ADDRESS_OPTIONS = ("db", "username", "password")
_TLS_OPTIONS = (*_TLS_FILES, "ssl_check_hostname", "ssl_cert_reqs")
"""What REDIS_URL may have behind its `?`. The second line is for rediss:// only."""

_UNREADABLE = (
    "REDIS_URL: cannot be read. It must be like redis://user:password@host:6379/0. Special characters in user and "
    "password are written as %XX, such as %23 for #"
)


def parse(address: str) -> dict[str, Any]:
    """redis-py's options for this address. Raises ConfigError, whose text shows nothing of the address: where the
    password has a `/`, `?` or `#`, a part of it is taken for the port."""
    try:
        parts = urlsplit(address)
        options = {**parse_url(address)}
    except ValueError:
        raise ConfigError(_UNREADABLE) from None
    if parts.scheme != "unix":
        if parts.fragment or "@" in parts.path + parts.query:
            raise ConfigError(_UNREADABLE)
        if not re.fullmatch(r"/?[0-9]*", parts.path):  # redis-py takes it for database 0
            raise ConfigError("REDIS_URL: the database must be a number, such as redis://host:6379/0")
    _check_options(parts.scheme, parts.query)
    return options


def place_of(options: dict[str, Any]) -> str:
    """The address for messages to people: without user and password."""
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


def is_tls(options: dict[str, Any]) -> bool:
    """Whether the address is one of rediss://."""
    return options.get("connection_class") is SSLConnection


def tls_context(options: dict[str, Any]) -> ssl.SSLContext:
    """By redis-py's names: ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname, ssl_cert_reqs.

    Raises AccessRefused where a file cannot be loaded.
    """
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if options.get("ssl_certfile"):
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:  # SSLError is one of them
        files = ", ".join(str(options[name]) for name in _TLS_FILES if options.get(name))
        raise AccessRefused(f"cannot load the certificates in {files}: {error}") from error
    checks = str(options.get("ssl_cert_reqs", "required")).lower()
    unchecked = checks in ("none", "cert_none", "0")  # Celery wants the second form in the same variable
    context.check_hostname = not unchecked and bool(options.get("ssl_check_hostname", True))
    if unchecked:
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_options(scheme: str, query: str) -> None:
    """Raises ConfigError for an option that would have no effect: nobody must miss a typing error in `ssl_ca_certs`."""
    known = (*_ADDRESS_OPTIONS, *_TLS_OPTIONS) if scheme == "rediss" else _ADDRESS_OPTIONS
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in known and value:
            continue
        why = "has no value" if name in known else "works with rediss:// only" if name in _TLS_OPTIONS else "is unknown"
        raise ConfigError(f"REDIS_URL: the option {name!r} {why}. The options for {scheme}:// are {', '.join(known)}")
