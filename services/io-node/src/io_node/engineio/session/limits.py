"""The bounds of a session, and the deadline that is none."""

from dataclasses import dataclass

from sio_cluster.node.settings.config import Config

NEVER = float("inf")
"""A deadline that does not come."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of every session of a node, in seconds and bytes."""

    ping_interval_s: float
    ping_timeout_s: float
    upgrade_timeout_s: float
    allow_upgrades: bool

    @staticmethod
    def of(config: Config) -> "Limits":
        return Limits(
            ping_interval_s=config.ping_interval_ms / 1000,
            ping_timeout_s=config.ping_timeout_ms / 1000,
            upgrade_timeout_s=config.upgrade_timeout_ms / 1000,
            allow_upgrades=config.allow_upgrades and "websocket" in config.transports,
        )
