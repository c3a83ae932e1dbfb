"""Projections: a state folded from commits and stored together with its checkpoint, so that each counts exactly once.

The state lives in the store, as one named value, or in an SQLite database, in tables of the caller's own. Both go
forward in batches, each stored in one step with the place it has come to.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fsstore.dispatch.arguments import checked_filter, checked_subscription
from fsstore.dispatch.following import Follower, head_token
from fsstore.dispatch.positions import delivering
from fsstore.dispatch.turns import KeptTurn, Turn
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import CorruptionError, LeaseLostError, SerializationError, StoreClosedError
from fsstore.model import Commit, checked_at_least
from fsstore.options import check_options, keywords_of
from fsstore.serialization import MsgpackSerializer, Serializer

if TYPE_CHECKING:
    import sqlite3

S = TypeVar("S")
Progress = Callable[[int, int], object]
_log = logging.getLogger("fsstore.dispatch")
_LOOK_SECONDS = 0.25


class _Projection:
    """What both kinds do alike: go forward until nothing is left, then wait. One thread's."""

    position = 0

    def __init__(
        self,
        engine: PersistenceEngine,
        name: str,
        select: Callable[[Commit], Commit | None],
        bucket_id: str | None,
        stream_prefix: str | None,
        batch: int,
    ) -> None:
        self._engine = engine
        self.name = checked_subscription(name)
        self._select = select
        self._filter = checked_filter(bucket_id, stream_prefix)
        self._batch = min(checked_at_least(batch, 1, "batch"), sys.maxsize)  # what `islice` counts to
        self._stopping = threading.Event()

    @classmethod
    def check(cls, options: Iterable[str]) -> None:
        """`TypeError` for an option that the store's call has not."""
        check_options("a projection", options, keywords_of(cls) - {"select"})  # that is for the store's hooks

    def catch_up(self, progress: Progress | None = None) -> None:
        """Fold everything that is committed by now. `progress` is called with the token reached and the last one."""
        head = head_token(self._engine) if progress is not None else 0
        is_over = False
        while not is_over:
            try:
                with self._exclusively():
                    while not self._stopping.is_set() and self._advance():
                        if progress is not None:
                            progress(self.position, max(head, self.position))
                is_over = True
            except LeaseLostError as error:
                _log.warning("projection %r goes on from where another process is by now: %s", self.name, error)

    def rebuild(self, progress: Progress | None = None) -> None:
        """Begin anew from the first commit, also where what is stored cannot be read."""
        self._forget()
        self.catch_up(progress)

    def follow(self) -> None:
        """Fold what is committed, by whatever process, until this or the store is closed."""
        follower = Follower(self._engine, self._stopping)
        with suppress(StoreClosedError):
            # An engine that cannot be waited for is looked at.
            seconds = float("inf") if isinstance(self._engine, DeliveryEngine) else _LOOK_SECONDS
            while not self._stopping.is_set():
                before = self.position
                self.catch_up()
                if self.position > before:
                    follower.found()
                follower.wait(self.position, timeout_seconds=seconds)

    def close(self) -> None:
        """End `follow()`, soon; what is folded is stored."""
        self._stopping.set()

    def _next_commits(self) -> list[Commit]:
        return list(islice(self._engine.get_from_checkpoint(self.position), self._batch))

    def _wanted(self, commits: list[Commit]) -> Iterator[Commit]:
        for commit in commits:
            selected = self._select(commit) if self._filter.takes(commit) else None
            if selected is not None:
                yield selected

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        yield

    def _advance(self) -> bool:
        """Fold and store one batch; whether there was one."""
        raise NotImplementedError

    def _forget(self) -> None:
        raise NotImplementedError


