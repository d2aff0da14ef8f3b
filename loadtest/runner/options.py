"""The options of a run, checked. Whatever is wrong is said in one line, before anything starts."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loadtest.errors import CannotRun
from loadtest.reporting import thresholds

FOLDER = Path(__file__).resolve().parents[1]
DEFAULT_URL = "http://localhost:8080"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_RUN_TIME_S = 7 * 24 * 3600
RUN_TIMES_S = {"ramp": 600}  # at most: it ends when it has found the knee
RUN_TIME_S = 60
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics_port` 0: none. `more` is passed on to locust."""

    url: str = DEFAULT_URL
    scenario: str = "fanout"
    users: int = 500
    spawn_rate: float = 50.0
    run_time_s: int = RUN_TIME_S
    processes: int = 1
    io_nodes: int = 4
    metrics_port: int = 0
    thresholds: Path = thresholds.FILE
    report_dir: Path = FOLDER / "report"
    more: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether this is an address of this machine, where a cluster can be started."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and parts.hostname in LOOPBACK

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


def checked_url(text: str) -> str:
    """`http://host:port` without a path. Raises CannotRun."""
    parts = urlsplit(text)
    try:
        fits = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/") and not parts.query
        )
        _ = parts.port  # reading it raises where it is no port
    except ValueError:
        fits = False
    if not fits:
        raise CannotRun(f"URL: {text!r} is not http://host:port")
    return text.rstrip("/")


def parse_run_time(text: str) -> int:
    """Seconds of `60`, `90s`, `5m` or `1h30m`. Raises CannotRun."""
    parts = re.findall(r"(\d+)([smh]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise CannotRun(f"RUN_TIME: {text!r} is not a time such as 60, 90s, 5m or 1h30m")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not 1 <= seconds <= MOST_RUN_TIME_S:
        raise CannotRun(f"RUN_TIME: {text!r} is not between 1 second and 7 days")
    return seconds
