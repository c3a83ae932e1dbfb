"""The stores that C# wrote, what was put into them, and when something read is the same as something put in.

The expected lines were made from C#'s objects. What each notation keeps of a value differs (a date as text, as
ticks, as milliseconds), so `differences` compares values by their kind, exactly as far as the notation goes.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

DATA = Path(__file__).parent / "data"
KEY = bytes(range(1, 17))


@dataclass(frozen=True)
class Expected:
    commits: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]


def expected(name: str) -> Expected:
    """What was put into the store of this name."""
    with gzip.open(DATA / f"{name}.ndjson.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line, parse_float=Decimal) for line in lines]
    return Expected(
        [row for row in rows if row["kind"] == "commit"], [row for row in rows if row["kind"] == "snapshot"]
    )


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Where what was read is not what was put in."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        yield from _dictionaries(wanted, found, path)
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{path}: {len(found)} elements, not {len(wanted)}"
        for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
            yield from differences(one, other, f"{path}[{number}]")
    elif not _same(wanted, found):
        yield f"{path}: {found!r}, not {wanted!r}"


def _dictionaries(wanted: dict[str, Any], found: dict[str, Any], path: str) -> Iterator[str]:
    mark = "_t" if "_t" in found else "$type"
    kind = found.get(mark)
    name = wanted.get("$type")
    if name is not None and kind is not None and mark == "_t":
        name = name.rpartition(".")[2]
    if name != (None if kind is None else kind.partition(",")[0]):
        yield f"{path}: {kind!r}, not {name!r}"
    keys, found_keys = wanted.keys() - {"$type"}, found.keys() - {mark}
    if keys != found_keys:
        yield f"{path}: members {sorted(found_keys)}, not {sorted(keys)}"
    for key in keys & found_keys:
        yield from differences(wanted[key], found[key], f"{path}.{key}")


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, bool) or wanted is None:
        return found is wanted
    if isinstance(wanted, int | Decimal):
        return _same_number(wanted, found)
    if not isinstance(wanted, str):
        return False
    if isinstance(found, str):
        return found == wanted or _moment(found) == _moment(wanted) is not None
    if isinstance(found, UUID):
        return str(found) == wanted
    if isinstance(found, bytes):
        return base64.b64encode(found).decode() == wanted
    return _same_moment(wanted, found)


def _same_number(wanted: int | Decimal, found: Any) -> bool:
    if isinstance(found, str):
        return Decimal(found) == wanted
    if isinstance(found, float):
        single = struct.unpack("f", struct.pack("f", float(wanted)))[0] if abs(wanted) < 1e38 else None
        return found in (float(wanted), single)
    return not isinstance(found, bool) and isinstance(found, int | Decimal) and found == wanted


def _moment(text: str) -> tuple[datetime, str] | None:
    """A moment in text with all of its seven digits, however many are written."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    fraction = text.partition(".")[2]
    digits = "".join(digit for digit in fraction[:7] if digit.isdigit())
    return moment, digits.rstrip("0")


def _ticks(text: str) -> int:
    """Ticks of a moment's own clock."""
    clock, _, rest = text.partition(".")
    digits = "".join(each for each in rest[:7] if each.isdigit())
    moment = datetime.fromisoformat(clock[:19])
    return (moment - datetime(1, 1, 1)) // timedelta(seconds=1) * 10_000_000 + int((digits or "0").ljust(7, "0"))


def _span_ticks(text: str) -> int:
    sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
    days, _, clock = text.partition(".") if "." in text.partition(":")[0] else ("0", "", text)
    whole, _, fraction = clock.partition(".")
    hours, minutes, seconds = map(int, whole.split(":"))
    total = ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    return sign * (total * 10_000_000 + int((fraction or "0").ljust(7, "0")))


def _same_moment(wanted: str, found: Any) -> bool:
    if isinstance(found, datetime):  # BSON: milliseconds, in UTC
        moment = datetime.fromisoformat(wanted)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000) == found
    if isinstance(found, dict):  # MongoDB's DateTimeOffset
        offset = datetime.fromisoformat(wanted).utcoffset()
        return found["Ticks"] == _ticks(wanted) and timedelta(minutes=found["Offset"]) == offset
    if isinstance(found, list):  # MessagePack's DateTimeOffset: the local clock, the offset in minutes
        clock, minutes = found
        moment = datetime.fromisoformat(wanted)
        return (
            clock.replace(tzinfo=None) == moment.replace(tzinfo=None)
            and timedelta(minutes=minutes) == moment.utcoffset()
        )
    if isinstance(found, int):  # MessagePack: ticks of a duration, or DateTime.ToBinary
        if "T" not in wanted:
            return found == _span_ticks(wanted)
        return found & ((1 << 62) - 1) == _ticks(wanted) and (found >> 62 & 3 == 1) == wanted.endswith("Z")
    return False
