"""Pieces of PromQL that panels are made of. Pure.

`$__rate_interval` is Grafana's own: a window that is wide enough for the scrape interval.
"""

WINDOW = "[$__rate_interval]"


def rate(metric: str, where: str = "", by: str = "") -> str:
    """How fast a counter rises, per second, over all series that `where` selects. `by`: labels to keep."""
    return _sum(f"rate({selector(metric, where)}{WINDOW})", by)


def total(metric: str, where: str = "", by: str = "") -> str:
    """The sum of a gauge."""
    return _sum(selector(metric, where), by)


def quantile(share: float, histogram: str, where: str = "", by: str = "") -> str:
    """The time in seconds within which this share of a histogram's observations was done. NaN where there was none."""
    keep = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', where, keep)})"


def mean(histogram: str, where: str = "", by: str = "") -> str:
    """Seconds for each observation. NaN where there was none."""
    return f"{rate(f'{histogram}_sum', where, by)} / {rate(f'{histogram}_count', where, by)}"


def selector(metric: str, where: str = "") -> str:
    return f"{metric}{{{where}}}" if where else metric


def _sum(inside: str, by: str) -> str:
    return f"sum by ({by}) ({inside})" if by else f"sum({inside})"
