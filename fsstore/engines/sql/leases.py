"""Leases in a table of our own: what is said about them, as functions of a connection, a transaction each.

A lease's end is a time by the database's clock, so that hosts need not agree on theirs. Its row stays when it is
released, since fences only grow. Names are escaped and hashed as ids are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, literal, or_, select, update

from fsstore.engine import Lease
from fsstore.engines.sql.rows import escaped, hashed
from fsstore.engines.sql.tables import leases
from fsstore.errors import LeaseLostError

_EVER = 1e15  # seconds; a number that every clock's sum can take


def acquire(connection: Connection, name: str, holder: str, seconds: float, now: ColumnElement[float]) -> Lease | None:
    """The lease, or `None` while it is held. A key may be taken by somebody who was first: then it is held."""
    key = hashed(name)
    end = now + literal(min(seconds, _EVER))
    free = or_(leases.c.Holder.is_(None), leases.c.ExpiresAt <= now)
    taken = connection.execute(
        update(leases)
        .where(leases.c.NameKey == key, free)
        .values(Holder=holder, Fence=leases.c.Fence + 1, ExpiresAt=end)
    )
    fence = connection.execute(select(leases.c.Fence).where(leases.c.NameKey == key)).scalar_one_or_none()
    if fence is None:
        values: dict[str, Any] = {"NameKey": key, "Name": escaped(name), "Holder": holder, "Fence": 1}
        connection.execute(insert(leases).values(**values, ExpiresAt=end))
        return Lease(name, holder, 1)
    return Lease(name, holder, int(fence)) if taken.rowcount else None


def renew(connection: Connection, lease: Lease, seconds: float, now: ColumnElement[float]) -> None:
    """Hold it for so long from now, unless somebody else took it."""
    _hold(connection, lease, now + literal(min(seconds, _EVER)))


def release(connection: Connection, held: Iterable[Lease]) -> None:
    """Let others have those that are still held."""
    for lease in held:
        connection.execute(update(leases).where(_held(lease)).values(Holder=None, ExpiresAt=0.0))


def keep(connection: Connection, lease: Lease) -> None:
    """Hold it as long as it is held, and have its row locked until this transaction ends; `LeaseLostError`."""
    _hold(connection, lease, leases.c.ExpiresAt)


def _hold(connection: Connection, lease: Lease, end: Any) -> None:
    if not connection.execute(update(leases).where(_held(lease)).values(ExpiresAt=end)).rowcount:
        raise LeaseLostError(
            f"the lease of {lease.name!r} with fence {lease.fence} was released or taken by somebody else"
        )


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(leases.c.NameKey == hashed(lease.name), leases.c.Holder == lease.holder, leases.c.Fence == lease.fence)
