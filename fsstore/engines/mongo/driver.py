"""Carries conversations out with one of pymongo's clients, and lets nobody in after closing.

Every commit, read and mark passes through `run`. Nothing is known here of what is said, and `fsstore.engines.waiting`
knows who waits for the answers: a thread with the blocking client, a task with the awaiting one.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fsstore.engines.mongo.calls import Call, Conversation, Transaction
from fsstore.engines.mongo.failures import our_error
from fsstore.engines.mongo.opening import Connected
from fsstore.engines.under_way import UnderWay
from fsstore.engines.waiting import Waiting
from fsstore.errors import StorageUnavailableError, StoreClosedError

T = TypeVar("T")
# Longer than the minute after which a server ends the transaction of a client that is gone, and frees what it held.
_TRANSACTION_SECONDS = 75.0
_MAX_PAUSE_SECONDS = 0.1


class Driver:
    """One client and the collections of one store. Shared freely between those who wait as `waiting` does."""

    def __init__(self, connected: Connected, waiting: Waiting) -> None:
        self.roles = connected.roles
        self.closing = threading.Event()
        self._client = connected.client
        self._write_concern = connected.write_concern
        self._waiting = waiting
        self._process = os.getpid()
        self._closing = threading.Lock()
        self._under_way = UnderWay()

    def run(
        self,
        conversation: Conversation[T],
        *,
        writing: bool = False,
        turn: AbstractContextManager[object] | None = None,
    ) -> T:
        """The conversation's result. `writing`: a lost answer leaves it in doubt whether something was stored.
        `turn` is taken before; closing lets those finish who wait for it."""

        def said() -> T:
            with turn or nullcontext():
                try:
                    return self._converse(conversation, None)
                except PyMongoError as error:
                    raise our_error(error, writing=writing) from error

        return self.open(said)

    def open(self, function: Callable[[], T]) -> T:
        """The function's result; meanwhile the client is not closed."""
        return self._under_way.make(function, self.check)

    def check(self) -> None:
        """`StoreClosedError` once it is closed, and in a process that inherited it."""
        if self.closing.is_set():
            raise StoreClosedError("this MongoDB store is closed; open it again")
        if os.getpid() != self._process:
            raise StoreClosedError("this MongoDB store was opened before a fork; open it again in this process")

    def close(self, last_words: Conversation[None], let_go: Callable[[], None]) -> None:
        """Wait for what is running, say `last_words` and have `let_go` close what is open, then close the client. They
        go unheard when the server cannot be reached."""
        if os.getpid() != self._process:
            return
        with self._closing:
            if self.closing.is_set():
                return
            self.closing.set()
        self._under_way.wait(self._waiting.sleep)
        try:
            with suppress(PyMongoError):
                self._converse(last_words, None)
                let_go()
        finally:
            self._waiting.result(self._client.close())

    def _converse(self, conversation: Conversation[T], session: Any) -> T:
        try:
            said = next(conversation)
            while True:
                try:
                    answer = self._transact(said) if isinstance(said, Transaction) else self._ask(said, session)
                except PyMongoError as error:
                    said = conversation.throw(error)
                else:
                    said = conversation.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _ask(self, said: Call, session: Any) -> Any:
        options = said.options if session is None else {**said.options, "session": session}
        answer = self._waiting.result(getattr(self.roles[said.role], said.method)(*said.arguments, **options))
        return self._waiting.result(answer.to_list()) if said.documents else answer

    def _transact(self, said: Transaction) -> Any:
        until = time.monotonic() + _TRANSACTION_SECONDS
        pauses = _pauses()
        while True:
            with self._session() as session:
                try:
                    self._waiting.result(session.start_transaction(ReadConcern("snapshot"), self._write_concern))
                    answer = self._converse(said.conversation(), session)
                    self._settle(session, until)
                    return answer
                except PyMongoError as error:
                    if not error.has_error_label("TransientTransactionError"):
                        raise
                    if time.monotonic() > until:
                        raise StorageUnavailableError(
                            f"others were first for {_TRANSACTION_SECONDS:g} seconds, nothing was stored: {error}"
                        ) from error
            self._waiting.sleep(next(pauses))

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A session of the client; a transaction that is still open is aborted at its end."""
        session = self._client.start_session()
        try:
            yield session
        finally:
            self._waiting.result(session.end_session())

    def _settle(self, session: Any, until: float) -> None:
        """Commit, and when the answer was lost ask again: the server knows what became of it."""
        pauses = _pauses()
        while True:
            try:
                self._waiting.result(session.commit_transaction())
                return
            except PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult") or time.monotonic() > until:
                    raise
            self._waiting.sleep(next(pauses))


def _pauses() -> Iterator[float]:
    """Seconds to wait before trying again, longer each time and never the same for two writers."""
    longest_seconds = 0.001
    while True:
        yield random.uniform(0, longest_seconds)
        longest_seconds = min(2 * longest_seconds, _MAX_PAUSE_SECONDS)
