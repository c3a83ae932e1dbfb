"""Checkpoint tokens: one row counts them, and its lock makes commits visible in their order.

An identity or sequence is taken before its transaction commits, so that a later number can become visible before an
earlier one, and who polls "after the last I saw" misses the earlier for ever. Here a transaction takes its tokens by
changing the one row of FsstoreStore. The database holds that row's lock until the transaction ends: nobody else gets
a token before. A transaction that is rolled back gives its tokens back. See docs/decisions/sql-tokens.md.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, UpdateBase, bindparam, func, select, update

from fsstore.engines.sql.tables import store

_taken: Any = store.c.LastToken + bindparam("count", type_=store.c.LastToken.type)
_take_returning: UpdateBase = update(store).values(LastToken=_taken).returning(store.c.LastToken)
_take_naming: UpdateBase = update(store).values(LastToken=func.last_insert_id(_taken))
_last = select(store.c.LastToken)

_NAME_LAST_ID = ("mysql", "mariadb")
"""Have no UPDATE … RETURNING, but tell the client what LAST_INSERT_ID(…) was set to."""


def take(connection: Connection, count: int) -> int:
    """The last of `count` tokens that are now this transaction's; with 0 it is only the lock."""
    if connection.dialect.name in _NAME_LAST_ID:
        return int(connection.execute(_take_naming, {"count": count}).lastrowid)
    return int(connection.execute(_take_returning, {"count": count}).scalar_one())


def lock(connection: Connection) -> None:
    """Only the lock, for a change that needs no token.

    On MySQL the row is changed and changed back. The nodes of a Galera cluster hold no locks on one another: of two
    transactions that changed the same row the later one fails, and a row that stays as it was is not compared.
    """
    for count in (1, -1) if connection.dialect.name in _NAME_LAST_ID else (0,):
        take(connection, count)


def last(connection: Connection) -> int:
    """The highest token that was given out, 0 before the first."""
    return int(connection.execute(_last).scalar_one())
