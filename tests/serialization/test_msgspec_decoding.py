"""With msgspec and without it, the same bytes are the same values, and the same bytes are refused in the same words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsstore import SerializationError
from fsstore.serialization import MsgpackSerializer, TypeRegistry

pytest.importorskip("msgspec", reason="pip install 'fsstore[speed]'")


@dataclass
class Price:
    amount: Decimal
    currency: str


WITH, WITHOUT = (MsgpackSerializer(TypeRegistry(Price), msgspec=wanted) for wanted in (True, False))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.datetimes(
        datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5)))
    )
    | st.builds(Price, st.decimals(allow_nan=False), st.text())
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=15,
)


def outcome(serializer: MsgpackSerializer, data: bytes) -> str:
    try:
        return repr(serializer.loads(data))
    except SerializationError as error:
        return f"refused: {error}"


def test_each_reads_with_its_own_library() -> None:
    assert WITH.loads.__module__ == "fsstore.serialization.msgspec_decoding"
    assert WITHOUT.loads.__module__ == "fsstore.serialization.msgpack_serializer"


@given(values)
def test_every_value_is_written_and_read_alike(value: Any) -> None:
    data = WITH.dumps(value)
    assert data == WITHOUT.dumps(value)
    assert outcome(WITH, data) == outcome(WITHOUT, data)
    assert WITH.loads(data) == value


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda tail: msgpack.packb([{"a": 1}, "b"]) + tail))
def test_bytes_that_mean_nothing_are_refused_alike(data: bytes) -> None:
    # The one thing read differently: an array as the key of a map, which nothing here ever writes.
    left, right = outcome(WITH, data), outcome(WITHOUT, data)
    assert left == right or "unhashable" in right


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(msgpack.packb(msgpack.ExtType(9, b"x")), id="an unknown extension"),
        pytest.param(msgpack.packb(msgpack.ExtType(2, b"x")), id="a damaged date"),
        pytest.param(b"\xa2\xc3\x28", id="text that is no UTF-8"),
        pytest.param(b"\x91" * 200_000 + b"\xc0", id="nested without end"),
        pytest.param(WITHOUT.dumps([1, 2])[:-1], id="cut short"),
        pytest.param(WITHOUT.dumps(1) + b"\x01", id="more than one value"),
    ],
)
def test_what_nothing_here_wrote_is_refused_in_the_same_words(data: bytes) -> None:
    assert outcome(WITH, data).startswith("refused: ")
    assert outcome(WITH, data) == outcome(WITHOUT, data)


def test_values_of_each_kind_come_back_alike() -> None:
    value = [UUID(int=2**128 - 1), date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), 2**70, (1, (2,)), -1, b"\xff"]
    data = WITH.dumps(value)
    assert WITH.loads(data) == WITHOUT.loads(data) == value


def test_timestamps_of_msgpack_which_nothing_here_writes_are_left_to_msgpack() -> None:
    data = msgpack.packb([1, msgpack.Timestamp(1, 0)])
    assert WITH.loads(data) == WITHOUT.loads(data) == [1, msgpack.Timestamp(1, 0)]