class StoreProjection(_Projection, Generic[S]):
    """`fold(state, commit)` gives the next state, beginning with what `initial()` makes.

    The state is kept in the store under the name, in the form of the store's serializer unless another is given, at
    most 1,000,000 bytes of it. One process folds at a time; `catch_up` waits for its turn.
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        name: str,
        fold: Callable[[S, Commit], S],
        initial: Callable[[], S],
        *,
        select: Callable[[Commit], Commit | None] = lambda commit: commit,
        bucket_id: str | None = None,
        stream_prefix: str | None = None,
        batch: int = 500,
        serializer: Serializer | None = None,
    ) -> None:
        super().__init__(engine, name, select, bucket_id, stream_prefix, batch)
        self._delivery = delivering(engine)
        self._fold = fold
        self._initial = initial
        if serializer is None:
            serializer = getattr(engine, "serializer", None)
        self._serializer: Serializer = serializer if serializer is not None else MsgpackSerializer()
        self._key = f"projection/{self.name}"
        self._turn: Turn = KeptTurn(engine, self._key)
        self._state: S = initial()
        self._unreadable: Exception | None = None
        try:
            self.load()
        except (CorruptionError, SerializationError) as error:
            self._unreadable = error  # said where the state is asked for, so that it can be rebuilt

    @property
    def state(self) -> S:
        """The state as far as this object has folded or loaded it; `CorruptionError` or `SerializationError` where what
        is stored cannot be read."""
        if self._unreadable is not None:
            raise self._unreadable
        return self._state

    def load(self) -> S:
        """Take in what is stored, by whatever process, and give it."""
        value = self._delivery.get_checkpoint(self._key)
        try:
            stored: Any = [0, self._initial()] if value is None else self._serializer.loads(value)
        except SerializationError as error:
            raise SerializationError(
                f"what is stored as projection {self.name!r} cannot be read: {error}; rebuild() makes it anew",
                error.path,
            ) from error
        match stored:
            case [int(position), state]:
                self.position, self._state, self._unreadable = position, state, None
                return self._state
        raise CorruptionError(
            f"what is stored as projection {self.name!r} is no position and state", repair="rebuild the projection"
        )

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._in_turn():
            try:
                self.load()
                yield
            except BaseException:
                # A fold that failed may have changed the state in place.
                self.load()
                raise

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        while not self._turn.take():
            if self._stopping.wait(self._turn.pause_seconds):
                raise StoreClosedError(f"projection {self.name!r} was closed before it was its turn")
        try:
            yield
        finally:
            self._turn.give_back()

    def _advance(self) -> bool:
        commits = self._next_commits()
        for commit in self._wanted(commits):
            self._turn.keep()
            self._state = self._fold(self._state, commit)
        if commits:
            self._turn.keep()
            self._store(commits[-1].checkpoint_token)
        return bool(commits)

    def _store(self, position: int) -> None:
        try:
            value = self._serializer.dumps([position, self._state])
        except SerializationError as error:
            raise SerializationError(
                f"the state of projection {self.name!r} cannot be written: {error}", error.path
            ) from error
        self._delivery.put_checkpoint(self._key, value, lease=self._turn.lease)
        self.position = position

    def _forget(self) -> None:
        with self._in_turn():
            self._state, self._unreadable = self._initial(), None
            self._store(0)


class SqliteProjection(_Projection):
    """`apply(connection, commit)` changes tables of the caller's own; it must not commit or roll back, as
    `with connection:` and `executescript` do: then it is a `ValueError`.

    Each batch is one transaction of `connection`, which also moves the projection's row in the table
    `fsstore_projections`; a connection that is in a transaction already is a `ValueError`. Several processes may fold
    into one database: each begins where the others are.
    `clear(connection)` empties the tables when it is rebuilt.
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        name: str,
        connection: sqlite3.Connection,
        apply: Callable[[sqlite3.Connection, Commit], object],
        *,
        clear: Callable[[sqlite3.Connection], object] | None = None,
        select: Callable[[Commit], Commit | None] = lambda commit: commit,
        bucket_id: str | None = None,
        stream_prefix: str | None = None,
        batch: int = 500,
    ) -> None:
        super().__init__(engine, name, select, bucket_id, stream_prefix, batch)
        self._connection = connection
        self._apply = apply
        self._clear = clear
        with self._transaction():
            connection.execute(
                "CREATE TABLE IF NOT EXISTS fsstore_projections "
                "(name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID"
            )
            self.position = self._stored_position()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._connection.in_transaction:
            raise ValueError(
                f"projection {self.name!r}: its connection is in a transaction: commit it or roll it back before, and "
                "open it without autocommit=False"
            )
        # Immediately: two processes must not both read the place and then both fold what follows it.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Also what readers kept from being committed; some errors have rolled it back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _check_transaction(self, what: str) -> None:
        if not self._connection.in_transaction:
            raise ValueError(
                f"projection {self.name!r}: {what} ended the transaction, in which its changes and the place are "
                "stored together: let it neither commit nor roll back, nor enter `with connection:`"
            )

    def _stored_position(self) -> int:
        row: Any = self._connection.execute(
            "SELECT position FROM fsstore_projections WHERE name = ?", (self.name,)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def _advance(self) -> bool:
        with self._transaction():
            self.position = self._stored_position()
            commits = self._next_commits()
            for commit in self._wanted(commits):
                self._apply(self._connection, commit)
                self._check_transaction("apply")
            if commits:
                self._move_to(commits[-1].checkpoint_token)
        if commits:
            self.position = commits[-1].checkpoint_token
        return bool(commits)

    def _move_to(self, position: int) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO fsstore_projections (name, position) VALUES (?, ?)",
            (self.name, position),
        )

    def _forget(self) -> None:
        if self._clear is None:
            raise ValueError(f"projection {self.name!r} was made without clear=, so it cannot be rebuilt")
        with self._transaction():
            self._clear(self._connection)
            self._check_transaction("clear")
            self._move_to(0)
        self.position = 0
