"""An HTTP client for tests."""

from typing import Any

import httpx


def http_client(**options: Any) -> httpx.AsyncClient:
    """A client for plain HTTP on this machine. Takes the options of `httpx.AsyncClient`. Its timeout is 10 seconds.

    By itself, each httpx client first reads the certificates of all authorities, which takes 25 ms of a processor.
    This one knows none, and no proxy either.
    """
    return httpx.AsyncClient(verify=False, trust_env=False, **{"timeout": 10, **options})
