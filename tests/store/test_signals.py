"""A signal's handler runs in the main thread, between any two steps of what that does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from fsstore import EventStore, PersistenceEngine, StoreClosedError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.testing import fill, first_attempt

Handle = Callable[[Callable[[], object]], None]


@pytest.fixture
def handle() -> Iterator[Handle]:
    """Have a signal's handler do it."""
    before = signal.getsignal(signal.SIGUSR1)

    def set_handler(act: Callable[[], object]) -> None:
        def handler(number: int, frame: FrameType | None) -> None:
            act()

        signal.signal(signal.SIGUSR1, handler)

    yield set_handler
    signal.signal(signal.SIGUSR1, before)


class Signalling(RealDisk):
    """Sends the signal in the next flush."""

    armed = False

    def flush(self, handle: int) -> None:
        if self.armed and threading.current_thread() is threading.main_thread():
            self.armed = False
            signal.raise_signal(signal.SIGUSR1)
        super().flush(handle)


def file_engine(path: Path) -> tuple[PersistenceEngine, Callable[[], None]]:
    disk = Signalling(str(path / "a.store"))
    return FileEngine(path / "a.store", disk=disk), lambda: setattr(disk, "armed", True)


def sqlite_engine(path: Path) -> tuple[PersistenceEngine, Callable[[], None]]:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    from fsstore.engines.sql.engine import SqlEngine

    engine = SqlEngine(f"sqlite:///{path}/a.db")

    def arm() -> None:
        def committing(connection: object) -> None:
            signal.raise_signal(signal.SIGUSR1)

        sqlalchemy.event.listen(engine.sqlalchemy_engine, "commit", committing, once=True)

    return engine, arm


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [file_engine, sqlite_engine])
def test_a_handler_may_close_the_store_whose_commit_it_interrupts(
    make: Callable[[Path], tuple[PersistenceEngine, Callable[[], None]]], tmp_path: Path, handle: Handle
) -> None:
    engine, arm = make(tmp_path)
    engine.initialize()
    store = EventStore(engine)
    handle(store.close)
    fill(engine, "a")
    arm()
    commit = store.commit(first_attempt("interrupted"))
    assert commit is not None
    for thread in threading.enumerate():
        if thread.name == "fsstore closing":
            thread.join()
    with pytest.raises(StoreClosedError):
        store.commit(first_attempt("behind"))
    with pytest.raises(StoreClosedError):
        engine.commit(first_attempt("behind"))
    again, _ = make(tmp_path)
    again.initialize()
    assert [each.stream_id for each in again.get_from_checkpoint()] == ["a", "interrupted"]
    again.close()
