"""A dispatcher that keeps failing: limits, stopping, parking and sending again; nothing is skipped silently."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from receivers import QUICK, Receiver, wait_for

from fsstore import Commit, DispatchError, EventMessage, EventStore, Wireup
from fsstore.copying import Summary, copy_store
from fsstore.dispatch import PARKED_BUCKET, DispatchHealth, Parking, Retry, published_health
from fsstore.dispatch.policy import Attempts, Verdict
from fsstore.engines import engine_for
from fsstore.testing import fill, first_attempt, next_attempt

PARK = Retry(initial_backoff_seconds=0.001, max_backoff_seconds=0.002, max_attempts=3, then="park")
NEVER = 1_000_000


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


Build = Callable[[Retry], EventStore]


@pytest.fixture(params=["synchronous", "asynchronous"])
def build(request: pytest.FixtureRequest, tmp_path: Path, receiver: Receiver) -> Build:
    def build(retry: Retry) -> EventStore:
        wireup = Wireup.init().using(tmp_path / "s")
        if request.param == "synchronous":
            return wireup.using_synchronous_dispatch_scheduler(receiver, retry=retry).build()
        return wireup.using_asynchronous_dispatch_scheduler(receiver, retry=retry).build()

    return build


def commit(store: EventStore, stream_id: str) -> None:
    """Store a commit, whatever becomes of its delivery."""
    with contextlib.suppress(DispatchError):
        store.commit(first_attempt(stream_id))


class TestRetry:
    def test_waits_double_with_jitter_up_to_the_longest(self) -> None:
        retry = Retry(initial_backoff_seconds=1.0, max_backoff_seconds=5.0)
        for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (100, 5.0)):
            waits = {retry.wait_seconds(failures) for _ in range(50)}
            assert len(waits) > 10
            assert all(longest / 2 <= wait <= longest for wait in waits)

    def test_the_limit_is_a_number_of_attempts_or_a_time(self) -> None:
        some = Commit.of(first_attempt("a"), 1)
        attempts = Attempts(Retry(max_attempts=3))
        assert [attempts.failed(some, OSError("no"), 0.0) for _ in range(3)][1:] == [Verdict.AGAIN, Verdict.STOP]
        attempts = Attempts(Retry(max_attempts=1000, max_seconds=10.0, then="park"))
        verdicts = [attempts.failed(some, OSError("no"), now) for now in (5.0, 14.9, 15.0)]
        assert verdicts == [Verdict.AGAIN, Verdict.AGAIN, Verdict.PARK]

    def test_every_commit_has_its_own_attempts(self) -> None:
        attempts = Attempts(Retry(max_attempts=2))
        for token in (1, 2, 3):
            assert attempts.failed(Commit.of(first_attempt("a"), token), OSError("no"), 0.0) is Verdict.AGAIN

    @pytest.mark.parametrize(
        "wrong",
        [
            {"initial_backoff_seconds": 2.0, "max_backoff_seconds": 1.0},
            {"max_attempts": 0},
            {"max_seconds": -1.0},
            {"then": "skip"},
        ],
    )
    def test_wrong_limits_are_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            Retry(**wrong)  # type: ignore[arg-type]


class TestStopping:
    def test_delivery_stands_at_the_commit_and_says_so_to_everybody(self, build: Build, receiver: Receiver) -> None:
        receiver.failures = {2: NEVER}
        with build(QUICK) as store:
            for stream in ("a", "b", "c"):
                commit(store, stream)
            wait_for(lambda: published_health(store.advanced).stopped)
            health = published_health(store.advanced)
            assert (health.failing_token, health.stream_id, health.bucket_id) == (2, "b", "default")
            assert health.last_error == "RuntimeError: cannot take 2"
            assert health.failures >= 3
            assert receiver.tokens == [1]

    def test_what_is_repaired_goes_on_in_order(self, build: Build, receiver: Receiver) -> None:
        receiver.failures = {2: NEVER}
        with build(QUICK) as store:
            for stream in ("a", "b", "c"):
                commit(store, stream)
            wait_for(lambda: published_health(store.advanced).stopped)
            receiver.failures = {}
            commit(store, "d")
            wait_for(lambda: receiver.tokens == [1, 2, 3, 4])
            wait_for(lambda: published_health(store.advanced) == DispatchHealth())

    def test_the_health_is_there_when_nobody_delivers(self, build: Build, receiver: Receiver, tmp_path: Path) -> None:
        receiver.failures = {1: NEVER}
        with build(QUICK) as store:
            commit(store, "a")
            wait_for(lambda: published_health(store.advanced).stopped)
        with Wireup.init().using_file_persistence(tmp_path / "s", read_only=True).build() as store:
            assert published_health(store.advanced).failing_token == 1


class TestParking:
    def test_a_parked_commit_is_listed_with_its_reason_and_the_others_go_on(
        self, build: Build, receiver: Receiver
    ) -> None:
        receiver.failures = {2: NEVER}
        with build(PARK) as store:
            for stream in ("a", "b", "c"):
                commit(store, stream)
            wait_for(lambda: receiver.tokens in ([1, 3], [1, 4]))  # the dead letter itself has a token
            (parked,) = Parking(store.advanced).commits()
            assert (parked.checkpoint_token, parked.stream_id, parked.attempts) == (2, "b", 3)
            assert parked.reason == "RuntimeError: cannot take 2"
            wait_for(lambda: list(store.advanced.get_undispatched_commits()) == [])
            assert published_health(store.advanced).ok

    def test_a_parked_commit_is_sent_again_when_asked(self, build: Build, receiver: Receiver) -> None:
        receiver.failures = {1: NEVER}
        with build(PARK) as store:
            commit(store, "a")
            parking = Parking(store.advanced)
            wait_for(lambda: len(parking.commits()) == 1)
            parking.send_again(1)  # fails once more, and is parked once more
            commit(store, "b")
            wait_for(lambda: len(receiver.tokens) == 1)
            assert [parked.checkpoint_token for parked in parking.commits()] == [1]
            receiver.failures = {}
            parking.send_again(1)
            commit(store, "c")
            wait_for(lambda: len(receiver.tokens) == 3)
            assert receiver.tokens[1] == 1
            wait_for(lambda: parking.commits() == [])

    def test_a_parked_commit_can_be_dropped_or_deleted(self, build: Build, receiver: Receiver) -> None:
        receiver.failures = {1: NEVER, 3: NEVER}
        with build(PARK) as store:
            commit(store, "a")
            parking = Parking(store.advanced)
            wait_for(lambda: len(parking.commits()) == 1)
            commit(store, "b")
            wait_for(lambda: len(parking.commits()) == 2)
            parking.drop(1)
            with pytest.raises(ValueError, match="checkpoint 1 is not parked"):
                parking.send_again(1)
            store.advanced.delete_stream("default", "b")
            parking.send_again(3)
            commit(store, "c")
            wait_for(lambda: parking.commits() == [])

    @pytest.mark.parametrize("then", ["deleted", "dropped", "nothing"])
    def test_what_was_asked_for_is_settled_when_it_comes_to_it(
        self, build: Build, receiver: Receiver, tmp_path: Path, then: str
    ) -> None:
        receiver.failures = {1: 3}
        with build(PARK) as store:
            commit(store, "a")
            wait_for(lambda: len(Parking(store.advanced).commits()) == 1)
        with Wireup.init().using(tmp_path / "s").build() as store:
            parking = Parking(store.advanced)
            parking.send_again(1)
            parking.send_again(1)
            if then == "deleted":
                store.advanced.delete_stream("default", "a")
            elif then == "dropped":
                parking.drop(1)
        with build(PARK) as store:
            commit(store, "b")
            wait_for(lambda: list(store.advanced.get_undispatched_commits()) == [])
            assert Parking(store.advanced).commits() == []
        assert receiver.tokens.count(1) == (then == "nothing")

    def test_the_caller_of_a_parked_commit_is_told(self, tmp_path: Path, receiver: Receiver) -> None:
        receiver.failures = {1: NEVER}
        wireup = Wireup.init().using(tmp_path / "s").using_synchronous_dispatch_scheduler(receiver, retry=PARK)
        with wireup.build() as store, pytest.raises(DispatchError, match=r"is stored.*is parked: cannot take 1"):
            store.commit(first_attempt("a"))

    def test_the_caller_is_told_whoever_parked_the_commit(self, tmp_path: Path) -> None:
        go_on = threading.Event()

        class Picky:
            def dispatch(self, commit: Commit) -> None:
                if commit.stream_id != "first":
                    raise RuntimeError("not this one")
                go_on.wait(20)

            def close(self) -> None: ...

        told: list[tuple[str, bool]] = []

        def write(store: EventStore, stream_id: str) -> None:
            try:
                store.commit(first_attempt(stream_id))
            except DispatchError as error:
                told.append((stream_id, "is parked" in str(error)))

        wireup = Wireup.init().using(tmp_path / "s").using_synchronous_dispatch_scheduler(Picky(), retry=PARK)
        with wireup.build() as store, wireup.build() as other:
            threads: list[threading.Thread] = []
            for one, stream_id in ((store, "first"), (store, "b"), (store, "c"), (other, "d"), (other, "e")):
                threads.append(threading.Thread(target=write, args=(one, stream_id)))
                threads[-1].start()
                wait_for(lambda: len(list(store.advanced.get_from_checkpoint())) == len(threads))
            go_on.set()
            for thread in threads:
                thread.join()
        assert sorted(told) == [("b", True), ("c", True), ("d", True), ("e", True)]

    def test_a_reason_that_is_no_text_holds_nobody_up(self, tmp_path: Path) -> None:
        """As the name of a file may be none."""

        def cannot(commit: Commit) -> None:
            raise OSError("no such file: \udcff")

        wireup = Wireup.init().using(tmp_path / "s").using_synchronous_dispatch_scheduler(cannot, retry=PARK)
        with wireup.build() as store:
            commit(store, "a")
            (parked,) = Parking(store.advanced).commits()
        assert parked.reason == "OSError: no such file: \\udcff"

    def test_in_a_copy_that_closed_gaps_a_parked_commit_is_still_itself(self, tmp_path: Path) -> None:
        broken = {"parked"}
        got: list[str] = []

        def deliver(commit: Commit) -> None:
            if commit.stream_id in broken:
                raise OSError(f"cannot take {commit.stream_id}")
            got.append(f"{commit.bucket_id} {commit.stream_id}")

        def opened(name: str) -> EventStore:
            return (
                Wireup.init().using(tmp_path / name).using_synchronous_dispatch_scheduler(deliver, retry=PARK).build()
            )

        with opened("source") as source:
            deleted = ("a", "b", "c")
            for stream_id in (*deleted, "parked"):
                commit(source, stream_id)
            for stream_id in deleted:
                source.advanced.delete_stream("default", stream_id)
            target = engine_for(tmp_path / "copy")
            target.initialize()
            for _ in copy_store(source.advanced, target, 5, Summary()):
                pass
            target.close()
        with opened("copy") as store:
            parking = Parking(store.advanced)
            commit(store, "other")
            assert [each.checkpoint_token for each in store.advanced.get_from("default", "parked")] == [1]
            broken.clear()
            got.clear()
            parking.send_again(4)
            commit(store, "more")
            assert got == ["default parked", "default more"]
            assert parking.commits() == []

    def test_a_commit_that_gets_the_token_which_a_parked_one_of_a_copy_had_is_another(self, tmp_path: Path) -> None:
        wireup = Wireup.init().using(tmp_path / "s")
        with wireup.build() as store:
            earlier = Commit.of(first_attempt("earlier"), 2)
            store.commit(first_attempt("earlier"))
            Parking(store.advanced).park(earlier, "it was in the store that this is a copy of", 1)
            other = store.commit(first_attempt("other"))
            assert other is not None
            other = replace(other, checkpoint_token=2)
            Parking(store.advanced).park(other, "it is here", 1)
            assert [each.stream_id for each in Parking(store.advanced).commits()] == ["earlier", "other"]

    def test_answers_that_name_the_token_alone_still_count(self, tmp_path: Path, receiver: Receiver) -> None:
        receiver.failures = {1: NEVER, 3: NEVER}
        wireup = Wireup.init().using(tmp_path / "s").using_synchronous_dispatch_scheduler(receiver, retry=PARK)
        with wireup.build() as store:
            commit(store, "a")
            commit(store, "b")
            (last,) = list(store.advanced.get_from(PARKED_BUCKET, "default"))[-1:]
            answer = EventMessage({"what": "dropped", "commit": {"checkpoint_token": 1}})
            store.advanced.commit(next_attempt(last, events=[answer]))
            assert [parked.stream_id for parked in Parking(store.advanced).commits()] == ["b"]


class TestStarting:
    def test_nothing_is_delivered_before_it_is_started(self, tmp_path: Path, receiver: Receiver) -> None:
        with Wireup.init().using(tmp_path / "s").dispatch_to(receiver, start=False).build() as store:
            fill(store.advanced, "a")
            store.commit(first_attempt("b"))
            assert receiver.tokens == []
            store.start_dispatching()
            store.start_dispatching()
            assert receiver.tokens == [1, 2]
            store.commit(first_attempt("c"))
        assert receiver.tokens == [1, 2, 3]


def test_the_health_can_be_shown_as_json() -> None:
    assert json.loads(json.dumps(DispatchHealth(2, 7, "OSError: no").as_dict()))["failing_token"] == 7
