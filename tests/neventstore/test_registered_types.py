"""Registered Python classes out of what C# stored."""

from __future__ import annotations

import base64
import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, NewType, TypeVar
from uuid import UUID

import attrs
import bson
import pydantic
import pytest

from fsstore.errors import SerializationError
from fsstore.serialization import TypeName, TypeRegistry
from fsstore.serialization.neventstore import MongoValues, NEventStorePayloads
from fsstore.serialization.neventstore.bson_documents import codec_options
from fsstore.serialization.neventstore.objects import Objects
from tests.neventstore import ordering
from tests.neventstore.samples import DATA, KEY, expected
from tests.neventstore.test_payloads import SQLITE, rows

PAYLOADS = NEventStorePayloads(TypeRegistry(*ordering.TYPES), [KEY])


def moment(text: str, digits: int) -> datetime:
    """The moment with so many digits of its second, the rest cut off."""
    found = datetime.fromisoformat(text)
    step = 10 ** (6 - digits)
    return found.replace(microsecond=found.microsecond // step * step)


def placed(wanted: dict[str, Any], digits: int) -> ordering.OrderPlaced:
    """The order as a Python program would have made it from what was put in."""
    address = wanted.get("ShipTo")
    return ordering.OrderPlaced(
        UUID(wanted["OrderId"]),
        wanted["Customer"],
        ordering.Channel(wanted.get("Channel", 0)),
        moment(wanted["PlacedAt"], digits),
        moment(wanted["CustomerLocalTime"], digits),
        address and ordering.Address(address["Street"], address["City"], address.get("Country")),
        [
            ordering.OrderLine(
                each["Sku"], each.get("Quantity", 0), Decimal(each["UnitPrice"]), each.get("Gift", False)
            )
            for each in wanted["Lines"]
        ],
        wanted["Tags"],
        wanted.get("Note"),
    )


@pytest.mark.parametrize("name", SQLITE)
def test_an_order_comes_back_as_itself_from_every_notation(name: str) -> None:
    digits = 3 if "bson" in name else 6
    wanted = [
        placed(event["body"], digits)
        for commit in expected(name).commits
        for event in commit["events"]
        if isinstance(event["body"], dict) and event["body"].get("$type") == "Ordering.OrderPlaced"
    ]
    found = [
        event.body
        for (payload,) in rows(name, "SELECT Payload FROM Commits ORDER BY rowid")
        for event in PAYLOADS.events(payload)
        if isinstance(event.body, ordering.OrderPlaced)
    ]
    assert sorted(found, key=lambda order: order.order_id) == sorted(wanted, key=lambda order: order.order_id)
    assert {type(order.placed_at.tzinfo) for order in found} == {timezone}
    assert all(isinstance(line.unit_price, Decimal) for order in found for line in order.lines)


def test_every_body_of_the_samples_is_made() -> None:
    for name in SQLITE:
        for (payload,) in rows(name, "SELECT Payload FROM Commits"):
            for event in PAYLOADS.events(payload):
                assert not isinstance(event.body, dict) or "$type" not in event.body
                if isinstance(event.body, ordering.PaymentReceived) and name != "nes102-sqlite-microsoft-stj":
                    assert isinstance(event.body.payment, ordering.CardPayment | ordering.VoucherPayment)
                    assert [type(each) for each in event.body.earlier] == [
                        ordering.CardPayment,
                        ordering.VoucherPayment,
                    ]
                if isinstance(event.body, ordering.ParcelMeasured):
                    assert len(event.body.photo) == 16
                    assert isinstance(event.body.time_on_scale, timedelta)


def test_classes_come_back_from_mongo_documents_by_their_class_name() -> None:
    values = MongoValues(PAYLOADS)
    for name in ("nes12-mongodb-legacy-guids", "nes12-mongodb-standard-guids", "joliver32-mongodb"):
        commits = bson.decode_all((DATA / name / "Commits.bson").read_bytes(), codec_options())
        found = {values.uuid(commit["CommitId"]): commit for commit in commits}
        for wanted in expected(name).commits:
            events = values.events(found[UUID(wanted["commit_id"])]["Events"])
            for event, stored in zip(events, wanted["events"], strict=True):
                if isinstance(event.body, ordering.OrderPlaced):
                    local = event.body.customer_local_time  # its ticks are exact
                    assert local == datetime.fromisoformat(stored["body"]["CustomerLocalTime"])
                    order = placed(stored["body"], 3)
                    assert event.body == attrs_like(order, customer_local_time=local)
                elif isinstance(event.body, ordering.ParcelMeasured):
                    assert base64.b64encode(event.body.photo).decode() == stored["body"]["Photo"]


def attrs_like(order: ordering.OrderPlaced, **changes: Any) -> ordering.OrderPlaced:
    return ordering.OrderPlaced(**{**order.__dict__, **changes})


# ---- single rules ----


def made(cls: type, stored: dict[str, Any], *others: type, alias: str = "Shop.Thing") -> Any:
    types = TypeRegistry(TypeName(cls, "thing", (alias,)), *others)
    return Objects(types).value({"$type": "Shop.Thing, Shop, Version=1.0.0.0", **stored})


def test_members_are_found_without_underscores_and_case_and_exact_ones_first() -> None:
    @dataclass
    class Thing:
        unit_price: int
        HTMLPage: str
        class_: str = "none"
        unitPrice2: int = 5  # noqa: N815

    assert made(Thing, {"UnitPrice": 1, "HtmlPage": "x", "Class": "y"}) == Thing(1, "x", "y", 5)
    assert made(Thing, {"unit_price": 1, "UnitPrice": 2, "HTMLPage": "x"}) == Thing(1, "x")


def test_absent_members_take_the_default_of_the_field_or_of_the_kind() -> None:
    @dataclass
    class Thing:
        count: int
        when: datetime
        price: Decimal
        key: UUID
        kind: ordering.Channel
        span: timedelta
        text: str
        maybe: int | None
        given: int = 7

    assert made(Thing, {}) == Thing(
        0,
        datetime.min,
        Decimal(0),
        UUID(int=0),
        ordering.Channel.WEB,
        timedelta(0),
        None,
        None,
        7,  # type: ignore[arg-type]
    )


def test_what_the_class_does_not_have_is_left_out_as_in_csharp() -> None:
    assert made(ordering.OrderClosed, {"Reason": "gone"}) == ordering.OrderClosed()


Meters = NewType("Meters", float)
T = TypeVar("T")


@dataclass
class Shapes:
    pair: tuple[int, str] = (0, "")
    many: tuple[UUID, ...] = ()
    unique: frozenset[int] = frozenset()
    by_day: dict[date, Decimal] | None = None
    nested: dict[str, list[ordering.Address]] | None = None
    length: Meters = Meters(0.0)
    noted: Annotated[int, "kilograms"] = 0
    either: int | str | None = None
    at: time | None = None
    flag: bool = False


def test_annotations_decide_what_a_member_becomes() -> None:
    key = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    found = made(
        Shapes,
        {
            "Pair": [1, "a"],
            "Many": {"$type": "System.Guid[], mscorlib", "$values": [key]},
            "Unique": [1, 1],
            "ByDay": {"2024-02-29T00:00:00": 1.5},
            "Nested": {"home": [{"Street": "s", "City": "c"}]},
            "Length": 3,
            "Noted": 4,
            "Either": "5",
            "At": "10:30:00",
            "Flag": True,
        },
    )
    assert found == Shapes(
        (1, "a"),
        (UUID(key),),
        frozenset({1}),
        {date(2024, 2, 29): Decimal("1.5")},
        {"home": [ordering.Address("s", "c")]},
        Meters(3.0),
        4,
        "5",
        time(10, 30),
        True,
    )


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("2024-03-05T00:00:03.3174689Z", datetime(2024, 3, 5, 0, 0, 3, 317468, tzinfo=UTC)),
        ("2024-12-31T00:00:00", datetime(2024, 12, 31)),
        ("2024-03-31T01:59:59.9-01:30", datetime(2024, 3, 31, 1, 59, 59, 900000, timezone(-timedelta(minutes=90)))),
        ("/Date(1330848000123+0100)/", datetime(2012, 3, 4, 9, 0, 0, 123000, timezone(timedelta(hours=1)))),
        ("\\/Date(-1)\\/", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (0, datetime.min),
        (5250144002408367904, datetime(2024, 3, 11, 23, 59, 58, 98000, tzinfo=UTC)),
        ({"DateTime": None, "Ticks": 638474471997131507, "Offset": 120}, "2024-03-31T01:59:59.713150+02:00"),
        ([638474471997131507, 120], "2024-03-31T01:59:59.713150+02:00"),
        ([datetime(2024, 3, 31, 1, 59, 59, tzinfo=UTC), -90], "2024-03-31T01:59:59-01:30"),
    ],
)
def test_a_datetime_is_read_from_every_form_that_csharp_gives_it(stored: Any, wanted: datetime | str) -> None:
    @dataclass
    class Thing:
        at: datetime

    if isinstance(wanted, str):
        wanted = datetime.fromisoformat(wanted)
    found = made(Thing, {"At": stored}).at
    assert (found, found.utcoffset()) == (wanted, wanted.utcoffset())


