"""Quantiles of a histogram are those of the values themselves, exact to one bucket."""

import math

from hypothesis import given
from hypothesis import strategies as st
from loadtest.accounting.histogram import BUCKETS, MAX_US, Histogram, bucket_of, merged, quantiles, value_of

values = st.integers(0, 5_000) | st.integers(0, MAX_US)


@given(values)
def test_a_value_is_near_the_middle_of_its_bucket(value: int) -> None:
    assert 0 <= bucket_of(value) < BUCKETS
    assert math.isclose(value_of(bucket_of(value)), value, rel_tol=0.004, abs_tol=0.001)


@given(values, values)
def test_greater_values_are_in_no_lower_bucket(a: int, b: int) -> None:
    assert (bucket_of(a) <= bucket_of(b)) == (a <= b) or bucket_of(a) == bucket_of(b)


def test_the_ends() -> None:
    assert bucket_of(-5) == 0
    assert bucket_of(2**60) == bucket_of(MAX_US) == BUCKETS - 1
    assert quantiles({}).count == 0


@given(st.lists(values, min_size=1, max_size=200))
def test_quantiles_are_those_of_the_sorted_values(samples: list[int]) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    found = histogram.quantiles()
    ordered = sorted(samples)
    assert found.count == len(samples)
    for q, value_ms in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms), (1.0, found.max_ms)):
        exact = ordered[max(1, math.ceil(q * len(ordered))) - 1]
        assert math.isclose(value_ms * 1e3, exact, rel_tol=0.01, abs_tol=1)


@given(st.lists(values), st.lists(values))
def test_parts_add_up(left: list[int], right: list[int]) -> None:
    parts = []
    for samples in (left, right, left + right):
        histogram = Histogram()
        for sample in samples:
            histogram.add(sample)
        parts.append(histogram.sparse())
    assert merged(parts[:2]) == parts[2]
