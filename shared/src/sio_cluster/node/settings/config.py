"""Reads the settings, and says what is wrong with them.

Config()                          all from the environment, else the defaults in `node.settings.declared`
Config(HTTP_PORT=8081)            a keyword wins over the environment; any case will do
"""

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

from pydantic import ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from sio_cluster.node.settings.declared import Settings
from sio_cluster.node.settings.forms import without_line_end
from sio_cluster.protocol.errors import ConfigError


class Config(Settings):
    """The settings of one node.

    Raises ConfigError, naming the setting, where one is unknown, malformed or impossible.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True)

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        given = {name.lower(): value for name, value in {**(settings or {}), **keywords}.items()}
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise ConfigError(_explain(error)) from None

    @property
    def heartbeat_ttl_ms(self) -> int:
        """How long one heartbeat of an io-node counts.

        The holder of lane 0 looks for silent io-nodes once a heartbeat, and buries one that was missing four times. So
        a node that falls silent is buried within NODE_TIMEOUT_MS, and one that is a few heartbeats late is not.
        """
        return self.node_timeout_ms - 5 * self.heartbeat_ms

    @property
    def redis_address(self) -> str:
        """The URL of Redis, with its password: not for logs."""
        if self.redis_url:
            return self.redis_url
        password = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{password}{host}:{self.redis_port}/0"

    @property
    def bridge_redis_address(self) -> str:
        """The URL of the Redis that a bridge listens to, with its password: not for logs."""
        return self.bridge_redis_url or self.redis_address

    @model_validator(mode="before")
    @classmethod
    def _trim(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: without_line_end(value) for name, value in values.items()}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.heartbeat_ms * 10 > self.node_timeout_ms:  # see heartbeat_ttl_ms
            raise ValueError("NODE_TIMEOUT_MS must be at least ten times HEARTBEAT_MS")
        return self


def _explain(error: ValidationError) -> str:
    """What is wrong with each setting, under the name that its user knows."""
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name}")
        else:
            reason = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "string_pattern_mismatch":
                reason = f"must be of the form {problem['ctx']['pattern'].strip('^$')}"
            got = "" if _is_secret(name) else f" (got {problem['input']!r})"
            lines.append(f"{name}: {reason}{got}" if name else reason)
    return "; ".join(lines)


def _is_secret(name: str) -> bool:
    field = Settings.model_fields.get(name.lower())
    return field is not None and not field.repr
