"""The name of a node that was given none."""

import re
import socket
import zlib

MAX_NAME_CHARS = 32
"""As `sio_cluster.protocol.ids.NAME_PATTERN` has it."""


def name_of_host(otherwise: str) -> str:
    """The host's name as far as a node name can show it: lower-case letters and digits, at most 32.

    A longer one ends in a checksum of the whole, since names that a machine made often differ in their last letters
    only. `otherwise`: for a host whose name has none of them.
    """
    host = socket.gethostname().lower()
    name = re.sub(r"[^a-z0-9]", "", host)
    if len(name) > MAX_NAME_CHARS:
        checksum = f"{zlib.crc32(host.encode()):08x}"
        name = name[: MAX_NAME_CHARS - len(checksum)] + checksum
    return name or otherwise
