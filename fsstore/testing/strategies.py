"""Hypothesis strategies for everything a caller may hand to a store.

All values they make are valid by the public contract: an engine that refuses one is wrong. They know the
values of `fsstore.model` and nothing of engines.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from fsstore.model import DEFAULT_BUCKET, MAX_ID_CHARACTERS, CommitAttempt, EventMessage

AWKWARD_IDS = (
    ".",
    "..",
    "../../etc/passwd",
    "/absolute/path",
    "a/b\\c",
    "trailing/",
    "dot.",
    " ",
    " leading and trailing ",
    "line\nbreak\ttab",
    "nul\x00inside",
    "\x00",
    "Order",
    "order",
    "ORDER",
    "order ",
    "%2e%2e",
    "con",
    "-rf",
    "*?[a]{b}$~",
    "'; DROP TABLE Commits; --",
    "\u00e7a va",  # composed and decomposed: two ids
    "c\u0327a va",
    "stra\u00dfe",
    "STRASSE",
    "\U0001f469\u200d\U0001f680",
    "\ufeffbyte order mark",
    "\uffff",
    "\U0010ffff",
    "x" * MAX_ID_CHARACTERS,
    "\U0001f600" * MAX_ID_CHARACTERS,
    "1e64aa4a-1c88-4b7b-9ea3-3b8a2dc71ec0",
    "1E64AA4A-1C88-4B7B-9EA3-3B8A2DC71EC0",
)
"""Ids that have broken file systems, databases and escaping somewhere; all are valid, all different."""


def ids() -> st.SearchStrategy[str]:
    """Stream and bucket ids: any Unicode of 1 to 1,000 characters, the awkward ones often."""
    return st.one_of(st.sampled_from(AWKWARD_IDS), st.text(min_size=1, max_size=MAX_ID_CHARACTERS))


def commit_ids() -> st.SearchStrategy[UUID]:
    """Any UUID but the empty one."""
    return st.one_of(st.uuids(), st.sampled_from([UUID(int=1), UUID(int=2**127), UUID(int=2**128 - 1)]))


def stamps() -> st.SearchStrategy[datetime]:
    """Aware times of the years 2 to 9998 to the microsecond, in UTC and at other offsets."""
    offsets = st.integers(min_value=-23 * 60, max_value=23 * 60).map(
        lambda minutes: timezone(timedelta(minutes=minutes))
    )
    return st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 12, 31),
        timezones=st.one_of(st.just(UTC), offsets),
    )


def scalars() -> st.SearchStrategy[Any]:
    """Every plain type that comes back equal and of the same type, without containers."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**40, -(10**40)]),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
        stamps(),
        st.dates(),
        st.uuids(),
        st.decimals(allow_nan=False, allow_infinity=False),
    )


def values() -> st.SearchStrategy[Any]:
    """Plain data: scalars, and lists and dictionaries with text keys of them."""
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )


def bodies() -> st.SearchStrategy[Any]:
    """What an event may carry: plain data, not `None` itself."""
    return values().filter(lambda value: value is not None)


def headers() -> st.SearchStrategy[dict[str, Any]]:
    """Headers of events and commits, often empty."""
    return st.one_of(st.just({}), st.dictionaries(st.text(), values(), max_size=4))


def events() -> st.SearchStrategy[EventMessage]:
    """Event messages of any body and headers."""
    return st.builds(EventMessage, bodies(), headers())


def first_attempts(
    stream_ids: st.SearchStrategy[str] | None = None, bucket_ids: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[CommitAttempt]:
    """Attempts that begin a stream."""

    def attempt(
        *,
        stream_id: str,
        bucket_id: str,
        commit_id: UUID,
        stamp: datetime,
        commit_headers: dict[str, Any],
        messages: list[EventMessage],
    ) -> CommitAttempt:
        return CommitAttempt(stream_id, len(messages), commit_id, 1, stamp, commit_headers, tuple(messages), bucket_id)

    return st.builds(
        attempt,
        stream_id=stream_ids or ids(),
        bucket_id=bucket_ids or st.one_of(st.just(DEFAULT_BUCKET), ids()),
        commit_id=commit_ids(),
        stamp=stamps(),
        commit_headers=headers(),
        messages=st.lists(events(), min_size=1, max_size=4),
    )


EXAMPLE_VALUES: tuple[Any, ...] = (
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63 - 1,
    -(2**63),
    2**64,
    -(2**200),
    0.0,
    0.1,
    -1e308,
    float("inf"),
    "",
    "text",
    "\x00",
    "\U0001f600",
    b"",
    b"\x00\xff",
    Decimal("1.10"),
    Decimal("-0"),
    Decimal("1E+400"),
    date(1, 1, 1),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(2024, 6, 1, 8, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    UUID("1e64aa4a-1c88-4b7b-9ea3-3b8a2dc71ec0"),
    [],
    [1, [2, [None]]],
    {},
    {"": {"nested": [{"deep": None}]}},
    {"type": "x", "$type": "y", "__type__": "z", "_t": "w"},
)
"""One value or more of every plain type, on the edges where encodings change their form."""


class _Text(str):
    __slots__ = ()


class _Number(int):
    pass


class _Colour(enum.StrEnum):
    RED = "red"


class _Pair(NamedTuple):
    left: int
    right: int


UNLIKELY_VALUES: tuple[Any, ...] = (
    bytearray(b"x"),
    memoryview(b"x"),
    (1, (2, ())),
    _Pair(1, 2),
    {1, 2},
    frozenset({1}),
    _Text("x"),
    _Number(1),
    _Colour.RED,
    OrderedDict(a=1),
    defaultdict(list, a=[1]),
    deque([1]),
    datetime(2024, 1, 1),
    time(1, 2),
    timedelta(1),
    1j,
    {1: "a", 2**70: "b", None: "c", 1.5: "d", b"e": "f"},
    {(1, 2): "a"},
)
"""What an engine may take or refuse; where it takes one, that comes back."""


def same(left: Any, right: Any) -> bool:
    """Equal and of the same types all the way down (`1 == True == 1.0` is not enough)."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, EventMessage):
        return same(left.body, right.body) and same(left.headers, right.headers)
    if isinstance(left, Decimal | float):
        return str(left) == str(right)
    return bool(left == right)
