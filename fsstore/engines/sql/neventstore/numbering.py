"""The order of a C# store's commits: the number that the database gave, or the place in the order of stamps.

Both walk a store in pages, each its own short statement, so that no cursor stays open between two commits that a
caller takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Executable, Row, Select, and_, func, or_, select

from fsstore.engines.sql.neventstore import cells
from fsstore.engines.sql.neventstore.rows import Rows

PAGE = 128
Ask = Callable[[Executable], list[Row[Any]]]
"""Executes a statement, and gives all of its rows."""
_Key = tuple[Any, ...]


class Numbering(Protocol):
    """Tokens of commits."""

    def walk(
        self, condition: ColumnElement[bool], keep: Callable[[Row[Any]], bool], after: int, to: int | None
    ) -> Iterator[tuple[Row[Any], int]]:
        """The rows under the condition that `keep` keeps, with their tokens, in the order of tokens: those after one
        up to and with the other."""
        ...

    def tokens(self, rows: Sequence[Row[Any]]) -> Sequence[int | None]:
        """Their tokens; `None` for a row that was deleted meanwhile."""
        ...


class Numbers:
    """The database's own numbers, with gaps where streams were deleted."""

    def __init__(self, ask: Ask, rows: Rows) -> None:
        self._ask = ask
        self._rows = rows

    def walk(
        self, condition: ColumnElement[bool], keep: Callable[[Row[Any]], bool], after: int, to: int | None
    ) -> Iterator[tuple[Row[Any], int]]:
        number = self._rows.generation.commits.c.checkpointnumber
        while True:
            statement = select(*self._rows.columns).where(condition, number > after).order_by(number).limit(PAGE)
            page = self._ask(statement if to is None else statement.where(number <= to))
            for row in page:
                if keep(row):
                    yield row, _number(row)
            if len(page) < PAGE:
                return
            after = _number(page[-1])

    def tokens(self, rows: Sequence[Row[Any]]) -> Sequence[int | None]:
        return [_number(row) for row in rows]


def _number(row: Row[Any]) -> int:
    return int(row._mapping["checkpointnumber"])


class Places:
    """Places in the order of stamps, from 1, for a library that gave no numbers.

    A commit never comes before an earlier one of its stream, even where a clock went back between them: what is
    read must be writable elsewhere in that order. Equal stamps are ordered by stream and sequence.
    """

    def __init__(self, ask: Ask, rows: Rows) -> None:
        self._ask = ask
        self._rows = rows
        # The state of the table, and the tokens in it: replaced in one, as threads share them.
        self._known: tuple[tuple[Any, ...], dict[_Key, int]] | None = None

    def walk(
        self, condition: ColumnElement[bool], keep: Callable[[Row[Any]], bool], after: int, to: int | None
    ) -> Iterator[tuple[Row[Any], int]]:
        tokens = self._read()
        found = (tokens.get(tuple(row)) for row in self._ask(self._keys().where(condition)))
        known = (token for token in found if token is not None)
        wanted = sorted(token for token in known if token > after and (to is None or token <= to))
        keys = {token: key for key, token in tokens.items()}
        for start in range(0, len(wanted), PAGE):
            page = wanted[start : start + PAGE]
            rows = self._fetch([keys[token] for token in page])
            for token in page:
                row = rows.get(keys[token])
                if row is not None and keep(row):  # a stream may have been deleted meanwhile
                    yield row, token

    def tokens(self, rows: Sequence[Row[Any]]) -> Sequence[int | None]:
        keys = [tuple(row._mapping[name] for name in self._key_names()) for row in rows]
        tokens = self._read()
        if not tokens.keys() >= set(keys):
            self._known = None
            tokens = self._read()
        return [tokens.get(key) for key in keys]

    def _key_names(self) -> tuple[str, ...]:
        names = ("streamid", "commitsequence")
        return ("bucketid", *names) if self._rows.generation.has_buckets else names

    def _keys(self) -> Select[Any]:
        return select(*(self._rows.generation.commits.c[name].label(name) for name in self._key_names()))

    def _read(self) -> dict[_Key, int]:
        """The token of every commit, read anew when the table has become another."""
        table = self._rows.generation.commits
        (row,) = self._ask(select(func.count(), func.max(table.c.commitstamp)).select_from(table))
        state = tuple(row)
        known = self._known
        if known is not None and known[0] == state:
            return known[1]
        found = self._ask(self._keys().add_columns(table.c.commitstamp.label("commitstamp")))
        ordered = []
        latest: dict[_Key, int] = {}
        for row in sorted(found, key=lambda row: int(row._mapping["commitsequence"])):
            cell = row._mapping
            key = tuple(cell[name] for name in self._key_names())
            stream = key[:-1]
            latest[stream] = max(cells.read_ticks(cell["commitstamp"]), latest.get(stream, 0))
            ordered.append((latest[stream], tuple(map(str, stream)), int(key[-1]), key))
        ordered.sort(key=lambda each: each[:3])
        tokens = {each[3]: place for place, each in enumerate(ordered, start=1)}
        self._known = state, tokens
        return tokens

    def _fetch(self, keys: list[_Key]) -> dict[_Key, Row[Any]]:
        columns = [self._rows.generation.commits.c[name] for name in self._key_names()]
        each = (and_(*(column == cell for column, cell in zip(columns, key, strict=True))) for key in keys)
        rows = self._ask(select(*self._rows.columns).where(or_(*each)))
        return {tuple(row._mapping[name] for name in self._key_names()): row for row in rows}
