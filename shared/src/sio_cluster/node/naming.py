"""The name of a node that was given none."""

import re
import socket


def name_of_host(otherwise: str) -> str:
    """The host's name as far as a node name can show it: lower-case letters and digits, at most 32.

    `otherwise`: for a host whose name has none of them.
    """
    return re.sub(r"[^a-z0-9]", "", socket.gethostname().lower())[:32] or otherwise