class Mode(enum.Flag):
    Read = 1
    Write = 2


class Size(enum.StrEnum):
    EXTRA_LARGE = "xl"


@pytest.mark.parametrize(
    ("kind", "stored", "wanted"),
    [
        (ordering.Channel, 2, ordering.Channel.PHONE),
        (ordering.Channel, "Phone", ordering.Channel.PHONE),
        (Size, "ExtraLarge", Size.EXTRA_LARGE),
        (Size, "xl", Size.EXTRA_LARGE),
        (Mode, "Read, Write", Mode.Read | Mode.Write),
        (Mode, 3, Mode.Read | Mode.Write),
    ],
)
def test_an_enum_is_read_from_its_number_and_its_name(kind: type, stored: Any, wanted: Any) -> None:
    thing = dataclass(type("Thing", (), {"__annotations__": {"it": kind}, "it": None}))
    assert made(thing, {"It": stored}).it is wanted


def test_an_attrs_class_and_a_pydantic_model_are_filled_too() -> None:
    @attrs.define
    class Attrs:
        order_id: UUID
        note: str = "none"

    class Model(pydantic.BaseModel):
        order_id: UUID
        unit_price: Decimal = pydantic.Field(default=Decimal(1), alias="Preis")

    key = UUID(int=7)
    assert made(Attrs, {"OrderId": str(key)}) == Attrs(key)
    assert made(Model, {"OrderId": str(key), "Preis": "2.50"}) == Model.model_construct(
        order_id=key, unit_price=Decimal("2.50")
    )


