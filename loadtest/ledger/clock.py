"""How far this machine's clock is from the application's, out of acks that bring the application's time (as in NTP)."""

import time

BAD_US = 2**40


def wall_us() -> int:
    """This machine's wall clock in microseconds since the epoch."""
    return time.time_ns() // 1000


class Offset:
    """The best estimate so far: the one of the shortest round trip.

    `offset_us` is None until there is one. `error_us` is half of that round trip: the true offset is this close, since
    the application read its clock somewhere between the request and the answer.
    """

    __slots__ = ("error_us", "offset_us")

    def __init__(self) -> None:
        self.offset_us: int | None = None
        self.error_us = BAD_US

    def learn(self, sent_us: int, received_us: int, theirs_us: int) -> None:
        error_us = (received_us - sent_us + 1) // 2
        if 0 <= error_us < self.error_us:
            self.error_us = error_us
            self.offset_us = theirs_us - (sent_us + received_us) // 2
