"""Named values in a table of our own: what is said about them, as functions of a connection, a transaction each.

Names are escaped and hashed as ids are. What is kept in the values is not known here.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from fsstore.engine import Lease
from fsstore.engines.sql import leases
from fsstore.engines.sql.rows import escaped, hashed, unescaped
from fsstore.engines.sql.tables import checkpoints


def get(connection: Connection, name: str) -> bytes | None:
    """The value of `name`."""
    statement = select(checkpoints.c.Value).where(checkpoints.c.NameKey == hashed(name))
    value = connection.execute(statement).scalar_one_or_none()
    return None if value is None else bytes(value)


def put(connection: Connection, name: str, value: bytes, lease: Lease | None) -> None:
    """Replace the value, while `lease` is held. A key may be taken by somebody who was first: do it again."""
    if lease is not None:
        # The row's lock keeps the lease from changing hands until the value is stored.
        leases.keep(connection, lease)
    key = {"NameKey": hashed(name)}
    changed = connection.execute(update(checkpoints).where(checkpoints.c.NameKey == key["NameKey"]).values(Value=value))
    if not changed.rowcount and get(connection, name) is None:
        connection.execute(insert(checkpoints), {**key, "Name": escaped(name), "Value": value})


def forget(connection: Connection, name: str) -> None:
    """Forget the value."""
    connection.execute(delete(checkpoints).where(checkpoints.c.NameKey == hashed(name)))


def names(connection: Connection) -> list[str]:
    """All names with a value."""
    return sorted(unescaped(name) for name in connection.execute(select(checkpoints.c.Name)).scalars())
