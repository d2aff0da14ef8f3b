"""The cursors of pages of clients, as applications get them.

    cursor    SID~QUESTION     `io1-k3x7q2.Jf8sKa0tQv3mXw2B~mJ3xT0aU`

The bus goes on behind a sid, in whatever room it is asked for. So a cursor also says which question it is from: asked
with that of another room, a page would leave out clients, and nobody would know.
"""

import base64
import hashlib
import json
import re

from sio_cluster.protocol.messages import Room

CURSOR_PATTERN = r"^[a-z0-9]{1,32}-[a-z2-7]{6}\.[A-Za-z0-9_-]{16}~[A-Za-z0-9_-]{8}$"
_CURSOR = re.compile(CURSOR_PATTERN.removesuffix("$"))


def cursor_of(sid: str, namespace: str, room: Room | None) -> str:
    """The cursor that leads on behind this sid, in this room."""
    return f"{sid}~{_question(namespace, room)}"


def sid_of(cursor: str, namespace: str, room: Room | None) -> str:
    """The sid behind which to go on. Raises ValueError for what is no cursor, and for one of another question."""
    if not _CURSOR.fullmatch(cursor):
        raise ValueError(f"{cursor!r} is no cursor of a page")
    sid, _, question = cursor.rpartition("~")
    if question != _question(namespace, room):
        raise ValueError("the cursor is from a page of another room or namespace: begin this one without a cursor")
    return sid


def _question(namespace: str, room: Room | None) -> str:
    asked = json.dumps([namespace, room]).encode()  # tells 7 from "7"
    return base64.urlsafe_b64encode(hashlib.blake2b(asked, digest_size=6).digest()).decode()
