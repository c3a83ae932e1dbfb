"""What is stored comes back equal and of the same type; what cannot be stored is named by its path."""

from __future__ import annotations

import enum
import math
import threading
import tracemalloc
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import msgpack
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsstore import EventMessage, SerializationError, TypeName, event_type
from fsstore.serialization import MsgpackSerializer, TypeRegistry, decode_payload, encode_payload

zones = st.builds(timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.just(UTC) | zones)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.booleans(), inner, max_size=5)
    ),
    max_leaves=20,
)
serializer = MsgpackSerializer()


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        pairs = zip(left.items(), right.items(), strict=True)
        return len(left) == len(right) and all(same(a, c) and same(b, d) for (a, b), (c, d) in pairs)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, datetime):
        return left == right and left.utcoffset() == right.utcoffset()
    if isinstance(left, float | Decimal):
        return str(left) == str(right)
    return bool(left == right)


@given(values)
def test_values_come_back_equal_and_of_the_same_type(value: Any) -> None:
    assert same(serializer.loads(serializer.dumps(value)), value)


@pytest.mark.parametrize("value", [math.nan, Decimal("NaN"), Decimal("sNaN"), Decimal("-0.0"), Decimal("1E+5"), -0.0])
def test_odd_numbers_too(value: Any) -> None:
    assert same(serializer.loads(serializer.dumps(value)), value)


def test_utc_comes_back_as_utc() -> None:
    assert serializer.loads(serializer.dumps(datetime(2024, 1, 1, tzinfo=UTC))).tzinfo is UTC


@given(st.dictionaries(st.text(), values, max_size=3), st.lists(values.filter(lambda v: v is not None), min_size=1))
def test_a_commits_headers_and_events_come_back(headers: dict[str, Any], bodies: list[Any]) -> None:
    events = tuple(EventMessage(body, headers) for body in bodies)
    read_headers, read_events = decode_payload(serializer, encode_payload(serializer, headers, events))
    assert same(read_headers, headers)
    assert same([e.body for e in read_events], bodies)
    assert all(same(event.headers, headers) for event in read_events)


class Text(str):
    __slots__ = ()


