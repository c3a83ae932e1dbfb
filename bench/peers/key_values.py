"""How commits are laid out in a key-value store: what the two of them share.

`s` stream, sequence → the row (a stream's commits lie side by side); `o` token → that key (the order of the
store); `i` stream, commit id → nothing (so that a duplicate is seen).
"""

from __future__ import annotations

import struct

from bench.peers.rows import Row, commit_of, row_of
from fsstore.model import Commit, CommitAttempt

_ROW = struct.Struct(">QIIq16s")
_SEQUENCE = struct.Struct(">I")
_TOKEN = struct.Struct(">Q")


def stream_prefix(bucket_id: str, stream_id: str) -> bytes:
    """What the keys of that stream's commits begin with; the ids hold no NUL here."""
    return b"s" + bucket_id.encode() + b"\0" + stream_id.encode() + b"\0"


def entries(attempt: CommitAttempt, token: int) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes], tuple[bytes, bytes]]:
    """The three keys and values of a commit: row, order, id."""
    prefix = stream_prefix(attempt.bucket_id, attempt.stream_id)
    row: Row = row_of(attempt)
    revision, sequence, commit_id, stamp, payload = row
    key = prefix + _SEQUENCE.pack(sequence)
    value = _ROW.pack(token, revision, sequence, stamp, commit_id) + payload
    return (key, value), (order_key(token), key), (b"i" + prefix[1:] + commit_id, b"")


def order_key(token: int) -> bytes:
    return b"o" + _TOKEN.pack(token)


def token_of(key: bytes) -> int:
    """The token of an `o` key."""
    return int(_TOKEN.unpack(key[1:])[0])


def commit_of_entry(key: bytes, value: bytes) -> Commit:
    """The commit of an `s` entry."""
    bucket_id, stream_id, _ = key[1:].split(b"\0", 2)
    token, revision, sequence, stamp, commit_id = _ROW.unpack_from(value)
    return commit_of(
        bucket_id.decode(), stream_id.decode(), token, revision, sequence, commit_id, stamp, value[_ROW.size :]
    )
