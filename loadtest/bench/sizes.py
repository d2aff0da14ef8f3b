"""How much the benchmark does: in full, or a little of everything."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How much is done. `QUICK` only shows that everything runs: its figures mean nothing."""

    seconds: float = 3.0
    first: int = 100
    crowd: int = 1000
    closed: tuple[int, ...] = (1, 20, 200, 1000)
    singles: int = 40
    bursts: int = 6
    pollers: int = 200
    spread: int = 500
    open_rates: tuple[int, ...] = (500, 2000, 8000)
    one_app_rate: int = 2000
    room_rates: tuple[int, ...] = (20, 100, 500)
    rooms: int = 10_000
    members: int = 5
    room_emits: int = 500
    returning: int = 20_000
    live: int = 200
    return_emits: int = 200


FULL = Sizes()
QUICK = Sizes(
    seconds=0.3, first=5, crowd=20, closed=(1, 5), singles=3, bursts=2, pollers=5, spread=20, open_rates=(50,),
    one_app_rate=12, room_rates=(20,), rooms=40, members=5, room_emits=50, returning=2_000, live=20,
)  # fmt: skip
