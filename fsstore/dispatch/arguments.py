"""What subscriptions, projections and dispatchers to a bus are called with. A wrong argument is a `TypeError` or
`ValueError` of the call.
"""

from __future__ import annotations

from collections.abc import Collection

from fsstore.dispatch.filters import Filter
from fsstore.model import checked_at_least, checked_id, checked_name, checked_seconds

MAX_NAME_CHARACTERS = 150
MAX_PARTITIONS = 10_000  # each has a lease and a position of its own
_LONGEST_TIMEOUT_SECONDS = 2_000_000.0  # in milliseconds, the most that every bus and its client can take


def checked_subscription(name: str) -> str:
    """`name` as a subscription's: 1 to 150 characters."""
    name = checked_name(name)
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a subscription's name has at most {MAX_NAME_CHARACTERS} characters, not {len(name)}")
    return name


def checked_filter(
    bucket_id: str | None, stream_prefix: str | None, event_types: Collection[type | str] = ()
) -> Filter:
    """What is wanted of a store's commits."""
    if bucket_id is not None:
        bucket_id = checked_id(bucket_id, "bucket_id")
    if stream_prefix is not None and not isinstance(stream_prefix, str):
        raise TypeError(f"stream_prefix must be a str or None, not {type(stream_prefix).__name__}")
    # A name alone is a collection, too: of letters.
    is_collection = isinstance(event_types, Collection) and not isinstance(event_types, str | type)
    if not is_collection or not all(isinstance(one, str | type) for one in event_types):
        raise TypeError(f"event_types must be a collection of classes and names, not {event_types!r}")
    return Filter(bucket_id, stream_prefix, tuple(event_types))


def check_reading(
    *,
    from_checkpoint: int = 0,
    partitions: int = 1,
    acknowledge_every: int = 1,
    timeout_seconds: float | None = None,
    lease_seconds: float = 0.0,
    standby_seconds: float = 0.0,
    auto_acknowledge: bool = True,
    bucket_id: str | None = None,
    stream_prefix: str | None = None,
    event_types: Collection[type | str] = (),
    **_others: object,
) -> None:
    """The options of a subscription."""
    checked_filter(bucket_id, stream_prefix, event_types)
    checked_at_least(from_checkpoint, 0, "from_checkpoint")
    if checked_at_least(partitions, 1, "partitions") > MAX_PARTITIONS:
        raise ValueError(f"partitions must be at most {MAX_PARTITIONS}, not {partitions}")
    checked_at_least(acknowledge_every, 1, "acknowledge_every")
    if timeout_seconds is not None:
        checked_seconds(timeout_seconds, "timeout_seconds")
    checked_seconds(lease_seconds, "lease_seconds")
    checked_seconds(standby_seconds, "standby_seconds")
    if not isinstance(auto_acknowledge, bool):
        raise TypeError(f"auto_acknowledge must be a bool, not {type(auto_acknowledge).__name__}")


def checked_timeout(value: float) -> float:
    """How long a broker is waited for."""
    return checked_seconds(value, "timeout_seconds", most=_LONGEST_TIMEOUT_SECONDS)
