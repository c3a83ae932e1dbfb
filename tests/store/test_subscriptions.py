"""Subscriptions: from the past into the present, in checkpoint order, remembering what was acknowledged."""

from __future__ import annotations

import gc
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fsstore import Commit, CorruptionError, EventMessage, EventStore, LeaseLostError, StorageError, Wireup
from fsstore.dispatch import PARKED_BUCKET, Parking, Subscription
from fsstore.dispatch.cursors import pack_position
from fsstore.dispatch.filters import partition_of
from fsstore.dispatch.positions import position_key
from fsstore.engine import Lease
from fsstore.engines.memory import MemoryEngine
from fsstore.errors import StorageUnavailableError, StoreClosedError
from fsstore.testing import fill, first_attempt, next_attempt


@pytest.fixture(params=["memory", "file", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Leases that run out, locks, and rows."""
    return {"memory": "memory:", "file": tmp_path / "some.store", "sqlite": f"sqlite:///{tmp_path}/some.db"}[
        request.param
    ]


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[EventStore]:
    with Wireup.init().using(tmp_path / "s").build() as store:
        yield store


def tokens(commits: object) -> list[int]:
    return [commit.checkpoint_token for commit in commits]  # type: ignore[attr-defined]


def partition(stream_id: str, *, of: int) -> int:
    return partition_of(Commit.of(first_attempt(stream_id), 1), of)


def caught_up(store: EventStore, name: str, **options: object) -> list[int]:
    """What is there for that name now, acknowledged."""
    with store.subscribe(name, timeout_seconds=0, **options) as subscription:
        return tokens(subscription)


class TestOneConsumer:
    @pytest.mark.parametrize("option", ["bogus", "select"])
    def test_an_option_that_nobody_has_is_named_with_those_that_there_are(self, store: EventStore, option: str) -> None:
        known = "acknowledge_every, .*, from_checkpoint, .*stream_prefix and timeout_seconds"
        with pytest.raises(TypeError, match=f"^a subscription has no option '{option}'; it has {known}$"):
            store.subscribe("audit", **{option: 1})

    def test_the_past_and_then_what_is_committed(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=3)
        subscription = store.subscribe("audit")
        assert tokens(next(subscription) for _ in range(3)) == [1, 2, 3]
        later = threading.Timer(0.05, lambda: fill(store.advanced, "b", commits=2))
        later.start()
        assert tokens(next(subscription) for _ in range(2)) == [4, 5]
        later.join()

    def test_what_was_acknowledged_does_not_come_again(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=4)
        with store.subscribe("audit") as subscription:
            assert tokens(next(subscription) for _ in range(3)) == [1, 2, 3]
        # Nobody asked for the fourth, so the third may not have been dealt with.
        assert caught_up(store, "audit") == [3, 4]
        assert caught_up(store, "audit") == []

    def test_names_are_independent_and_begin_where_they_are_told(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=4)
        assert caught_up(store, "one") == [1, 2, 3, 4]
        assert caught_up(store, "other", from_checkpoint=2) == [3, 4]
        assert caught_up(store, "other", from_checkpoint=1) == []

    def test_the_last_one_opened_reads(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=3)
        first = store.subscribe("audit")
        assert tokens([next(first), next(first)]) == [1, 2]
        second = store.subscribe("audit")
        assert next(second).checkpoint_token == 2
        with pytest.raises(LeaseLostError, match="'audit'"):
            next(first)

    def test_an_abandoned_loop_leaves_the_name_free(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=3)
        for commit in store.subscribe("audit"):
            if commit.checkpoint_token == 2:
                break
        # Free at once for everybody, which another engine on the store would see.
        store.subscriptions.reset("audit", 1)
        assert caught_up(store, "audit") == [2, 3]

    def test_one_that_the_collector_finds_waits_for_nobody_whom_it_interrupts(self) -> None:
        held = threading.Lock()
        let_go: queue.SimpleQueue[bool] = queue.SimpleQueue()

        class Interrupted(MemoryEngine):
            def get_checkpoint_names(self) -> list[str]:
                with held:
                    gc.collect()
                    return super().get_checkpoint_names()

            def release_lease(self, lease: Lease) -> None:
                could_be_had = held.acquire(timeout=10)
                super().release_lease(lease)
                if could_be_had:
                    held.release()
                let_go.put(could_be_had)

        with EventStore(Interrupted()) as store:
            fill(store.advanced, "a", commits=3)
            cyclic: list[Any] = [store.subscribe("audit", acknowledge_every=10)]
            cyclic.append(cyclic)
            assert tokens(islice(cyclic[0], 2)) == [1, 2]
            del cyclic
            store.subscriptions.all()
            assert let_go.get(timeout=30)
            assert [state.position for state in store.subscriptions.all()] == [1]

    def test_a_thread_of_a_hook_may_close_it(self, file_store: EventStore) -> None:
        def close_in_a_thread(commit: Commit) -> Commit:
            closing = threading.Thread(target=copy_context().run, args=(subscription.close,))
            closing.start()
            closing.join(20)
            ended.append(not closing.is_alive())
            return commit

        ended: list[bool] = []
        fill(file_store.advanced, "a", commits=3)
        subscription = Subscription(file_store.advanced, "audit", select=close_in_a_thread)
        assert tokens(subscription) == [1]
        assert ended == [True]
        assert caught_up(file_store, "audit") == [1, 2, 3]

    def test_acknowledging_by_hand(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=5)
        with store.subscribe("audit", auto_acknowledge=False) as subscription:
            commits = [next(subscription) for _ in range(4)]
            subscription.acknowledge(commits[1])
            assert subscription.position == 2
            with pytest.raises(ValueError, match="checkpoint 5 was not handed out"):
                subscription.acknowledge(Commit.of(first_attempt("a"), 5))
        assert caught_up(store, "audit") == [3, 4, 5]

    def test_a_closed_consumer_does_not_change_the_position_of_the_next_one(
        self, file_store: EventStore, tmp_path: Path
    ) -> None:
        fill(file_store.advanced, "s", commits=5)
        by_hand = file_store.subscribe("mail", timeout_seconds=0, auto_acknowledge=False)
        early = next(by_hand)
        by_itself = file_store.subscribe("copy", timeout_seconds=0)
        next(by_itself)
        by_hand.close()
        by_itself.close()
        with Wireup.init().using(tmp_path / "s").build() as elsewhere:
            for name in ("mail", "copy"):
                assert caught_up(elsewhere, name) == [1, 2, 3, 4, 5]
        with pytest.raises(StoreClosedError, match="'mail' was closed before it acknowledged commit 1"):
            by_hand.acknowledge(early)
        assert list(by_itself) == []
        assert {state.name: state.position for state in file_store.subscriptions.all()} == {"mail": 5, "copy": 5}

    def test_batches_are_written_when_they_are_full_and_at_the_end(self, file_store: EventStore) -> None:
        fill(file_store.advanced, "a", commits=7)
        subscription = file_store.subscribe("audit", acknowledge_every=3)
        for _ in range(6):
            next(subscription)
        (state,) = file_store.subscriptions.all()
        assert state.position == 3
        subscription.close()
        assert file_store.subscriptions.all()[0].position == 5

    def test_closing_the_store_ends_a_waiting_loop(self, wireup: Wireup) -> None:
        store = wireup.build()
        seen: list[int] = []
        consumer = threading.Thread(target=lambda: seen.extend(tokens(store.subscribe("audit"))))
        fill(store.advanced, "a", commits=2)
        consumer.start()
        until = time.monotonic() + 20
        while not store.subscriptions.all() or store.subscriptions.all()[0].position < 2:
            assert time.monotonic() < until
            time.sleep(0.005)
        store.close()
        consumer.join(20)
        assert seen == [1, 2]

    def test_deleted_commits_do_not_hold_it_up(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=2)
        assert caught_up(store, "audit") == [1, 2]
        fill(store.advanced, "gone", commits=2)
        store.advanced.delete_stream("default", "gone")
        assert caught_up(store, "audit") == []
        fill(store.advanced, "b")
        assert caught_up(store, "audit") == [5]

    def test_a_commit_at_which_a_hook_fails_comes_again(self, wireup: Wireup) -> None:
        failing = [2]

        class Hook:
            def select_commit(self, commit: Commit) -> Commit:
                if commit.checkpoint_token in failing:
                    failing.clear()
                    raise ConnectionError("not now")
                return commit

        with wireup.hook_into_pipeline_using(Hook()).build() as store:
            fill(store.advanced, "a", commits=3)
            with store.subscribe("audit", timeout_seconds=0) as subscription:
                assert next(subscription).checkpoint_token == 1
                with pytest.raises(ConnectionError):
                    next(subscription)
                assert tokens(subscription) == [2, 3]

    def test_hooks_decide_what_a_subscriber_sees(self, wireup: Wireup) -> None:
        class Hide:
            def select_commit(self, commit: Commit) -> Commit | None:
                return None if commit.stream_id == "hidden" else commit

        with wireup.hook_into_pipeline_using(Hide()).build() as store:
            for stream in ("a", "hidden", "b"):
                store.commit(first_attempt(stream))
            assert caught_up(store, "audit") == [1, 3]

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"from_checkpoint": -1}, ValueError),
            ({"partitions": 0}, ValueError),
            ({"acknowledge_every": True}, TypeError),
            ({"timeout_seconds": "x"}, TypeError),
            ({"timeout_seconds": True}, TypeError),
            ({"timeout_seconds": -1}, ValueError),
            ({"timeout_seconds": float("nan")}, ValueError),
            ({"lease_seconds": "10"}, TypeError),
            ({"lease_seconds": None}, TypeError),
            ({"standby_seconds": -0.1}, ValueError),
            ({"auto_acknowledge": "no"}, TypeError),
            ({"bucket_id": 3}, TypeError),
            ({"stream_prefix": 3}, TypeError),
            ({"event_types": "Placed"}, TypeError),
            ({"event_types": str}, TypeError),
            ({"event_types": [3]}, TypeError),
            ({"event_types": iter(["Placed"])}, TypeError),
        ],
    )
    def test_wrong_options_are_refused(self, store: EventStore, options: dict[str, Any], error: type) -> None:
        with pytest.raises(error, match=f"^{next(iter(options))} must be "):
            store.subscribe("audit", **options)

    def test_only_a_commit_can_be_acknowledged(self, store: EventStore) -> None:
        wrong: Any
        with store.subscribe("audit") as audit:
            for wrong in (None, 1, "audit"):
                with pytest.raises(TypeError, match="a Commit is needed"):
                    audit.acknowledge(wrong)

    def test_wrong_names_are_refused(self, store: EventStore) -> None:
        for name in ("", "x" * 151):
            with pytest.raises(ValueError, match=r"characters|empty"):
                store.subscribe(name)


class TestFilters:
    def test_by_bucket_stream_and_event_type(self, store: EventStore) -> None:
        class Unknown: ...

        engine = store.advanced
        fill(engine, "order-1")
        fill(engine, "order-2", bucket_id="eu")
        fill(engine, "cart-1")
        engine.commit(first_attempt("order-3", events=[EventMessage({"$type": "Paid"}), EventMessage("text")]))
        assert caught_up(store, "all") == [1, 2, 3, 4]
        assert caught_up(store, "bucket", bucket_id="eu") == [2]
        assert caught_up(store, "prefix", stream_prefix="order-") == [1, 2, 4]
        assert caught_up(store, "both", stream_prefix="order-", bucket_id="default") == [1, 4]
        assert caught_up(store, "class", event_types=[str]) == [4]
        assert caught_up(store, "name", event_types=["Paid", "Other"]) == [4]
        assert caught_up(store, "none", event_types=[Unknown]) == []

    def test_event_types_are_those_that_a_reader_gets(self, wireup: Wireup) -> None:
        wireup.using_event_upconversion().add_converter(str, lambda body: {"$type": "Placed", "item": body})
        with wireup.build() as store:
            for name, body in (("a", "tea"), ("b", {"$type": "Placed", "item": "milk"}), ("c", 3)):
                store.commit(first_attempt(name, events=[EventMessage(body)]))
            assert caught_up(store, "placed", event_types=["Placed"]) == [1, 2]
            assert caught_up(store, "as stored", event_types=["str"]) == []

    def test_dead_letters_come_only_to_who_asks_for_them(self, store: EventStore) -> None:
        (commit,) = fill(store.advanced, "a")
        Parking(store.advanced).park(commit, "no reason", 1)
        assert caught_up(store, "all") == [1]
        assert caught_up(store, "dead letters", bucket_id=PARKED_BUCKET) == [2]


class TestManaging:
    def test_listing_resetting_and_deleting(self, store: EventStore) -> None:
        assert store.subscriptions.all() == []
        fill(store.advanced, "a", commits=5)
        caught_up(store, "b")
        caught_up(store, "a", partitions=2)
        listed = store.subscriptions.all()
        assert [(state.name, state.partitions, state.position) for state in listed] == [("a", 2, 5), ("b", 1, 5)]
        store.subscriptions.reset("b", 3)
        assert caught_up(store, "b") == [4, 5]
        store.subscriptions.delete("b")
        assert [state.name for state in store.subscriptions.all()] == ["a"]
        assert caught_up(store, "b") == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("token", "error"),
        [(-1, ValueError), (6, ValueError), (10**6, ValueError)]
        + [(slip, TypeError) for slip in ("2", 1.5, None, True)],
    )
    def test_a_token_that_cannot_be_gone_on_from_is_refused(
        self, store: EventStore, token: Any, error: type[Exception]
    ) -> None:
        fill(store.advanced, "a", commits=5)
        caught_up(store, "audit")
        with pytest.raises(error, match=r"checkpoint_token must be|'audit' .* the last commit of the store is at 5"):
            store.subscriptions.reset("audit", token)
        store.subscriptions.reset("audit", 5)
        fill(store.advanced, "b")
        assert caught_up(store, "audit") == [6]

    @pytest.mark.parametrize("partitions", [1, 2])
    @pytest.mark.parametrize("value", [b"junk", pack_position(-1), b"\x81\xa8position\xa12"])
    def test_a_damaged_position_is_one_names_trouble(self, store: EventStore, partitions: int, value: bytes) -> None:
        fill(store.advanced, "a", commits=5)
        for name in ("audit", "other"):
            caught_up(store, name, partitions=partitions)
        for mend in (store.subscriptions.reset, store.subscriptions.delete):
            store.advanced.put_checkpoint(position_key("audit", 0, partitions), value)  # type: ignore[attr-defined]
            assert [(state.name, state.damaged) for state in store.subscriptions.all()] == [
                ("audit", {0}),
                ("other", set()),
            ]
            assert caught_up(store, "other", partitions=partitions) == []
            with store.subscribe("audit", partitions=partitions, timeout_seconds=0) as subscription:
                for _ in range(2):  # trying again does not make it readable
                    with pytest.raises(CorruptionError, match="position of subscription 'audit' is none"):
                        next(subscription)
            mend("audit")
            assert caught_up(store, "audit", partitions=partitions) == [1, 2, 3, 4, 5]

    def test_what_is_being_read_in_part_is_not_changed_in_part(self, store: EventStore) -> None:
        filled(store, 8, 5)
        caught_up(store, "work", partitions=2)
        before = store.subscriptions.all()
        fill(store.advanced, last_in(1, partitions=2))
        with store.subscribe("work", partitions=2) as subscription:
            next(subscription)
            for change in (store.subscriptions.reset, store.subscriptions.delete):
                with pytest.raises(StorageUnavailableError, match="'work' is being read"):
                    change("work")
            assert [min(state.positions.values()) for state in store.subscriptions.all()] == [before[0].position]

    def test_what_is_being_read_is_left_alone(self, store: EventStore) -> None:
        fill(store.advanced, "a", commits=5)
        subscription = store.subscribe("audit")
        next(subscription), next(subscription)
        for change in (store.subscriptions.reset, store.subscriptions.delete):
            with pytest.raises(StorageUnavailableError, match="'audit' is being read"):
                change("audit")
        subscription.close()
        store.subscriptions.delete("audit")
        with pytest.raises(ValueError, match="no subscription 'audit'"):
            store.subscriptions.reset("audit")

    def test_an_engine_that_remembers_nothing_says_so(self, store: EventStore) -> None:
        class Plain:
            commit = None

        with pytest.raises(StorageError, match="Plain cannot remember"):
            EventStore(Plain()).subscribe("a")  # type: ignore[arg-type]


Places = list[tuple[str, int]]


def filled(store: EventStore, streams: int, each: int) -> Places:
    """Commits the streams one after another; the places of the commits, stream by stream."""
    for number in range(streams):
        fill(store.advanced, f"s{number}", commits=each, events=1, at_once=each)
    return [(f"s{number}", sequence) for number in range(streams) for sequence in range(1, each + 1)]


def by_stream(seen: Places) -> Places:
    """What was seen, stream by stream, each in the order in which it was seen."""
    return sorted(seen, key=lambda place: int(place[0][1:]))


def last_in(partition: int, *, partitions: int) -> str:
    """A new stream's id in that partition."""
    names = (f"last{number}" for number in range(1_000))
    return next(name for name in names if partition_of(Commit.of(first_attempt(name), 1), partitions) == partition)


def place_of(commit: Commit) -> tuple[str, int]:
    return commit.stream_id, commit.commit_sequence


@pytest.mark.parametrize("target", ["memory", "file"], indirect=True)
class TestMoreThanAConsumerTakesAtOnce:
    """A consumer lets go of a partition after a hundred commits. That must cost nobody a commit, or time."""

    @pytest.mark.parametrize(("streams", "each"), [(1, 2_050), (40, 50)])
    @pytest.mark.parametrize("partitions", [2, 4])
    def test_one_consumer_goes_on_alone(self, store: EventStore, partitions: int, streams: int, each: int) -> None:
        expected = filled(store, streams, each)
        # Without a time to wait in: it does not pause where it lets go either.
        with store.subscribe("work", partitions=partitions, timeout_seconds=0) as subscription:
            assert by_stream([place_of(commit) for commit in subscription]) == expected
        assert caught_up(store, "work", partitions=partitions) == []

    def test_what_a_hook_moves_into_another_stream_is_acknowledged(self, wireup: Wireup) -> None:
        class Move:
            def select_commit(self, commit: Commit) -> Commit | None:
                return replace(commit, stream_id="all")

        with wireup.hook_into_pipeline_using(Move()).build() as store:
            filled(store, streams=8, each=2)
            with store.subscribe("work", partitions=4, auto_acknowledge=False, timeout_seconds=0) as subscription:
                seen = []
                for commit in subscription:
                    seen.append(commit.checkpoint_token)
                    subscription.acknowledge(commit)
            assert sorted(seen) == list(range(1, 17))
            assert caught_up(store, "work", partitions=4) == []

    @pytest.mark.parametrize(("streams", "each"), [(1, 1_050), (40, 50)])
    @pytest.mark.parametrize("partitions", [2, 4])
    def test_two_consumers_share_the_work(self, store: EventStore, partitions: int, streams: int, each: int) -> None:
        expected = filled(store, streams, each)
        seen: Places = []
        both_have_work = threading.Barrier(2)
        finished: list[int] = []

        def consume() -> None:
            count = 0
            with store.subscribe("work", partitions=partitions, timeout_seconds=0.3) as subscription:
                for commit in subscription:
                    seen.append(place_of(commit))
                    count += 1
                    if count == 1 and streams > 1:
                        both_have_work.wait(20)
            finished.append(count)

        consumers = [threading.Thread(target=consume) for _ in range(2)]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join()
        assert by_stream(seen) == expected
        assert len(finished) == 2

    def test_consumers_come_and_go(self, store: EventStore) -> None:
        expected = filled(store, 20, 50)
        seen: Places = []

        def come_and_go(stays_for: int) -> None:
            got = stays_for
            while got == stays_for:
                got = 0
                with store.subscribe("work", partitions=4, acknowledge_every=7, timeout_seconds=0.3) as subscription:
                    for commit in subscription:
                        seen.append(place_of(commit))
                        got += 1
                        if got == stays_for:
                            subscription.acknowledge(commit)
                            break

        consumers = [threading.Thread(target=come_and_go, args=(stays_for,)) for stays_for in (30, 100, 170)]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join()
        assert by_stream(seen) == expected

    def test_acknowledging_by_hand_and_by_the_dozen(self, store: EventStore) -> None:
        expected = filled(store, 1, 350)
        seen: Places = []
        with store.subscribe(
            "work", partitions=2, auto_acknowledge=False, acknowledge_every=12, timeout_seconds=0
        ) as subscription:
            for count, commit in enumerate(subscription, 1):
                seen.append(place_of(commit))
                if count % 75 == 0 or count == 350:
                    subscription.acknowledge(commit)
        assert seen == expected
        assert caught_up(store, "work", partitions=2) == []


class TestSeveralConsumers:
    def test_partitions_share_the_streams_and_keep_their_order(self, store: EventStore) -> None:
        heads = [store.advanced.commit(first_attempt(f"s{number}")) for number in range(20)]
        for _ in range(20):
            heads = [store.advanced.commit(next_attempt(head)) for head in heads]
        seen: list[tuple[str, int]] = []
        by_consumer: list[list[int]] = [[], [], []]

        def consume(own: list[int]) -> None:
            with store.subscribe("work", partitions=4, timeout_seconds=0.4) as subscription:
                for commit in subscription:
                    seen.append((commit.stream_id, commit.commit_sequence))
                    own.append(commit.checkpoint_token)
                    time.sleep(0.0002)

        consumers = [threading.Thread(target=consume, args=(own,)) for own in by_consumer]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join()
        for stream in {head.stream_id for head in heads}:
            assert [sequence for of, sequence in seen if of == stream] == list(range(1, 22))
        assert sorted(token for own in by_consumer for token in own) == list(range(1, 421))

    def test_a_commit_that_comes_while_others_are_looked_at_is_not_late(self) -> None:
        in_the_first = next(name for name in map(str, range(99)) if partition(name, of=2) == 0)

        class Engine(MemoryEngine):
            looks = 0

            def get_from_checkpoint(
                self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
            ) -> Iterator[Commit]:
                self.looks += 1
                if self.looks == 3:  # the first partition was looked at, twice
                    self.commit(first_attempt(in_the_first))
                return super().get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)

            def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
                there.append(super().wait_for_commits(checkpoint_token, timeout_seconds))
                return there[-1]

        there: list[bool] = []
        engine = Engine()
        engine.initialize()
        with Subscription(engine, "work", partitions=2, timeout_seconds=20) as subscription:
            next(subscription)
        assert there == [True], "it waited while there was one"

    def test_the_number_of_partitions_stays(self, store: EventStore) -> None:
        fill(store.advanced, "a")
        caught_up(store, "work", partitions=4)
        with pytest.raises(ValueError, match="'work' is read in 4 partitions, not 1"):
            store.subscribe("work")

    @pytest.mark.parametrize(("first", "second"), [(2, 3), (1, 2), (2, 1)])
    def test_consumers_that_begin_at_once_agree_on_the_number(self, store: EventStore, first: int, second: int) -> None:
        filled(store, 10, 2)
        one = store.subscribe("work", partitions=first, timeout_seconds=0)
        # Another store object on the same place: within one, the last one opened takes over a name read undivided.
        other = Subscription(store.advanced, "work", partitions=second, timeout_seconds=0)
        got = [next(one).checkpoint_token]
        if first == 1:
            # Nothing is remembered yet; who reads it undivided has the name, and the other one stands by.
            assert next(other, None) is None
        got += tokens(one)
        for _ in range(2):
            with pytest.raises(ValueError, match=f"'work' is read in {first} partitions, not {second}; delete it"):
                next(other)
        assert sorted(got) == list(range(1, 21))

    def test_the_position_is_that_of_the_partition_that_is_least_far(self, store: EventStore) -> None:
        filled(store, 20, 5)
        with store.subscribe("work", partitions=4, from_checkpoint=7, timeout_seconds=0) as subscription:
            for _ in range(10):
                next(subscription)
            (state,) = store.subscriptions.all()
            assert (set(state.positions), state.position) == ({0, 1, 2, 3}, 7)
            assert max(state.positions.values()) > 7
            list(subscription)
        assert store.subscriptions.all()[0].position == 100
        store.subscriptions.reset("work", 50)
        with store.subscribe("work", partitions=4) as subscription:
            subscription.acknowledge(next(subscription))
        assert store.subscriptions.all()[0].position == 50
        # Where the position of a partition was lost, it reads from the beginning.
        store.advanced.delete_checkpoint(position_key("work", 2, 4))  # type: ignore[attr-defined]
        assert store.subscriptions.all()[0].position == 0

    def test_acknowledging_by_hand_in_partitions(self, store: EventStore) -> None:
        for number in range(10):
            fill(store.advanced, f"s{number}", commits=2)
        with store.subscribe("work", partitions=3, auto_acknowledge=False, timeout_seconds=0) as subscription:
            got = []
            for commit in subscription:
                got.append(commit.checkpoint_token)
                subscription.acknowledge(commit)
        assert sorted(got) == list(range(1, 21))
        assert caught_up(store, "work", partitions=3) == []


CONSUMER = """
import sys
import fsstore
store = fsstore.open(sys.argv[1])
for commit in store.subscribe("audit", **eval(sys.argv[2])):
    print(commit.checkpoint_token, flush=True)
"""


@pytest.fixture
def consumers(file_store: EventStore) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running = []

    def start(**options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CONSUMER, str(file_store.advanced.path), repr(options)]  # type: ignore[attr-defined]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


class TestOtherProcesses:
    def test_a_killed_consumer_is_followed_by_the_one_that_stands_by(
        self, file_store: EventStore, consumers: Callable[..., subprocess.Popen[str]]
    ) -> None:
        fill(file_store.advanced, "a", commits=3)
        first = consumers()
        assert lines(first, 3) == [1, 2, 3]
        second = consumers()
        fill(file_store.advanced, "b", commits=2)
        assert lines(first, 2) == [4, 5]
        first.kill()
        fill(file_store.advanced, "c", commits=2)
        # The fifth comes again where its consumer was killed before it asked for the next one.
        got = lines(second, 2)
        assert got == [6, 7] or got + lines(second, 1) == [5, 6, 7]

    def test_a_commit_reaches_a_subscriber_in_another_process(
        self, file_store: EventStore, consumers: Callable[..., subprocess.Popen[str]]
    ) -> None:
        consumer = consumers(bucket_id="eu")
        for number in range(1, 6):
            fill(file_store.advanced, f"us{number}")
            fill(file_store.advanced, f"eu{number}", bucket_id="eu")
            assert lines(consumer, 1) == [2 * number]
