"""Adds deliveries to locust's statistics, once a second, so that its tables, CSV files and charts show them.

`environment.events.delivery` is fired for each transport that delivered, with `transport`, `count`, `length` and
`latencies`. `length` is the bytes of all transports together, in the first event of a second. `latencies` is a sparse
histogram (loadtest.accounting.histogram).
"""

import time
from typing import Any

from locust.stats import StatsEntry, bucket_response_time

from loadtest.accounting.histogram import value_of
from loadtest.accounting.worker_report import SecondRow


def tell(environment: Any, row: SecondRow) -> None:
    """Fires the event and adds to the statistics, for each transport that delivered."""
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
        entry.total_response_time += milliseconds * times  # type: ignore[assignment]  # a float in locust, too
        entry.response_times[bucket_response_time(milliseconds)] += times
    entry.min_response_time = value_of(min(latencies)) / 1e3  # type: ignore[assignment]  # as above
    entry.max_response_time = value_of(max(latencies)) / 1e3  # type: ignore[assignment]  # as above
    for target in (stats.get(transport, "delivery"), stats.total):
        target.extend(entry)
