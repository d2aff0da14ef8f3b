"""The table of settings in README.md.

`python -m sio_cluster.node.settings.table README.md` writes it anew between its marks.
"""

import sys
from pathlib import Path

from sio_cluster.node.settings.config import Config

BEGIN = "<!-- settings: begin (a test compares this table with the code) -->"
END = "<!-- settings: end -->"

ONLY_IO_NODES = frozenset(
    (
        "http_port", "socketio_path", "transports", "allow_upgrades", "ping_interval_ms", "ping_timeout_ms",
        "upgrade_timeout_ms", "connect_timeout_ms", "max_payload_bytes", "max_namespaces",
        "cors_allowed_origins", "cors_credentials", "trusted_proxies", "request_timeout_ms", "downlink_buffer_bytes",
        "uplink_buffer_bytes", "connect_rate", "drain_ms", "client_dist_dir", "lane_fair_bytes",
    )
)  # fmt: skip
"""Settings that have no effect on an app-node."""

ONLY_APP_NODES = frozenset(("lease_ms", "max_inflight_bytes", "shutdown_ms", "health_port", "handler_block_ms"))
"""Settings that have no effect on an io-node."""


def settings_table() -> str:
    """Every setting with its default, the kind of node that reads it, and its meaning, as a Markdown table."""
    rows = ["| setting | default | read by | meaning |", "|---|---|---|---|"]
    for name, field in Config.model_fields.items():
        default = field.default
        shown = ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
        code = f"`{shown}`" if shown else ""
        rows.append(f"| `{name.upper()}` | {code} | {read_by(name)} | {field.description} |")
    return "\n".join(rows)


def read_by(name: str) -> str:
    """Which kind of node reads this setting: `io`, `app` or `both`."""
    return "io" if name in ONLY_IO_NODES else "app" if name in ONLY_APP_NODES else "both"


def with_table(page: str) -> str:
    """The page with its table brought up to date. Raises ValueError where the page has no marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError("the page has no marks for the table of settings")
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text()))
