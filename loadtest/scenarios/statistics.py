"""Deliveries in locust's own terms: once a second, not once each.

`environment.events.delivery` is fired with `transport`, `count`, `length` (bytes, of all transports together, once) and
`latencies` (a sparse histogram, see loadtest.ledger.histogram). Our listener adds them to locust's statistics, so that
its tables, CSV and charts show them beside the requests.
"""

import time
from typing import Any

from locust.stats import StatsEntry, bucket_response_time

from loadtest.ledger.histogram import value_of
from loadtest.ledger.report import SecondRow


def tell(environment: Any, row: SecondRow) -> None:
    """Fires the event, and adds to the statistics, for each transport that delivered."""
    length = row.bytes
    for transport, latencies in row.latencies.items():
        count = sum(latencies.values())
        environment.events.delivery.fire(transport=transport, count=count, length=length, latencies=latencies)
        _add(environment.stats, transport, count, length, latencies)
        length = 0


def _add(stats: Any, transport: str, count: int, length: int, latencies: dict[int, int]) -> None:
    entry = StatsEntry(stats, transport, "delivery")
    entry.num_requests = count
    entry.total_content_length = length
    entry.last_request_timestamp = time.time()
    entry.num_reqs_per_sec[int(entry.last_request_timestamp)] = count
    for bucket, times in latencies.items():
        milliseconds = value_of(bucket) / 1e3
        entry.total_response_time += milliseconds * times  # type: ignore[assignment] # a float in locust, too
        entry.response_times[bucket_response_time(milliseconds)] += times
    entry.min_response_time = value_of(min(latencies)) / 1e3  # type: ignore[assignment]
    entry.max_response_time = value_of(max(latencies)) / 1e3  # type: ignore[assignment]
    for target in (stats.get(transport, "delivery"), stats.total):
        target.extend(entry)
