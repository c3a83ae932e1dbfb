"""Several stores on one place deliver as one: turns, taking over, leases that run out, and what damage does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from receivers import QUICK, Receiver, wait_for

from fsstore import Commit, DispatchError, EventStore, LeaseLostError, Wireup
from fsstore.dispatch import (
    AsynchronousDispatchScheduler,
    Subscription,
    SynchronousDispatchScheduler,
    published_health,
)
from fsstore.dispatch.turns import KeptTurn
from fsstore.engine import Lease
from fsstore.engines import engine_for
from fsstore.engines.file.values.slots import SLOT_BYTES
from fsstore.engines.memory import MemoryEngine
from fsstore.errors import StorageUnavailableError
from fsstore.testing import fill, first_attempt, next_attempt

Open = Callable[[Receiver, bool], EventStore]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def opened(place: Path) -> Iterator[Open]:
    """Opens another store on the place, that delivers to the receiver, synchronously or not."""
    with ExitStack() as stack:

        def open_store(receiver: Receiver, synchronous: bool) -> EventStore:
            wireup = Wireup.init().using(place).dispatch_to(receiver)
            if synchronous:
                wireup.using_synchronous_dispatch_scheduler(retry=QUICK)
            else:
                wireup.using_asynchronous_dispatch_scheduler(retry=QUICK)
            return stack.enter_context(wireup.build())

        yield open_store


def commit_in_turns(store: EventStore, stream_id: str, count: int, check: Callable[[Commit], None]) -> None:
    commit = store.commit(first_attempt(stream_id))
    for _ in range(count - 1):
        assert commit is not None
        check(commit)
        commit = store.commit(next_attempt(commit))


@pytest.mark.parametrize("first_synchronous", [True, False])
def test_a_synchronous_commit_returns_when_anybody_has_delivered_it(opened: Open, first_synchronous: bool) -> None:
    receiver = Receiver()  # one list for all, in which the order shows
    first, second = opened(receiver, first_synchronous), opened(receiver, True)

    def delivered(commit: Commit) -> None:
        assert commit.checkpoint_token in receiver.tokens

    def ignore(commit: Commit) -> None: ...

    threads = [
        threading.Thread(target=commit_in_turns, args=(first, "a", 15, delivered if first_synchronous else ignore)),
        threading.Thread(target=commit_in_turns, args=(second, "b", 15, delivered)),
        threading.Thread(target=commit_in_turns, args=(second, "c", 15, delivered)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(receiver.tokens) == 45)
    assert receiver.tokens == list(range(1, 46))


def test_a_synchronous_commit_does_not_wait_for_one_that_another_cannot_deliver(opened: Open) -> None:
    receiver = Receiver()
    receiver.failures = {1: 1_000_000}
    first = opened(receiver, False)
    first.commit(first_attempt("a"))
    wait_for(lambda: published_health(first.advanced).stopped)
    second = opened(receiver, True)
    with pytest.raises(DispatchError, match=r"is stored.*stands at checkpoint 1.*cannot take 1"):
        second.commit(first_attempt("b"))


def test_one_that_stands_by_goes_on_where_the_other_ended(opened: Open) -> None:
    mine, theirs = Receiver(), Receiver()
    first = opened(mine, False)
    fill(first.advanced, "a", commits=3)
    wait_for(lambda: mine.tokens == [1, 2, 3])
    second = opened(theirs, False)
    fill(second.advanced, "b", commits=3)
    wait_for(lambda: mine.tokens == [1, 2, 3, 4, 5, 6])
    first.close()
    fill(second.advanced, "c", commits=3)
    wait_for(lambda: theirs.tokens == [7, 8, 9])


class Slow:
    """Takes longer than its lease lasts when that is so of what was delivered."""

    def __init__(self, delivered: list[int], seconds: float, when: Callable[[list[int]], bool]) -> None:
        self._delivered = delivered
        self._seconds = seconds
        self._when = when

    def dispatch(self, commit: Commit) -> None:
        self._delivered.append(commit.checkpoint_token)
        if self._when(self._delivered):
            time.sleep(self._seconds)

    def close(self) -> None: ...


def test_who_lost_its_lease_stops_and_the_other_leaves_no_gap() -> None:
    engine = MemoryEngine()
    engine.initialize()
    delivered: list[int] = []
    slow = Slow(delivered, 0.06, lambda tokens: tokens[-1] % 5 == 0)
    schedulers = [
        AsynchronousDispatchScheduler(engine, slow, lease_seconds=0.03, standby_seconds=0.005) for _ in range(2)
    ]
    for scheduler in schedulers:
        scheduler.start()
    fill(engine, "a", commits=20)
    wait_for(lambda: next(engine.get_undispatched_commits(), None) is None)
    for scheduler in schedulers:
        scheduler.close()
    assert list(dict.fromkeys(delivered)) == list(range(1, 21))
    engine.close()


def start_and_wait(scheduler: AsynchronousDispatchScheduler | SynchronousDispatchScheduler, last: Commit) -> None:
    scheduler.start()
    scheduler.committed(last)


@pytest.mark.parametrize("kind", [AsynchronousDispatchScheduler, SynchronousDispatchScheduler])
def test_a_dispatcher_slower_than_its_lease_keeps_its_turn(
    kind: type[AsynchronousDispatchScheduler | SynchronousDispatchScheduler], tmp_path: Path
) -> None:
    engines = [engine_for(f"sqlite:///{tmp_path}/s.db") for _ in range(2)]
    delivered: list[int] = []
    slow = Slow(delivered, 3.0, lambda tokens: tokens[-1] == 2)
    for engine in engines:
        engine.initialize()
    commits = fill(engines[0], "a", commits=4)
    schedulers = [kind(engine, slow, lease_seconds=1.5) for engine in engines]
    threads = [threading.Thread(target=start_and_wait, args=(scheduler, commits[-1])) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    wait_for(lambda: next(engines[0].get_undispatched_commits(), None) is None)
    for thread in threads:
        thread.join()
    for scheduler, engine in zip(schedulers, engines, strict=True):
        scheduler.close()
        engine.close()
    assert delivered == [1, 2, 3, 4]
    wait_for(lambda: "fsstore turn" not in {thread.name for thread in threading.enumerate()})


def test_a_turn_that_another_took_all_the_same_is_not_asked_for_again_until_it_is_kept() -> None:
    class Engine(MemoryEngine):
        renewals = 0

        def renew_lease(self, lease: Lease, seconds: float) -> None:
            self.renewals += 1
            raise LeaseLostError("somebody else has it")

    engine = Engine()
    engine.initialize()
    turn = KeptTurn(engine, "name", lease_seconds=0.03)
    assert turn.take()
    wait_for(lambda: engine.renewals)
    time.sleep(0.05)
    assert engine.renewals == 1
    with pytest.raises(LeaseLostError):
        turn.keep()
    turn.give_back()


def test_a_turn_that_runs_out_is_asked_for_less_often_the_longer_another_has_it() -> None:
    class Engine(MemoryEngine):
        asked = 0

        def acquire_lease(self, name: str, seconds: float) -> Lease | None:
            self.asked += 1
            return super().acquire_lease(name, seconds)

    engine = Engine()
    engine.initialize()
    receiver = Receiver()
    assert engine.acquire_lease("dispatcher/default", 1.5)
    scheduler = AsynchronousDispatchScheduler(engine, receiver)
    scheduler.start()
    fill(engine, "a")
    wait_for(lambda: receiver.tokens == [1])
    assert engine.asked <= 15
    scheduler.close()
    engine.close()


def test_a_subscriber_that_lost_its_lease_is_told_and_can_begin_anew() -> None:
    with Wireup.init().using_in_memory_persistence().build() as store:
        fill(store.advanced, "a", commits=3)
        slow = Subscription(store.advanced, "audit", lease_seconds=0.01, standby_seconds=0.001)
        assert next(slow).checkpoint_token == 1
        time.sleep(0.02)
        with Subscription(store.advanced, "audit", timeout_seconds=1.0) as other:
            assert next(other).checkpoint_token == 1
            with pytest.raises(LeaseLostError):
                next(slow)
            assert next(other).checkpoint_token == 2
        assert next(slow).checkpoint_token == 2
        slow.close()


def test_a_subscriber_that_lost_its_lease_moves_the_position_no_more() -> None:
    with Wireup.init().using_in_memory_persistence().build() as store:
        fill(store.advanced, "a", commits=3)
        slow = Subscription(store.advanced, "audit", lease_seconds=0.01, standby_seconds=0.001, timeout_seconds=0)
        assert next(slow).checkpoint_token == 1
        time.sleep(0.02)
        with Subscription(store.advanced, "audit", timeout_seconds=0) as other:
            assert len(list(other)) == 3
            with pytest.raises(LeaseLostError):
                next(slow)
            assert next(slow, None) is None
            assert store.subscriptions.all()[0].position == 3
        slow.close()


def test_a_subscriber_whose_lease_cannot_be_renewed_now_misses_nothing() -> None:
    class Engine(MemoryEngine):
        is_away = False

        def renew_lease(self, lease: Lease, seconds: float) -> None:
            if self.is_away:
                raise StorageUnavailableError("the database is away")
            super().renew_lease(lease, seconds)

    engine = Engine()
    engine.initialize()
    fill(engine, "a", commits=3)
    with Subscription(engine, "audit", lease_seconds=0.003, timeout_seconds=0) as subscription:
        assert next(subscription).checkpoint_token == 1
        time.sleep(0.002)
        engine.is_away = True
        with pytest.raises(StorageUnavailableError):
            next(subscription)
        engine.is_away = False
        assert [commit.checkpoint_token for commit in subscription] == [2, 3]


def test_a_synchronous_commit_waits_on_where_its_turn_was_lost() -> None:
    engine = MemoryEngine()
    engine.initialize()
    delivered: list[int] = []
    slow = Slow(delivered, 0.3, lambda tokens: len(tokens) == 1)
    fill(engine, "a", commits=2)
    schedulers = [SynchronousDispatchScheduler(engine, slow, lease_seconds=0.1) for _ in range(2)]
    failed: list[Exception] = []

    def commit(scheduler: SynchronousDispatchScheduler, stream_id: str) -> None:
        try:
            scheduler.committed(engine.commit(first_attempt(stream_id)))
        except DispatchError as error:
            failed.append(error)

    for scheduler in schedulers:
        scheduler._started = True  # without delivering what is left
    threads = [
        threading.Thread(target=commit, args=(scheduler, stream_id))
        for scheduler, stream_id in zip(schedulers, "bc", strict=True)
    ]
    for thread in threads:
        thread.start()
        wait_for(lambda: delivered)
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(dict.fromkeys(delivered)) == [1, 2, 3, 4]


def test_a_commit_that_is_delivered_is_said_to_be_though_the_turn_cannot_be_given_back() -> None:
    class Engine(MemoryEngine):
        def release_lease(self, lease: Lease) -> None:
            super().release_lease(lease)
            raise StorageUnavailableError("the database is away")

    receiver = Receiver()
    engine = Engine()
    with Wireup.init().using_engine(engine).using_synchronous_dispatch_scheduler(receiver).build() as store:
        for token in (1, 2):
            assert store.commit(first_attempt(f"stream {token}"))
            assert receiver.tokens[-1] == token


def test_what_one_said_of_its_failures_ends_when_another_delivers(opened: Open) -> None:
    failing, well = Receiver(), Receiver()
    first, second = opened(failing, True), opened(well, True)
    second.commit(first_attempt("a"))
    failing.failures = {2: 1_000_000}
    with pytest.raises(DispatchError):
        first.commit(first_attempt("b"))
    assert published_health(second.advanced).failing_token == 2
    second.commit(first_attempt("c"))
    assert well.tokens == [1, 2, 3]
    assert published_health(first.advanced).ok


def damage(file: Path, *slots: int) -> None:
    data = bytearray(file.read_bytes())
    for slot in slots:
        data[slot * SLOT_BYTES + 5] ^= 0x10
    file.write_bytes(data)


@pytest.mark.parametrize("slots", [(0,), (1,), (0, 1)])
def test_damaged_dispatch_marks_lead_to_delivering_again_and_never_to_a_gap(
    opened: Open, place: Path, slots: tuple[int, ...]
) -> None:
    with Wireup.init().using(place).dispatch_to(Receiver()).build() as store:
        for number in range(5):
            store.commit(first_attempt(f"s{number}"))
    damage(place / "dispatch" / "default.checkpoint", *slots)
    receiver = Receiver()
    opened(receiver, True).commit(first_attempt("last"))
    assert receiver.tokens == list(range(receiver.tokens[0], 7))
    if slots == (0, 1):
        assert receiver.tokens[0] == 1


@pytest.mark.parametrize("slots", [(0,), (1,), (0, 1)])
def test_a_damaged_position_leads_to_reading_again_and_never_to_a_gap(place: Path, slots: tuple[int, ...]) -> None:
    with Wireup.init().using(place).build() as store:
        fill(store.advanced, "a", commits=5)
        with store.subscribe("audit", timeout_seconds=0) as subscription:
            assert len(list(subscription)) == 5
        (file,) = (place / "dispatch").glob("*.value")
        damage(file, *slots)
        fill(store.advanced, "b")
        with store.subscribe("audit", timeout_seconds=0) as subscription:
            got = [commit.checkpoint_token for commit in subscription]
    assert got == list(range(got[0], 7))
    if slots == (0, 1):
        assert got[0] == 1


def test_a_lost_file_of_marks_leads_to_delivering_everything_again(opened: Open, place: Path) -> None:
    with Wireup.init().using(place).dispatch_to(Receiver()).build() as store:
        store.commit(first_attempt("a"))
    (place / "dispatch" / "default.checkpoint").unlink()
    receiver = Receiver()
    opened(receiver, True).commit(first_attempt("b"))
    assert receiver.tokens == [1, 2]
