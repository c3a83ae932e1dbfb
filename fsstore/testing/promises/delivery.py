"""`DeliveryEngine`: named values, leases, and waiting for commits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from fsstore.engine import DeliveryEngine, Lease, PersistenceEngine
from fsstore.errors import LeaseLostError, StoreClosedError
from fsstore.testing.attempts import fill
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.concurrency import together
from fsstore.testing.promises.stores import EngineTests, Stores

LONG = 600.0
NAMES = ["a", "A", "audit", "audit ", " audit", "a/b", "..", "a\0b", "ä", "a\u0308", "%", "🦜" * 200, "x" * 200]


def delivery(engine: PersistenceEngine) -> DeliveryEngine:
    return cast("DeliveryEngine", engine)


def acquired(engine: DeliveryEngine, name: str) -> Lease:
    lease = engine.acquire_lease(name, LONG)
    assert lease is not None
    return lease


def eventually_acquired(engine: DeliveryEngine, name: str) -> Lease:
    until = time.monotonic() + 30
    while (lease := engine.acquire_lease(name, LONG)) is None:
        assert time.monotonic() < until, f"the lease of {name!r} never came free"
        time.sleep(0.005)
    return lease


class DeliveryPromises(EngineTests):
    """What several processes need to deliver as one."""

    def test_delivery_is_as_declared(self, engine: PersistenceEngine) -> None:
        assert isinstance(engine, DeliveryEngine) == self.capabilities.delivery

    # ---- named values ----

    @needs("delivery")
    def test_a_value_is_there_until_it_is_replaced_or_forgotten(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        assert values.get_checkpoint("a") is None
        for value in (b"1", b"", b"\0" * 10, bytes(range(256)), b"2"):
            values.put_checkpoint("a", value)
            assert values.get_checkpoint("a") == value
        values.put_checkpoint("b", b"other")
        values.delete_checkpoint("a")
        assert values.get_checkpoint("a") is None
        assert values.get_checkpoint("b") == b"other"
        values.put_checkpoint("a", b"again")
        assert values.get_checkpoint("a") == b"again"

    @needs("delivery")
    def test_forgetting_a_value_that_is_not_there_is_harmless(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        values.put_checkpoint("b", b"other")
        values.delete_checkpoint("a")
        values.delete_checkpoint("a")
        assert values.get_checkpoint_names() == ["b"]

    @needs("delivery")
    def test_names_with_a_value_are_listed_in_order(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        assert values.get_checkpoint_names() == []
        for name in NAMES:
            values.put_checkpoint(name, b"")
        values.delete_checkpoint("audit")
        assert values.get_checkpoint_names() == sorted(set(NAMES) - {"audit"})

    @needs("delivery")
    def test_every_name_has_a_value_and_a_lease_of_its_own(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        for name in NAMES:
            values.put_checkpoint(name, name.encode())
            acquired(values, name)
        for name in NAMES:
            assert values.get_checkpoint(name) == name.encode()
            assert values.acquire_lease(name, LONG) is None

    @needs("delivery")
    def test_what_is_no_name_is_refused(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        calls: list[Callable[[Any], object]] = [
            values.get_checkpoint,
            lambda name: values.put_checkpoint(name, b""),
            values.delete_checkpoint,
            lambda name: values.acquire_lease(name, LONG),
        ]
        for call in calls:
            for name, error in (("", ValueError), ("x" * 201, ValueError), ("\ud800", ValueError), (7, TypeError)):
                with pytest.raises(error):
                    call(name)

    @needs("delivery")
    def test_a_value_of_a_million_bytes_is_the_largest(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        largest = bytes(range(250)) * 4_000
        values.put_checkpoint("a", largest)
        with pytest.raises(ValueError, match=r"1.?000.?001"):
            values.put_checkpoint("a", largest + b"1")
        assert values.get_checkpoint("a") == largest

    @needs("delivery")
    def test_values_are_no_commits(self, engine: PersistenceEngine) -> None:
        values = delivery(engine)
        stored = fill(engine, "s", commits=2)
        values.put_checkpoint("a", b"1")
        engine.purge()
        assert stored[-1].checkpoint_token == 2
        assert values.get_checkpoint("a") == b"1"
        assert list(engine.get_from_checkpoint()) == []

    # ---- leases ----

    @needs("delivery")
    def test_a_lease_has_one_holder(self, engine: PersistenceEngine) -> None:
        leases = delivery(engine)
        first = acquired(leases, "a")
        assert leases.acquire_lease("a", LONG) is None
        assert acquired(leases, "b").name == "b"
        leases.release_lease(first)
        second = acquired(leases, "a")
        assert leases.acquire_lease("a", LONG) is None
        assert (first.name, second.name) == ("a", "a")

    @needs("delivery")
    def test_fences_grow_with_every_holder(self, engine: PersistenceEngine) -> None:
        leases = delivery(engine)
        fences = []
        for _ in range(5):
            lease = acquired(leases, "a")
            fences.append(lease.fence)
            leases.release_lease(lease)
        assert fences == sorted(set(fences))

    @needs("delivery")
    def test_one_thread_at_a_time(self, engine: PersistenceEngine) -> None:
        leases = delivery(engine)
        inside: list[int] = []
        most: list[int] = []

        def work() -> None:
            for _ in range(5):
                lease = eventually_acquired(leases, "a")
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()
                leases.release_lease(lease)

        together(*[work] * 4)
        assert most == [1] * 20

    @needs("delivery")
    def test_a_former_holder_can_do_nothing(self, engine: PersistenceEngine) -> None:
        leases = delivery(engine)
        former = acquired(leases, "a")
        leases.put_checkpoint("a", b"mine", lease=former)
        leases.renew_lease(former, LONG)
        leases.release_lease(former)
        leases.release_lease(former)
        for next_holder in (False, True):
            if next_holder:
                acquired(leases, "a")
            with pytest.raises(LeaseLostError):
                leases.put_checkpoint("a", b"late", lease=former)
            with pytest.raises(LeaseLostError):
                leases.renew_lease(former, LONG)
            assert leases.get_checkpoint("a") == b"mine"
        leases.release_lease(former)
        assert leases.acquire_lease("a", LONG) is None

    # ---- waiting ----

    @needs("delivery")
    def test_waiting_ends_at_once_where_there_is_a_commit(self, engine: PersistenceEngine) -> None:
        fill(engine, "s", commits=3)
        for token in (0, 1, 2):
            assert delivery(engine).wait_for_commits(token, LONG) is True

    @needs("delivery")
    def test_waiting_ends_when_its_time_is_up(self, engine: PersistenceEngine) -> None:
        assert delivery(engine).wait_for_commits(0, 0.0) is False
        fill(engine, "s", commits=3)
        assert delivery(engine).wait_for_commits(3, 0.02) is False

    @needs("delivery")
    def test_a_commit_wakes_who_waits(self, engine: PersistenceEngine) -> None:
        fill(engine, "s")

        def wait(seconds: float = LONG) -> list[int]:
            assert delivery(engine).wait_for_commits(1, seconds)
            return [commit.checkpoint_token for commit in engine.get_from_checkpoint(1)]

        def commit() -> None:
            time.sleep(0.02)
            fill(engine, "t")

        assert together(wait, lambda: wait(float("inf")), commit)[:2] == [[2], [2]]

    @needs("delivery")
    def test_closing_wakes_who_waits(self, stores: Stores) -> None:
        engine = stores.open()
        woken = []

        def wait() -> None:
            try:
                woken.append(delivery(engine).wait_for_commits(0, LONG))
            except StoreClosedError:
                woken.append(False)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        time.sleep(0.02)
        engine.close()
        waiting.join(30)
        assert woken == [False]

    # ---- lifecycle and other engines ----

    @needs("delivery")
    def test_a_closed_engine_delivers_nothing(self, stores: Stores) -> None:
        engine = stores.open()
        closed = delivery(engine)
        lease = acquired(closed, "a")
        engine.close()
        for call in (
            lambda: closed.get_checkpoint("a"),
            lambda: closed.put_checkpoint("a", b""),
            lambda: closed.delete_checkpoint("a"),
            closed.get_checkpoint_names,
            lambda: closed.acquire_lease("a", LONG),
            lambda: closed.renew_lease(lease, LONG),
            lambda: closed.wait_for_commits(0, 0.0),
        ):
            with pytest.raises(StoreClosedError):
                call()
        closed.release_lease(lease)

    @needs("delivery")
    @needs("durable")
    def test_values_are_there_after_reopening_and_leases_free(self, stores: Stores) -> None:
        engine = stores.open()
        delivery(engine).put_checkpoint("a", b"1")
        delivery(engine).put_checkpoint("b", b"2", lease=acquired(delivery(engine), "b"))
        again = delivery(stores.reopen(engine))
        assert (again.get_checkpoint("a"), again.get_checkpoint("b")) == (b"1", b"2")
        eventually_acquired(again, "b")

    @needs("delivery")
    @needs("shared")
    def test_engines_share_values_leases_and_waking(self, stores: Stores) -> None:
        one, other = stores.open(), stores.open()
        mine, theirs = delivery(one), delivery(other)
        mine.put_checkpoint("a", b"1")
        assert theirs.get_checkpoint("a") == b"1"
        theirs.put_checkpoint("a", b"2")
        assert mine.get_checkpoint("a") == b"2"
        lease = acquired(mine, "a")
        assert theirs.acquire_lease("a", LONG) is None
        mine.release_lease(lease)
        later = acquired(theirs, "a")
        assert later.fence > lease.fence
        with pytest.raises(LeaseLostError):
            mine.put_checkpoint("a", b"late", lease=lease)
        fill(other, "s")
        assert mine.wait_for_commits(0, LONG) is True
        other.close()
        eventually_acquired(mine, "a")
