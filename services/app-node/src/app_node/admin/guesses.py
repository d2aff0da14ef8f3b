"""How often somebody may show what is wrong. Pure.

A client may open as many connections as it likes, and each may show another password. So the address from which they
come counts, as io-nodes know it (TRUSTED_PROXIES), and of IPv6 the network of 64 bits, which is one household's.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

AT_ONCE = 10
"""So many wrong ones an address has from the start."""
EVERY_S = 10.0
"""One more it gets after so long: 8,640 a day."""
MOST_ADDRESSES = 10_000
"""So many are remembered: those that guessed last. Whoever was forgotten begins anew."""


class Guesses:
    """Those that each address has left, in one app-node."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When an address will have all of them again. Whoever guessed last stands last."""

    def take(self, address: str, now: float) -> bool:
        """Takes one, before what was shown is compared: many may come at the same time. False where none is left."""
        name = _network(address)
        full_at = max(self._full_at.get(name, now), now) + EVERY_S
        is_left = full_at - now <= AT_ONCE * EVERY_S
        if is_left:
            self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        while len(self._full_at) > MOST_ADDRESSES:
            self._full_at.popitem(last=False)
        return is_left

    def give_back(self, address: str) -> None:
        """It was right."""
        name = _network(address)
        if name in self._full_at:
            self._full_at[name] -= EVERY_S


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:  # such as a Unix socket
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
