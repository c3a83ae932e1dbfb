"""The C# classes of the samples as a Python program would have them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from fsstore.serialization import TypeName


class Channel(enum.Enum):
    WEB = 0
    SHOP = 1
    PHONE = 2


@dataclass(frozen=True)
class Address:
    street: str
    city: str
    country: str | None = None


@dataclass(frozen=True)
class OrderLine:
    sku: str
    quantity: int
    unit_price: Decimal
    gift: bool = False


@dataclass(frozen=True)
class OrderPlaced:
    order_id: UUID
    customer: str
    channel: Channel
    placed_at: datetime
    customer_local_time: datetime
    ship_to: Address | None
    lines: list[OrderLine]
    tags: dict[str, str]
    note: str | None = None


@dataclass(frozen=True)
class Payment:
    amount: Decimal


@dataclass(frozen=True)
class CardPayment(Payment):
    last_four: str = ""


@dataclass(frozen=True)
class VoucherPayment(Payment):
    voucher_id: UUID | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True)
class PaymentReceived:
    order_id: UUID
    payment: Payment
    earlier: tuple[Payment, ...] = ()


@dataclass(frozen=True)
class ParcelMeasured:
    weight_micrograms: int
    length_metres: float
    girth: float
    time_on_scale: timedelta
    photo: bytes
    readings: list[int] = field(default_factory=list)
    checked_at: datetime | None = None
    anything: Any = None


@dataclass(frozen=True)
class OrderClosed:
    pass


@dataclass(frozen=True)
class OrderMemento:
    order_id: UUID
    version: int
    paid: Decimal
    skus: list[str]


CLASSES = [Address, OrderLine, OrderPlaced, CardPayment, VoucherPayment, PaymentReceived, ParcelMeasured, OrderClosed]
TYPES = [TypeName(cls, cls.__name__, (f"Ordering.{cls.__name__}",)) for cls in (*CLASSES, OrderMemento)]
