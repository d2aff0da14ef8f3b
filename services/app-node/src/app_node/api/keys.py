"""Who may use the API, and for what: the keys in API_KEYS_FILE, one a line.

    # name     key                              what it may do; without these words, everything
    shop       q3fV8a0mTz5yWd2LrX7u             verbs=emit,call namespaces=/,/orders
    reports    sha256:9f86d081884c7d659a2f...   verbs=info,count

A key stands there itself, or as its SHA-256 in hexadecimal digits.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from sio_cluster.protocol.errors import ConfigError

log = structlog.get_logger()

COMMANDS = (
    "emit", "call", "disconnect", "enter_room", "leave_room", "close_room", "enter_rooms", "leave_rooms",
    "disconnect_room",
)  # fmt: skip
"""What changes something. A batch has these, except for calls."""
VERBS = (*COMMANDS, "info", "clients", "count", "presence")
"""What a key may be allowed to do. A batch needs what is in it."""
LEAST_CHARS = 16
"""Of a key. A shorter one could be guessed."""
LOOK_S = 1.0
"""How often the file is looked at for changes."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. None as `verbs` or `namespaces`: all."""

    name: str
    digest: bytes
    verbs: frozenset[str] | None = None
    namespaces: frozenset[str] | None = None

    def may_use(self, verb: str) -> bool:
        return self.verbs is None or verb in self.verbs

    def may_reach(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


class KeyFile:
    """The keys of a file. A change of the file counts a second later; if it has a fault, the old keys stay."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads it. Raises ConfigError, which names the line and shows no key."""
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._seen = self._stamp()
        self._keys = self._read()

    def owner(self, presented: bytes) -> ApiKey | None:
        """Whose key this is, None for nobody's. Takes the same time whichever it is and however much of it is right."""
        self._look()
        digest, found = hashlib.sha256(presented).digest(), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = self._read()
        except ConfigError as error:
            log.error("api_keys_refused", error=str(error))
        else:
            log.info("api_keys_read", keys=len(self._keys))

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _read(self) -> list[ApiKey]:
        try:
            text = self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"API_KEYS_FILE: cannot read {self._path}: {why}") from None
        keys = parse_keys(text)
        if not keys:
            raise ConfigError(f"API_KEYS_FILE: {self._path} has no key")
        return keys


def parse_keys(text: str) -> list[ApiKey]:
    """The keys of such a file. Raises ConfigError, which names the line and shows no key."""
    keys: list[ApiKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key = _parse(words)
            if any(key.name == other.name for other in keys):
                raise ValueError(f"{key.name} stands there twice")
            if any(key.digest == other.digest for other in keys):
                raise ValueError("another name has this key")
        except ValueError as error:
            raise ConfigError(f"API_KEYS_FILE: line {number}: {error}") from None
        keys.append(key)
    return keys


def _parse(words: list[str]) -> ApiKey:
    if len(words) < 2 or not _NAME.fullmatch(words[0]):
        raise ValueError("must be: name key [verbs=...] [namespaces=...]; a name has letters, digits, and _ . -")
    name, secret, *scopes = words
    return ApiKey(name, _digest(secret), **_scopes(scopes))


def _digest(secret: str) -> bytes:
    if hashed := _DIGEST.fullmatch(secret):
        return bytes.fromhex(hashed[1])
    if secret.startswith("sha256:") or "=" in secret.rstrip("="):
        raise ValueError("the second word is no key; a digest is sha256: and 64 hexadecimal digits")
    if len(secret) < LEAST_CHARS:
        raise ValueError(f"the key has fewer than {LEAST_CHARS} characters")
    return hashlib.sha256(secret.encode()).digest()


def _scopes(words: list[str]) -> dict[str, frozenset[str]]:
    scopes: dict[str, frozenset[str]] = {}
    for word in words:
        what, _, given = word.partition("=")
        names = frozenset(given.split(","))
        if what not in ("verbs", "namespaces") or what in scopes or not all(names):
            raise ValueError("behind the key come verbs=... and namespaces=..., once each, with commas and no spaces")
        if what == "verbs" and (unknown := names.difference(VERBS)):
            raise ValueError(f"{', '.join(sorted(unknown))}: no verb; there are {', '.join(VERBS)}")
        if what == "namespaces" and not all(name.startswith("/") for name in names):
            raise ValueError("a namespace begins with /")
        scopes[what] = names
    return scopes
