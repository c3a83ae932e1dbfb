"""Whatever is stored: what is written comes back, and what nobody wrote is an error and nothing else."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsstore.errors import SerializationError
from fsstore.model import EventMessage
from fsstore.serialization.neventstore import NEventStorePayloads, Notation, PayloadWriter, forms, json_text, scalars
from fsstore.serialization.neventstore.names import clr_name
from tests.neventstore.samples import KEY

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = TEXT.filter(lambda text: not text.startswith("$"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(-(2**90), 2**90, places=10, allow_nan=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
BODIES = VALUES.filter(lambda value: value is not None)
SAMPLES = {
    Notation.NEWTONSOFT_JSON: b"\xef\xbb\xbf[]",
    Notation.SYSTEM_JSON: b"[]",
}


def wrapped(plain: bytes, deflate: bool, encrypt: bool) -> bytes:
    data = forms.deflated(plain) if deflate else plain
    return forms.encrypted(data, KEY) if encrypt else data


@given(
    st.sampled_from(list(SAMPLES)),
    st.booleans(),
    st.booleans(),
    st.dictionaries(KEYS, VALUES, max_size=3),
    st.lists(st.tuples(BODIES, st.dictionaries(KEYS, VALUES, max_size=2)), min_size=1, max_size=3),
)
def test_what_is_written_comes_back(
    notation: Notation, deflate: bool, encrypt: bool, headers: dict[str, Any], bodies: list[tuple[Any, dict[str, Any]]]
) -> None:
    payloads = NEventStorePayloads(keys=[KEY])
    writer = PayloadWriter(payloads, [wrapped(SAMPLES[notation], deflate, encrypt)])
    events = tuple(EventMessage(body, own) for body, own in bodies)
    stored = writer.commit(headers, events)
    found = payloads.commit(*stored)
    assert found == (headers, events)
    assert repr(found) == repr((headers, events)) or notation is Notation.SYSTEM_JSON  # which writes 5.0 as 5
    assert [payloads.tree(data)[0] for data in stored] == [forms.Form(notation, deflate, encrypt)] * 2
    for body, _ in bodies:
        assert payloads.snapshot(writer.snapshot(body)) == body


@given(FLOATS)
@example(1e15)
@example(123456789012345.0)
@example(1e-5)
@example(-0.0)
@example(5e-324)
def test_a_double_is_written_so_that_it_reads_back_the_same(value: float) -> None:
    text = scalars.text_of_double(value)
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert scalars.number_from_text(text) == value
    assert type(scalars.number_from_text(text)) is float


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0001, "0.0001"), (0.00001, "1E-05"), (1e14, "100000000000000.0"), (1e15, "1E+15"), (1e-300, "1E-300"),
     (1234567890123456.0, "1234567890123456.0"), (1.5e20, "1.5E+20"), (5.0, "5.0"), (0.1 + 0.2, "0.30000000000000004")],
)  # fmt: skip
def test_a_double_is_written_as_dotnet_does(value: float, text: str) -> None:
    assert scalars.text_of_double(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.10", Decimal("0.10")),
        ("0.1", 0.1),
        ("0.00001", Decimal("0.00001")),
        ("1E-05", 1e-05),
        ("1000000000000000.0", Decimal("1000000000000000.0")),
        ("1E+15", 1e15),
        ("1E-300", 1e-300),
        ("79228162514264337593543950335.0", Decimal(2**96 - 1)),
        ("7922816251426433759354395.0335", Decimal("7922816251426433759354395.0335")),
        ("1E+400", Decimal("1E+400")),
    ],
)
def test_a_fraction_is_a_float_where_that_writes_the_same_digits(text: str, value: Any) -> None:
    found = json_text.parse(f"[{text}]".encode())[0]
    assert (found, type(found)) == (value, type(value))
    assert json_text.newtonsoft([found]) == f"\ufeff[{text}]".encode()


@given(DECIMALS)
def test_a_decimal_keeps_every_digit(value: Decimal) -> None:
    found = json_text.parse(json_text.newtonsoft([value]))[0]
    assert Decimal(scalars.text_of_double(found)) == value if isinstance(found, float) else found == value
    assert json_text.newtonsoft([found]) == json_text.newtonsoft([value])


@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 30)), st.integers(-840, 840))
def test_times_come_back_from_their_text_and_their_ticks(moment: datetime, offset: int) -> None:
    aware = moment.replace(tzinfo=scalars.zone(offset))
    for each in (moment, aware, moment.replace(tzinfo=UTC)):
        found = scalars.datetime_from_text(scalars.text_of_datetime(each))
        assert (found, found.utcoffset()) == (each, each.utcoffset())
    ticks = scalars.ticks_of(moment)
    assert scalars.datetime_from_binary(ticks) == moment
    assert scalars.datetime_from_binary(ticks + 9 | 1 << 62) == moment.replace(tzinfo=UTC)
    assert scalars.datetime_from_binary(ticks - (1 << 63)) == moment.replace(tzinfo=UTC)
    assert scalars.datetime_with_offset(ticks, offset) == aware


@given(st.timedeltas(min_value=timedelta(days=-9_000_000), max_value=timedelta(days=9_000_000)))
def test_durations_come_back_from_their_text(span: timedelta) -> None:
    assert scalars.timedelta_from_text(scalars.text_of_timedelta(span)) == span


@given(st.uuids())
def test_a_guid_is_read_from_all_of_its_forms(value: UUID) -> None:
    for stored in (value, value.bytes_le, str(value), str(value).upper()):
        assert scalars.uuid_from(stored) == value


NAMES = st.from_regex(r"[A-Z][a-z]{0,5}(\.[A-Z][a-z]{0,5}){0,2}(\+[A-Z])?", fullmatch=True)


def _generic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda name, arguments: f"{name}`{len(arguments)}[{','.join(f'[{each}, An.Assembly]' for each in arguments)}]",
        NAMES,
        st.lists(inner, min_size=1, max_size=3),
    )


@given(st.recursive(NAMES, lambda inner: _generic(inner) | inner.map(lambda name: name + "[]"), max_leaves=5))
def test_a_type_name_is_read_and_written_back(text: str) -> None:
    full = f"{text}, An.Assembly"
    name = clr_name(full)
    assert name is not None
    assert name.text(lambda each: each.assembly) == full
    assert "Assembly" not in name.full_name


@given(st.text(max_size=40))
@example("a[" * 5000)
@example("[[[]]]")
def test_no_text_is_too_odd_for_a_type_name(text: str) -> None:
    assert clr_name(text) is None or clr_name(text).name  # type: ignore[union-attr]


# ---- bytes that nobody wrote ----


def every_way(payloads: NEventStorePayloads, data: bytes) -> None:
    for read in (payloads.headers, payloads.events, payloads.snapshot):
        with contextlib.suppress(SerializationError):
            read(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_serialization_error(data: bytes) -> None:
    for keys in ([], [KEY]):
        every_way(NEventStorePayloads(keys=keys), data)


def msgpack_sample() -> bytes:
    typed = msgpack.ExtType(100, msgpack.packb("Ordering.Address, Ordering") + msgpack.packb({"Street": "s"}))
    return bytes(msgpack.packb([{"Headers": {"a": typed}, "Body": typed}, {"Headers": {}, "Body": [1.5, None]}]))


DAMAGED = {
    "newtonsoft": b'\xef\xbb\xbf[{"Headers":{"a":1.50},"Body":{"$type":"A.B, A","$values":[1,2]}}]',
    "system": b'[{"Headers":{"a":1},"Body":{"$type":"A.B, A","x":{"y":[1]}}}]',
    "msgpack": msgpack_sample(),
    "bson": bson.encode({"0": {"Headers": {"a": bson.Decimal128("1.5")}, "Body": {"$type": "A.B, A", "x": [1]}}}),
}


@settings(max_examples=100)
@given(st.sampled_from(list(DAMAGED)), st.booleans(), st.booleans(), st.integers(0), st.integers(1, 255), st.booleans())
def test_damage_is_noticed_or_harmless(name: str, deflate: bool, encrypt: bool, at: int, flip: int, cut: bool) -> None:
    data = bytearray(wrapped(DAMAGED[name], deflate, encrypt))
    if cut:
        del data[at % len(data) :]
    else:
        data[at % len(data)] ^= flip
    every_way(NEventStorePayloads(keys=[KEY] if encrypt else []), bytes(data))


def nested_msgpack(depth: int) -> bytes:
    data = bytes(msgpack.packb({}))
    for _ in range(depth):
        data = bytes(msgpack.packb(msgpack.ExtType(100, msgpack.packb("A.B") + data)))
    return data


def nested_bson(depth: int) -> bytes:
    document = b"\x05\x00\x00\x00\x00"
    for _ in range(depth):
        document = (len(document) + 8).to_bytes(4, "little") + b"\x03a\x00" + document + b"\x00"
    return document


HOSTILE: dict[str, Callable[[], bytes]] = {
    "deep JSON": lambda: b"[" * 100_000 + b"]" * 100_000,
    "deep JSON objects": lambda: b'{"a":' * 500 + b"1" + b"}" * 500,
    "deep MessagePack": lambda: b"\x91" * 5_000 + b"\x01",
    "deep extensions": lambda: nested_msgpack(100),
    "deep BSON": lambda: nested_bson(3_000),
    "a long number": lambda: b'\xef\xbb\xbf[{"Body":' + b"9" * 100_000 + b"}]",
    "LZ4": lambda: bytes(msgpack.packb(msgpack.ExtType(99, b"\xd2\x00\x00\x00\x01x"))),
    "an array of a huge length": lambda: b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflated"])
def test_hostile_bytes_are_refused(name: str, deflate: bool) -> None:
    data = wrapped(HOSTILE[name](), deflate, False)
    for read in (NEventStorePayloads().events, NEventStorePayloads().snapshot):
        with pytest.raises(SerializationError):
            read(data)


def test_what_would_grow_without_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_BYTES", 1 << 16)
    with pytest.raises(SerializationError, match="grows to more than 65536 bytes"):
        NEventStorePayloads().snapshot(forms.deflated(b'"' + b"x" * (1 << 17) + b'"'))


@pytest.mark.parametrize("name", DAMAGED)
def test_every_notation_is_recognized_gzipped_too(name: str) -> None:
    """`GZipStream` in the place of NEventStore's `DeflateStream`."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    data = compressor.compress(DAMAGED[name]) + compressor.flush()
    form, tree = forms.read(data)
    assert form == forms.Form(forms.read(DAMAGED[name])[0].notation, deflated=True)
    assert tree == forms.read(DAMAGED[name])[1]
