"""What subscriptions and projections are called with. A wrong argument is a `TypeError` or `ValueError` of the call."""

from __future__ import annotations

from fsstore.model import checked_int, checked_name

MAX_NAME_CHARACTERS = 150


def checked_subscription(name: str) -> str:
    """`name` as a subscription's: 1 to 150 characters."""
    name = checked_name(name)
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a subscription's name has at most {MAX_NAME_CHARACTERS} characters, not {len(name)}")
    return name


def checked_at_least(value: int, least: int, what: str) -> int:
    """`value`, a number of something or a checkpoint token."""
    if checked_int(value, what) < least:
        raise ValueError(f"{what} must be at least {least}, not {value}")
    return value


def checked_timeout(value: float | None) -> float | None:
    """How long to wait; `None` is for ever."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"timeout_seconds must be a number or None, not {type(value).__name__}")
    # Put this way round, it refuses NaN too.
    if not value >= 0:
        raise ValueError(f"timeout_seconds must be at least 0, not {value}")
    return value


def check_reading(
    *,
    from_checkpoint: int = 0,
    partitions: int = 1,
    acknowledge_every: int = 1,
    timeout_seconds: float | None = None,
    **_others: object,
) -> None:
    """The options of a subscription that must be numbers of a certain size."""
    checked_at_least(from_checkpoint, 0, "from_checkpoint")
    checked_at_least(partitions, 1, "partitions")
    checked_at_least(acknowledge_every, 1, "acknowledge_every")
    checked_timeout(timeout_seconds)
