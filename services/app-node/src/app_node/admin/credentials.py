"""Who may come in: what python-socketio's `instrument` takes as `auth`. Compares in constant time."""

import hashlib
import hmac
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[[Any], Any]
"""Gets what the client has sent, and returns whether that will do. It may be a coroutine function."""

_OPEN_IS_FALSE = "say auth=False if everybody may come in"


class Credentials:
    """`auth`: a dict that the client must send, or a list of dicts of which it must send one, or a `Check`. False:
    everybody may come in.

    Raises ValueError for None, for an empty dict or list and for a password that is empty or None, TypeError for
    anything else.
    """

    def __init__(self, auth: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Check | bool | None) -> None:
        if auth is None:
            raise ValueError(f"auth must be given: a dict, a list of dicts or a function; {_OPEN_IS_FALSE}")
        self.is_open = auth is False
        self.is_a_function = callable(auth)
        self._check: Check | None = None
        self._wanted: list[bytes] = []
        if callable(auth):
            self._check = auth
        elif not self.is_open:
            self._wanted = [_digest(wanted) for wanted in _listed(auth)]
        kind = b"open" if self.is_open else b"function" if callable(auth) else b"list"
        self.fingerprint = _slow_digest(kind + b"".join(self._wanted))
        """Another one where another password counts. All functions have the same one. Redis keeps it: it takes long to
        try passwords with it."""

    async def suffice(self, shown: Any) -> bool:
        """Whether these are right. Raises what the application's function raises."""
        if self.is_open:
            return True
        if self._check is not None:
            result = self._check(shown)
            return bool(await result if inspect.isawaitable(result) else result)
        if not isinstance(shown, dict):
            return False
        sent = _digest(shown)
        return sum([hmac.compare_digest(sent, wanted) for wanted in self._wanted]) > 0  # all are compared, always


def _listed(auth: Any) -> list[Mapping[str, Any]]:
    listed = [auth] if isinstance(auth, Mapping) else list(auth) if isinstance(auth, (list, tuple)) else None
    if listed is None or not all(isinstance(one, Mapping) for one in listed):
        raise TypeError(f"auth is a dict, a list of dicts, a function or False, not {type(auth).__name__}")
    if not all(listed) or not listed:
        raise ValueError(f"auth is empty; {_OPEN_IS_FALSE}")
    if empty := [name for one in listed for name, value in one.items() if value is None or value == ""]:
        raise ValueError(f"auth has nothing as {empty[0]!r}: an unset variable? {_OPEN_IS_FALSE}")
    return listed


def _slow_digest(data: bytes) -> bytes:
    """It takes about 50 ms."""
    return hashlib.scrypt(data, salt=b"sio-cluster admin", n=1 << 14, r=8, p=1, dklen=32)


def _digest(shown: Mapping[str, Any]) -> bytes:
    """Equal for equal dicts, and always of the same length."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).digest()