cycle: list[Any] = []
cycle.append(cycle)
deep: list[Any] = []
for _ in range(2_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "path", "says"),
    [
        ({1, 2}, (), "set"),
        (1j, (), "complex"),
        (object(), (), "object"),
        (Text("x"), (), "Text"),
        ("\ud800", (), "surrogates"),
        (datetime(2024, 1, 1), (), "naive"),
        (timedelta(1), (), "timedelta"),
        ({"a": [1, {"b": {1}}]}, ("a", 1, "b"), "set"),
        ({"a": (1, {2})}, ("a", 1), "set"),
        ({"when": datetime(2024, 1, 1)}, ("when",), "naive"),
        ({object: 1}, (repr(object),), "key"),
        (bytearray(b"x"), (), "bytearray.*as bytes"),
        ({"a": [b"x", {"b": memoryview(b"x")}]}, ("a", 1, "b"), "memoryview.*as bytes"),
        ({"a": (1, bytearray(70_000))}, ("a", 1), "bytearray"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_path(value: Any, path: tuple[Any, ...], says: str) -> None:
    with pytest.raises(SerializationError, match=says) as caught:
        serializer.dumps(value)
    assert caught.value.path == path


@pytest.mark.parametrize("value", [cycle, deep], ids=["a cycle", "2,000 levels"])
def test_what_never_ends_is_refused(value: Any) -> None:
    with pytest.raises(SerializationError, match="deep"):
        serializer.dumps(value)


@pytest.mark.parametrize(
    ("headers", "events", "path"),
    [
        ({"h": {1}}, [EventMessage(1)], "headers.h"),
        ({}, [EventMessage(1), EventMessage({"items": [1, 2, {"price": {1}}]})], "events[1].body.items[2].price"),
        ({}, [EventMessage(1, {"a b": {1}})], "events[0].headers['a b']"),
    ],
)
def test_paths_are_in_the_callers_words(headers: dict[str, Any], events: list[EventMessage], path: str) -> None:
    with pytest.raises(SerializationError) as caught:
        encode_payload(serializer, headers, events)
    assert str(caught.value).startswith(path + ": ")


@given(st.binary())
def test_hostile_bytes_are_a_serialization_error(data: bytes) -> None:
    try:
        serializer.loads(data)
    except SerializationError:
        return
    assert serializer.dumps(serializer.loads(data)) is not None


@pytest.mark.parametrize(
    "data",
    [b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\x01\x01"]
    + [
        bytes(msgpack.packb(msgpack.ExtType(code, content)))
        for code in (1, 2, 3, 4, 6, 7, 8, 99)
        for content in (b"", b"\xff" * 9)
    ],
)
def test_crafted_bytes_are_a_serialization_error(data: bytes) -> None:
    with pytest.raises(SerializationError):
        serializer.loads(data)


def test_nested_extensions_do_not_run_out_of_stack() -> None:
    data = b"\x90"
    for _ in range(3_000):
        data = bytes(msgpack.packb(msgpack.ExtType(6, data)))
    with pytest.raises(SerializationError):
        serializer.loads(data)


def test_what_is_nested_too_deep_to_be_read_is_not_written() -> None:
    value: Any = ()
    for _ in range(31):
        value = (value,)
    assert serializer.loads(serializer.dumps(value)) == value
    for _ in range(2_000):
        value = (value,)
        with pytest.raises(SerializationError, match=r"within one another|deep"):
            serializer.dumps(value)
        if len(str(value)) > 500:
            break


def test_a_value_that_there_was_no_memory_for_leaves_nothing_before_the_next_one() -> None:
    memory = pytest.importorskip("_testcapi", reason="this Python has no _testcapi")
    value, following = {"item": "tea" * 100, "at": datetime(2024, 1, 1, tzinfo=UTC)}, ["coffee"]
    serializer = MsgpackSerializer()
    expected = [serializer.dumps(one) for one in (value, following)]
    failed = 0
    for allocation in range(200):
        memory.set_nomemory(allocation, allocation + 1)
        try:
            serializer.dumps(value)
        except MemoryError:
            failed += 1
        finally:
            memory.remove_mem_hooks()
        assert [serializer.dumps(one) for one in (following, value)] == expected[::-1], allocation
    assert failed > 3


def test_a_value_may_be_packed_while_another_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a signal's handler, or by whatever the garbage collector finalizes."""
    value = ["before", Decimal(1), "after"]
    expected = MsgpackSerializer().dumps(value)
    extension = MsgpackSerializer._extension

    def packing_meanwhile(self: MsgpackSerializer, depth: int, value: Any) -> Any:
        assert self.dumps("meanwhile") == b"\xa9meanwhile"
        return extension(self, depth, value)

    monkeypatch.setattr(MsgpackSerializer, "_extension", packing_meanwhile)
    assert MsgpackSerializer().dumps(value) == expected


def test_threads_share_a_serializer() -> None:
    wrong = []

    def work(number: int) -> None:
        for n in range(300):
            value = {"n": [number, n, (number,)]}
            if serializer.loads(serializer.dumps(value)) != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    price: Decimal
    colour: Colour = Colour.RED


@dataclass
class Order:
    order_id: UUID
    lines: list[Line] = field(default_factory=list)
    total: int = field(default=0, init=False)


@attrs.define
class Parcel:
    weight: float
    _secret: int = 0


class Customer(pydantic.BaseModel):
    name: str
    since: date | None = None


def registry() -> TypeRegistry:
    return TypeRegistry(Line, Order, Colour, Parcel, Customer)


order = Order(UUID(int=5), [Line("a", Decimal("1.50"))])
order.total = 3


@pytest.mark.parametrize(
    "value", [order, Colour.RED, Parcel(1.5, 2), Customer(name="Zoë", since=date(2024, 1, 1)), {"in": [order]}]
)
def test_registered_types_come_back_as_themselves(value: Any) -> None:
    known = MsgpackSerializer(registry())
    found = known.loads(known.dumps(value))
    assert found == value
    assert type(found) is type(value)


class Open(pydantic.BaseModel):
    """What it does not know it keeps."""

    model_config = pydantic.ConfigDict(extra="allow")
    name: str


class Crossed(pydantic.BaseModel):
    """Fields that stand under each other's names outside."""

    one: int = pydantic.Field(alias="other")
    other: int = pydantic.Field(alias="one")


@pytest.mark.parametrize("value", [Open(name="Zoë", since=1, tags=["a"]), Crossed(one=1, other=2)])
def test_everything_that_a_model_holds_comes_back(value: Any) -> None:
    known = MsgpackSerializer(TypeRegistry(Open, Crossed))
    found = known.loads(known.dumps(value))
    assert found == value
    assert found.model_dump() == value.model_dump()


def test_what_could_be_stored_and_never_be_read_is_not_registered() -> None:
    @dataclass
    class Priced:
        total: int
        rate: InitVar[int]

    with pytest.raises(TypeError, match="'rate', which its making takes, is no field"):
        TypeRegistry(Priced)


def test_a_class_that_is_refused_takes_no_name() -> None:
    types = TypeRegistry((Line, "line"))
    with pytest.raises(ValueError, match="'line' means Line already"):
        types.register(Order, "order", ["line"])
    assert types.resolve("order") is None
    types.register(Colour, "order")


def test_an_unregistered_class_is_refused_and_named() -> None:
    with pytest.raises(SerializationError, match=r"Line.*register it") as caught:
        MsgpackSerializer(TypeRegistry(Order)).dumps({"order": Order(UUID(int=1), [Line("a", Decimal(1))])})
    assert caught.value.path == ("order", "lines", 0)


@pytest.mark.parametrize("value", [timedelta(1), time(12, tzinfo=UTC), {1}, complex(1), range(3), object()])
def test_what_no_registration_helps_is_not_told_to_be_registered(value: object) -> None:
    with pytest.raises(
        SerializationError, match=f"{type(value).__name__} is not.*put plain data in its place"
    ) as caught:
        MsgpackSerializer().dumps({"a": [value]})
    assert caught.value.path == ("a", 0)
    with pytest.raises(TypeError, match="cannot be registered"):
        TypeRegistry(type(value))


def test_a_renamed_class_reads_what_its_alias_wrote() -> None:
    @event_type("sales.line", aliases=["Line"])
    @dataclass(frozen=True)
    class NewLine:
        sku: str
        price: Decimal
        colour: Colour
        added_later: int = 7

    stored = MsgpackSerializer(registry()).dumps(Line("a", Decimal(1)))
    found = MsgpackSerializer(TypeRegistry(NewLine, Colour)).loads(stored)
    assert found == NewLine("a", Decimal(1), Colour.RED, 7)
    by_hand = TypeRegistry(TypeName(NewLine, "other", ("Line",)), (Colour, "Colour"))
    assert type(MsgpackSerializer(by_hand).loads(stored)) is NewLine


def test_a_name_nobody_registered_is_an_error_that_says_what_to_do() -> None:
    stored = MsgpackSerializer(registry()).dumps(Line("a", Decimal(1)))
    with pytest.raises(SerializationError, match="'Line' is not registered"):
        MsgpackSerializer(TypeRegistry(Colour)).loads(stored)


def test_a_member_that_is_gone_is_an_error_not_a_loss() -> None:
    @dataclass
    class Small:
        sku: str

    stored = MsgpackSerializer(registry()).dumps(Line("a", Decimal(1)))
    small = MsgpackSerializer(TypeRegistry(TypeName(Small, "Line"), Colour))
    with pytest.raises(SerializationError, match="no field 'colour'"):
        small.loads(stored)


def test_one_name_means_one_class() -> None:
    types = TypeRegistry(Line)
    types.register(Line)
    with pytest.raises(ValueError, match="'Line' means"):
        types.register(Order, "Line")
    with pytest.raises(TypeError, match="cannot be registered"):
        types.register(object)
    with pytest.raises(TypeError, match="only classes"):
        types.register("Line")  # type: ignore[arg-type]


@pytest.mark.parametrize("msgspec", [True, False])
def test_arrays_that_each_claim_all_that_is_there_take_no_memory(msgspec: bool) -> None:
    claimed = 60_000
    data = (b"\xdd" + claimed.to_bytes(4, "big")) * 900 + bytes(claimed)
    tracemalloc.start()
    with pytest.raises(SerializationError):
        MsgpackSerializer(msgspec=msgspec).loads(data)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
