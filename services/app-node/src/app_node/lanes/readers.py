"""The two readers of an app-node: quarantines are read one entry at a time, beside the lanes and not among them."""

from sio_cluster.protocol.ids import is_quarantine
from sio_cluster.streams.api.lanes import Claimed, LaneReader


class Readers:
    """Both readers as one, for those who claim."""

    def __init__(self, lanes: LaneReader, quarantines: LaneReader) -> None:
        self.lanes = lanes
        self.quarantines = quarantines

    async def claim(self, number: int) -> Claimed:
        """What the former holder of this lane or quarantine left: see `LaneReader.claim`."""
        return await (self.quarantines if is_quarantine(number) else self.lanes).claim(number)

    async def interrupt(self) -> None:
        """Ends a read of lanes that blocks. Reads of quarantines never do."""
        await self.lanes.interrupt()

    async def close(self) -> None:
        """Closes the connections of both. Idempotent."""
        await self.lanes.close()
        await self.quarantines.close()
