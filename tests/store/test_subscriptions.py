"""Subscriptions: from the past into the present, in checkpoint order, remembering what was acknowledged."""

from __future__ import annotations

import gc
import queue
import threading
import time
from contextvars import copy_context
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from subscribing import caught_up, filled, last_in, tokens

from fsstore import Commit, CorruptionError, EventMessage, EventStore, LeaseLostError, StorageError, Wireup
from fsstore.dispatch import PARKED_BUCKET, Parking, Subscription
from fsstore.dispatch.cursors import pack_position
from fsstore.dispatch.positions import position_key
from fsstore.engine import Lease
from fsstore.engines.memory import MemoryEngine
from fsstore.errors import StorageUnavailableError, StoreClosedError
from fsstore.testing import fill, first_attempt


@pytest.fixture(params=["memory", "file", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Leases that run out, locks, and rows."""
    return {"memory": "memory:", "file": tmp_path / "some.store", "sqlite": f"sqlite:///{tmp_path}/some.db"}[
        request.param
    ]


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
