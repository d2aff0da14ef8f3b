"""The figures of a run that goes on, as Prometheus reads them. Pure."""

from loadtest.accounting.result import Snapshot


def exposition(now: Snapshot) -> str:
    """The last second that all workers reported. All are gauges."""
    latencies = {'{share="0.5"}': now.p50_ms, '{share="0.95"}': now.p95_ms, '{share="0.99"}': now.p99_ms}
    families: tuple[tuple[str, str, dict[str, float]], ...] = (
        ("loadtest_clients", "Clients of the load test that are connected", {"": now.clients}),
        ("loadtest_emits_per_second", "Events that they sent in the last second", {"": now.emits_per_s}),
        ("loadtest_deliveries_per_second", "Messages that they got in the last second", {"": now.deliveries_per_s}),
        ("loadtest_bytes_per_second", "Bytes that they got in the last second", {"": now.bytes_per_s}),
        (
            "loadtest_latency_seconds",
            "This share of the messages of the last second took no longer",
            {labels: milliseconds / 1e3 for labels, milliseconds in latencies.items()},
        ),
        ("loadtest_messages_missing", "What seems lost since the run began, and may still come", {"": now.lost}),
    )
    lines: list[str] = []
    for name, text, values in families:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{labels} {value}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"
