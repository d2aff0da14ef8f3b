"""The clock of a load test, and how far a machine's own clock is from the application's."""

from time import time_ns

BAD_US = 2**40
"""The error of an offset that is not known yet: 13 days."""


def wall_us() -> int:
    """This machine's wall clock in microseconds since the epoch."""
    return time_ns() // 1000


class Clock:
    """The time that all load machines agree on: this machine's wall clock plus `shift_us`.

    On one machine the shift is 0.
    """

    __slots__ = ("shift_us",)

    def __init__(self) -> None:
        self.shift_us = 0

    def now_us(self) -> int:
        return time_ns() // 1000 + self.shift_us


class Offset:
    """An estimate of the application's clock minus this machine's, learned from acks (as NTP does).

    Each ack brings the application's time. The application read its clock somewhere between our request and its
    answer, so half of the round trip bounds the error. The shortest round trip wins.

    `offset_us` is None until there is an estimate. The true offset lies within `offset_us` plus or minus `error_us`.
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
