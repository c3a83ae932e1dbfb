"""Compression and encryption around the stored form."""

from __future__ import annotations

import logging
import tracemalloc
import zlib
from traceback import walk_tb
from typing import Any

import pytest
import zstandard

from fsstore import Keys, MsgpackSerializer, SerializationError, Wireup
from fsstore.serialization import CompressedSerializer, EncryptedSerializer
from fsstore.serialization.neventstore.payloads import NEventStorePayloads

plain = MsgpackSerializer()
LONG = {"text": "again and again " * 100}
OLD, NEW = bytes(16), bytes(range(32))


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_compressed_values_come_back_and_are_smaller(algorithm: str) -> None:
    serializer = CompressedSerializer(plain, algorithm=algorithm)
    stored = serializer.dumps(LONG)
    assert len(stored) < len(plain.dumps(LONG)) / 5
    assert serializer.loads(stored) == LONG


def test_either_algorithm_reads_the_other() -> None:
    one, other = CompressedSerializer(plain, algorithm="zlib"), CompressedSerializer(plain, algorithm="zstd")
    assert one.loads(other.dumps(LONG)) == other.loads(one.dumps(LONG)) == LONG


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_a_level_that_is_none_is_refused_before_anything_is_stored(algorithm: str) -> None:
    with pytest.raises(ValueError, match="level"):
        CompressedSerializer(plain, algorithm=algorithm, level=99)


def test_what_gains_nothing_stays_plain_and_plain_is_read() -> None:
    serializer = CompressedSerializer(plain)
    assert serializer.dumps({"a": 1}) == plain.dumps({"a": 1})
    assert serializer.loads(plain.dumps(LONG)) == LONG


def test_without_compress_the_error_says_so() -> None:
    with pytest.raises(SerializationError, match=r"compress\(\)"):
        plain.loads(CompressedSerializer(plain).dumps(LONG))


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_a_bomb_is_refused(algorithm: str) -> None:
    small = CompressedSerializer(plain, algorithm=algorithm, max_bytes=10_000)
    bomb = CompressedSerializer(plain, algorithm=algorithm).dumps("x" * 10_000_000)
    with pytest.raises(SerializationError, match="grows"):
        small.loads(bomb)


def damaged() -> list[bytes]:
    whole = CompressedSerializer(plain).dumps(LONG)
    other = CompressedSerializer(plain, algorithm="zstd").dumps(LONG)
    unknown_size = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 500)
    return [
        whole[:-3],
        whole + b"x",
        whole[:3],
        whole[:2],
        b"\xc1\x5a\x09",
        other[:-3],
        other[:5],
        b"\xc1Z\x02" + unknown_size,
    ]


@pytest.mark.parametrize("data", damaged())
def test_damaged_compression_is_a_serialization_error(data: bytes) -> None:
    with pytest.raises(SerializationError):
        CompressedSerializer(plain).loads(data)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="zlib"):
        CompressedSerializer(plain, algorithm="lzma")
    assert zlib.ZLIB_VERSION


def test_encrypted_values_come_back_and_show_nothing() -> None:
    serializer = EncryptedSerializer(plain, NEW)
    stored = serializer.dumps(LONG)
    assert b"again" not in stored
    assert serializer.loads(stored) == LONG
    assert serializer.dumps(LONG) != stored


def test_keys_are_rotated() -> None:
    before = EncryptedSerializer(plain, {"2023": OLD})
    after = EncryptedSerializer(plain, Keys("2024", {"2023": OLD, "2024": NEW}))
    assert after.loads(before.dumps(LONG)) == LONG
    with pytest.raises(SerializationError, match="'2024', which is not given"):
        before.loads(after.dumps(LONG))
    last_writes = EncryptedSerializer(plain, {"2023": OLD, "2024": NEW})
    assert b"2024" in last_writes.dumps(1)[:10]


def test_every_changed_bit_is_noticed() -> None:
    serializer = EncryptedSerializer(plain, NEW)
    stored = serializer.dumps({"a": 1})
    for bit in range(len(stored) * 8):
        changed = bytearray(stored)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SerializationError):
            serializer.loads(bytes(changed))


