"""How far the inbox of this node is carried out."""

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """`carried_out`: the id of the last entry of which everything is done. `under_way`: a later one has begun."""

    carried_out: bytes = b"0-0"
    under_way: bool = False

    def begin(self) -> None:
        self.under_way = True

    def reach(self, entry_id: bytes) -> None:
        """All up to this entry is done."""
        self.carried_out = entry_id
        self.under_way = False
