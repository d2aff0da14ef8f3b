"""The files of the official JavaScript client, which Socket.IO's own server serves too.

`SOCKETIO_PATH/socket.io.js`, its minified and ESM variants, and their source maps.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

NAMES = frozenset(
    f"socket.io{variant}.js{suffix}" for variant in ("", ".min", ".esm.min", ".msgpack.min") for suffix in ("", ".map")
)


@dataclass(frozen=True, slots=True)
class ClientFile:
    content: bytes
    etag: str
    media_type: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> "ClientFile":
        """Its ETag says what is in it."""
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:24]}"', media_type)


class ClientFiles:
    """The files of one directory. Each is read once. `directory` None: the client is not installed."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._read: dict[str, ClientFile] = {}

    def get(self, name: str) -> ClientFile | None:
        """The file; None where there is none. Only names in `NAMES` are looked up, so no path leads out."""
        found = self._read.get(name)
        if found is not None or name not in NAMES or self._directory is None:
            return found
        try:
            content = (self._directory / name).read_bytes()
        except OSError:
            return None  # the answer says that the client is not installed
        media_type = "application/json" if name.endswith(".map") else "application/javascript; charset=utf-8"
        found = self._read[name] = ClientFile.of(content, media_type)
        return found


def find_client(start: Path) -> Path | None:
    """`node_modules/socket.io-client/dist` in `start` or the nearest folder above it."""
    for folder in (start, *start.parents):
        candidate = folder / "node_modules" / "socket.io-client" / "dist"
        if (candidate / "socket.io.js").is_file():
            return candidate
    return None