def test_a_wrong_key_says_only_that() -> None:
    stored = EncryptedSerializer(plain, OLD).dumps(LONG)
    with pytest.raises(SerializationError, match="does not authenticate"):
        EncryptedSerializer(plain, NEW).loads(stored)


def test_whatever_is_wrong_with_what_is_encrypted_is_said_in_the_same_words() -> None:
    """A wrong key, cut, tampered with, another nonce; damage that only decompressing or decoding would find, too."""
    stored = EncryptedSerializer(CompressedSerializer(plain), NEW).dumps(LONG)
    ours = EncryptedSerializer(CompressedSerializer(plain), OLD)
    id_end = 3 + len(b"default")
    wrong = [stored]
    other = EncryptedSerializer(CompressedSerializer(plain), OLD).dumps(LONG)
    wrong += [other[:length] for length in range(2, len(other))]
    wrong += [other + b"more", other[:2] + b"\0" + other[3:]]
    for place in range(id_end, len(other)):
        wrong.append(other[:place] + bytes([other[place] ^ 1]) + other[place + 1 :])
    said = set()
    for data in wrong:
        with pytest.raises(SerializationError) as caught:
            ours.loads(data)
        said.add((str(caught.value), repr(caught.value.__cause__)))
    assert len(said) == 1
    assert "does not authenticate" in said.pop()[0]


def test_keys_show_in_no_repr_error_or_traceback_with_its_variables(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = bytearray(b"an unusual key of 32 bytes, yes!")
    keys = Keys("a", {"a": key})
    serializer = EncryptedSerializer(plain, keys)
    payloads = NEventStorePayloads(keys=[key])
    with pytest.raises(SerializationError) as one:
        serializer.loads(EncryptedSerializer(plain, {"a": NEW}).dumps(1))
    with pytest.raises(SerializationError) as other:
        payloads.events(bytes(48))
    errors = (one.value, other.value)
    shown = [
        *map(repr, (keys, keys.keys, serializer, vars(serializer), vars(payloads), Wireup.init().encrypt_with(key))),
        *(str(error) + repr(error) for error in errors),
        *("".join(traceback(error)) for error in errors),
        caplog.text,
    ]
    assert not [text for text in shown if "unusual" in text or key.hex() in text]


def traceback(error: BaseException) -> list[str]:
    """With the variables of our frames, as error trackers collect them; the first frame is this test's own."""
    frames = list(walk_tb(error.__traceback__))
    ours = [frame for frame, _ in frames if "fsstore/serialization" in frame.f_code.co_filename]
    assert ours
    return [f"{frame.f_code.co_name}: {frame.f_locals!r}" for frame in ours]


def test_plain_is_refused_unless_allowed() -> None:
    stored = plain.dumps(LONG)
    with pytest.raises(SerializationError, match="not encrypted"):
        EncryptedSerializer(plain, NEW).loads(stored)
    assert EncryptedSerializer(plain, NEW, allow_plain=True).loads(stored) == LONG


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (b"short", ValueError),
        ({}, ValueError),
        ({"a": b"short"}, ValueError),
        ({"": NEW}, ValueError),
        ("text", TypeError),
        (7, TypeError),
        ({NEW: "a"}, TypeError),
    ],
)
def test_wrong_keys_are_refused(keys: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        EncryptedSerializer(plain, keys)
    with pytest.raises(ValueError, match="active"):
        Keys("b", {"a": NEW})


def test_keys_do_not_show_in_their_repr() -> None:
    assert "\\x" not in repr(Keys("a", {"a": NEW}))


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_what_grows_beyond_reason_is_refused_before_it_fills_the_memory(algorithm: str) -> None:
    bomb = CompressedSerializer(plain, algorithm=algorithm).dumps(bytes(64 << 20))
    assert len(bomb) < 100_000
    serializer = CompressedSerializer(plain, max_bytes=1 << 20)
    tracemalloc.start()
    with pytest.raises(SerializationError, match="1048576"):
        serializer.loads(bomb)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_what_could_not_be_read_again_is_not_compressed() -> None:
    serializer = CompressedSerializer(plain, max_bytes=1000)
    with pytest.raises(SerializationError, match="at most 1000 are compressed"):
        serializer.dumps("x" * 1001)