@dataclass
class Envelope(Generic[T]):
    content: T
    sent_at: datetime | None = None


@pytest.mark.parametrize(
    "alias", ["Shop.Envelope`1", "Shop.Envelope`1[Shop.Order+Placed]", "Shop.Envelope`1[[Shop.Order+Placed, Any]]"]
)
def test_generic_and_nested_types_are_matched_with_every_assembly_left_out(alias: str) -> None:
    types = TypeRegistry(
        TypeName(Envelope, "envelope", (alias,)), TypeName(ordering.Address, "a", ("Shop.Order+Placed",))
    )
    stored = {
        "$type": "Shop.Envelope`1[[Shop.Order+Placed, Shop, Version=1.0.0.0, Culture=neutral]], Shop, Version=2.0.0.0",
        "Content": {"$type": "Shop.Order+Placed, Shop", "Street": "s", "City": "c"},
    }
    assert Objects(types).value(stored) == Envelope(ordering.Address("s", "c"))


def test_a_class_that_nobody_registered_stays_a_dictionary_even_in_the_place_of_its_base() -> None:
    @dataclass
    class Thing:
        payment: ordering.Payment

    stored = {"$type": "Shop.Cheque, Shop", "Amount": 5}
    assert made(Thing, {"Payment": stored}) == Thing(stored)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("member", "stored", "words"),
    [
        ("OrderId", "no", "OrderId: 'no' is no UUID"),
        ("Version", 1.5, "Version: 1.5 is no int"),
        ("Skus", "no", "Skus: 'no' is no list"),
        ("Paid", "much", "Paid: 'much' is no Decimal"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(member: str, stored: Any, words: str) -> None:
    with pytest.raises(SerializationError, match=words) as raised:
        made(ordering.OrderMemento, {member: stored})
    assert raised.value.path == (member,)
