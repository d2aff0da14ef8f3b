"""Counts whole microseconds in log-linear buckets: exact below 256 us, at most 0.4 % off above (half a bucket)."""

import math
from collections.abc import Iterable, Mapping

from loadtest.accounting.result import Quantiles

BUCKETS = 3840
MAX_US = 2**36 - 1  # 19 hours; a longer time counts as this


def bucket_of(value_us: int) -> int:
    """The bucket of a value. A negative value counts as 0."""
    if value_us < 256:
        return max(0, value_us)
    if value_us > MAX_US:
        value_us = MAX_US
    shift = value_us.bit_length() - 8
    return (shift << 7) + (value_us >> shift)


def value_of(bucket: int) -> float:
    """The middle of a bucket in microseconds."""
    if bucket < 256:
        return float(bucket)
    shift = (bucket >> 7) - 1
    lowest = (bucket - (shift << 7)) << shift
    return lowest + ((1 << shift) - 1) / 2


class Histogram:
    """`counts` has one number per bucket. The hot path adds to it directly."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS

    def add(self, value_us: int) -> None:
        self.counts[bucket_of(value_us)] += 1

    def add_seconds(self, value_s: float) -> None:
        self.add(round(value_s * 1e6))

    def sparse(self) -> dict[int, int]:
        """The buckets that are not empty."""
        return {bucket: count for bucket, count in enumerate(self.counts) if count}

    def quantiles(self) -> Quantiles:
        return quantiles(self.sparse())


def merged(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sum of sparse histograms."""
    total: dict[int, int] = {}
    for part in parts:
        for bucket, count in part.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def quantiles(sparse: Mapping[int, int]) -> Quantiles:
    """The quantile q of n values is the value at rank ceil(q n), counted from 1."""
    count = sum(sparse.values())
    if not count:
        return Quantiles()
    ranks = [max(1, math.ceil(q * count)) for q in (0.5, 0.95, 0.99, 1.0)]
    found: list[float] = []
    seen = 0
    for bucket in sorted(sparse):
        seen += sparse[bucket]
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(round(value_of(bucket) / 1e3, 3))
    return Quantiles(count, *found)
