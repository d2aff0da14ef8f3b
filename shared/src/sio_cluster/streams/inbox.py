"""Reading an inbox: one stream, one reader, in order."""

from sio_cluster.streams.connection import Bus


class InboxReader:
    """Reads the inbox of this process, which nobody else reads."""

    def __init__(self, bus: Bus, node_id: str, max_batch_bytes: int = 4_000_000) -> None:
        self._bus = bus

    async def read(self, block_ms: int) -> list[bytes]:
        """The entries after the last one read, in order; [] when none came within `block_ms`."""
        raise NotImplementedError

    async def trim(self) -> None:
        """Forgets what was read and gives its bytes back."""
        raise NotImplementedError

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""
        raise NotImplementedError
