"""What a request is answered that is not carried out: an HTTP status and a JSON body.

    {"error": {"code": "malformed", "message": "commands[3].room: must be a text, a number or a list", "field":
    "commands[3].room"}}

Programs look at `code`, people read `message`. `field` names the part of the request that is at fault, or is null.
"""

from dataclasses import dataclass
from typing import Any

RETRY_AFTER_S = 1
"""How long a caller should wait before it asks again."""

STATUS_OF = {
    "malformed": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "not_connected": 404,
    "method_not_allowed": 405,
    "in_progress": 409,
    "key_reused": 409,
    "too_large": 413,
    "failed": 500,
    "unavailable": 503,
    "nodes_too_old": 503,
    "no_answer": 504,
}
"""Each code, and the status that goes with it."""


@dataclass
class Problem(Exception):
    """Why a request is not carried out."""

    code: str
    message: str
    field: str | None = None

    @property
    def status(self) -> int:
        return STATUS_OF[self.code]

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}

    @property
    def headers(self) -> dict[str, str]:
        match self.code:
            case "unauthenticated":
                return {"WWW-Authenticate": "Bearer"}
            case "in_progress" | "unavailable":
                return {"Retry-After": str(RETRY_AFTER_S)}
            case _:
                return {}
