"""Passes: who has shown a password once need not show it again for a while, to whichever process."""

from typing import Protocol


class Passes(Protocol):
    """A pass is known by its digest: whoever reads Redis cannot use one."""

    async def issue(self, digest: str, ttl_ms: int) -> None:
        """The pass of this digest counts for `ttl_ms` from now on."""

    async def counts(self, digest: str) -> bool:
        """Whether it was issued, and its time is not over."""
