"""Single values between .NET's forms and Python's: moments, durations, GUIDs, numbers.

.NET counts time in ticks of 100 ns since the year 1. Python's `datetime` and `timedelta` keep microseconds: the
seventh digit is cut off, never rounded, so that no moment moves into the next second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

TICKS_PER_SECOND = 10_000_000
_PLAIN_CHARACTERS = 16  # Python and .NET agree as long as the number is below 10 to the 15th
_TICKS_MASK = (1 << 62) - 1
_YEAR_1 = datetime(1, 1, 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OLD_DATE = re.compile(r"\\?/Date\((-?\d{1,15})([+-]\d{4})?\)\\?/")
_TIME_SPAN = re.compile(r"(-)?(?:(\d{1,8})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,7}))?")


@lru_cache(maxsize=256)
def zone(offset_minutes: int) -> timezone:
    """The zone that is so many minutes east of UTC."""
    return UTC if not offset_minutes else timezone(timedelta(minutes=offset_minutes))


def datetime_from_ticks(ticks: int) -> datetime:
    """The naive moment that is so many ticks after the year 1. `OverflowError` outside of the years 1 to 9999."""
    return _YEAR_1 + timedelta(microseconds=ticks // 10)


def ticks_of(moment: datetime) -> int:
    """Ticks since the year 1: of an aware moment in UTC, of a naive one as it is."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - _YEAR_1) // _MICROSECOND * 10


def datetime_from_binary(value: int) -> datetime:
    """What `DateTime.ToBinary` wrote: the two highest bits are the kind (unspecified: naive), the rest ticks."""
    kind = value >> 62 & 3
    if kind == 0:
        return datetime_from_ticks(value)
    ticks = value & _TICKS_MASK
    if kind > 1 and ticks >= _TICKS_MASK - 24 * 3600 * TICKS_PER_SECOND:
        ticks -= _TICKS_MASK + 1  # a local time in the first hours of the year 1: UTC is before it
    return datetime_from_ticks(max(ticks, 0)).replace(tzinfo=UTC)


def datetime_with_offset(ticks: int, offset_minutes: int) -> datetime:
    """A `DateTimeOffset`: the ticks of its local clock and its offset."""
    return datetime_from_ticks(ticks).replace(tzinfo=zone(offset_minutes))


def datetime_from_text(text: str) -> datetime:
    """An ISO 8601 moment of up to seven digits, or the `/Date(…)/` of older Json.NET; naive when it has no zone."""
    old = _OLD_DATE.fullmatch(text)
    if old is None:
        return datetime.fromisoformat(text)
    moment = _EPOCH + timedelta(milliseconds=int(old[1]))
    if old[2] is None:
        return moment
    hours, minutes = int(old[2][:3]), int(old[2][0] + old[2][3:])
    return moment.astimezone(zone(hours * 60 + minutes))


def text_of_datetime(moment: datetime) -> str:
    """As both of C#'s JSON serializers write it: no trailing zeros, `Z` for UTC, no zone for a naive moment."""
    text = moment.replace(tzinfo=None).isoformat()
    if moment.microsecond:
        text = text.rstrip("0")
    offset = moment.utcoffset()
    if offset is None:
        return text
    if not offset:
        return text + "Z"
    minutes = offset // timedelta(minutes=1)
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return f"{text}{sign}{minutes // 60:02}:{minutes % 60:02}"


def timedelta_from_text(text: str) -> timedelta:
    """`-1.06:05:30.0395391`: days, hours, minutes, seconds, seven digits."""
    found = _TIME_SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no TimeSpan")
    sign, days, hours, minutes, seconds, fraction = found.groups()
    span = timedelta(
        days=int(days or 0),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=int((fraction or "").ljust(7, "0")) // 10,
    )
    return -span if sign else span


def timedelta_from_ticks(ticks: int) -> timedelta:
    """A `TimeSpan` of so many ticks; the seventh digit is cut towards zero."""
    span = timedelta(microseconds=abs(ticks) // 10)
    return -span if ticks < 0 else span


def text_of_timedelta(span: timedelta) -> str:
    """As `TimeSpan` writes itself."""
    total = span // _MICROSECOND
    sign, total = ("-", -total) if total < 0 else ("", total)
    seconds, micros = divmod(total, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    text = f"{sign}{f'{days}.' if days else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{micros:06}0" if micros else text


def uuid_from(value: UUID | bytes | str) -> UUID:
    """A GUID as a database's driver gives it: itself, its 16 bytes in .NET's order, or its text."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        return UUID(value)
    return UUID(bytes_le=bytes(value))


def text_of_double(value: float) -> str:
    """As .NET writes a `double` so that it reads back the same: `0.25`, `5.0`, `1E-05`, `1.5E+300`."""
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[text]
    if "e" not in text and len(text) <= _PLAIN_CHARACTERS:
        return text
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    shown = "".join(map(str, digits)).rstrip("0")
    if not shown:
        return "-0.0" if sign else "0.0"
    point = len(digits) + exponent  # where the decimal point stands, counted from the first digit
    if -4 < point <= max(15, len(shown)):
        if point <= 0:
            body = "0." + "0" * -point + shown
        else:
            body = shown.ljust(point, "0")
            body = f"{body[:point]}.{body[point:] or '0'}"
    else:
        power = point - 1
        mantissa = shown[0] + (f".{shown[1:]}" if len(shown) > 1 else "")
        body = f"{mantissa}E{'-' if power < 0 else '+'}{abs(power):02}"
    return "-" + body if sign else body


def number_from_text(text: str) -> float | Decimal:
    """A fraction: `float` where .NET writes that with the same digits, otherwise `Decimal`, which keeps them all."""
    value = float(text)
    return value if text in (text_of_double(value), text_of_double(value).lower()) else Decimal(text)
