"""Batches to stream entries and back. Functions come in pairs; bytes that do not decode raise `MalformedBatch`."""

from typing import TypeVar

import msgspec

from sio_cluster.protocol.errors import MalformedBatch, UnknownVersion
from sio_cluster.protocol.messages import (
    PROTOCOL_VERSION,
    AppInboxBatch,
    AppInboxItem,
    Command,
    DownlinkBatch,
    Fact,
    UplinkBatch,
)

_T = TypeVar("_T", UplinkBatch, DownlinkBatch, AppInboxBatch)

_encode = msgspec.msgpack.Encoder().encode
_uplink = msgspec.msgpack.Decoder(UplinkBatch)
_downlink = msgspec.msgpack.Decoder(DownlinkBatch)
_app_inbox = msgspec.msgpack.Decoder(AppInboxBatch)


def encode_uplink(node: str, seq: int, facts: list[Fact]) -> bytes:
    """One lane entry: the facts of one tick in the order in which they happened."""
    return _encode(UplinkBatch(PROTOCOL_VERSION, node, seq, facts))


def decode_uplink(entry: bytes) -> UplinkBatch:
    """Raises MalformedBatch, or UnknownVersion where the entry comes from a newer protocol."""
    return _decode(_uplink, entry)


def encode_downlink(node: str, seq: int, commands: list[Command]) -> bytes:
    """One inbox entry of an io-node: the commands of one tick in the order in which they were given."""
    return _encode(DownlinkBatch(PROTOCOL_VERSION, node, seq, commands))


def decode_downlink(entry: bytes) -> DownlinkBatch:
    """Raises MalformedBatch, or UnknownVersion where the entry comes from a newer protocol."""
    return _decode(_downlink, entry)


def encode_app_inbox(node: str, seq: int, items: list[AppInboxItem]) -> bytes:
    """One inbox entry of an app-node."""
    return _encode(AppInboxBatch(PROTOCOL_VERSION, node, seq, items))


def decode_app_inbox(entry: bytes) -> AppInboxBatch:
    """Raises MalformedBatch, or UnknownVersion where the entry comes from a newer protocol."""
    return _decode(_app_inbox, entry)


def _decode(decoder: msgspec.msgpack.Decoder[_T], entry: bytes) -> _T:
    try:
        batch = decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        version = _version_of(entry)
        if version is not None and version != PROTOCOL_VERSION:
            raise UnknownVersion(f"protocol version {version}, this node speaks {PROTOCOL_VERSION}") from error
        raise MalformedBatch(str(error)) from error
    if batch.version != PROTOCOL_VERSION:
        raise UnknownVersion(f"protocol version {batch.version}, this node speaks {PROTOCOL_VERSION}")
    return batch


def _version_of(entry: bytes) -> int | None:
    """The version, where the entry at least begins as a batch of any version does."""
    try:
        fields = msgspec.msgpack.decode(entry, type=list[msgspec.Raw])
        return msgspec.msgpack.decode(fields[0], type=int)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError):
        return None
