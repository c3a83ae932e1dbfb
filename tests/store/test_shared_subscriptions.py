"""Several consumers under one name: threads and processes that share the work, or stand by."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from subscribing import Places, acknowledged_by_hand, caught_up, filled, last_in, tokens

from fsstore import Commit, EventStore, Wireup
from fsstore.dispatch import Subscription
from fsstore.dispatch.positions import position_key
from fsstore.engines.memory import MemoryEngine
from fsstore.testing import fill, first_attempt, next_attempt


def by_stream(seen: Places) -> Places:
    """What was seen, stream by stream, each in the order in which it was seen."""
    return sorted(seen, key=lambda place: int(place[0][1:]))


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
            assert sorted(acknowledged_by_hand(store, "work", partitions=4)) == list(range(1, 17))
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


@pytest.mark.parametrize("target", ["memory", "file", "sqlite"], indirect=True)
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
        assert sorted(acknowledged_by_hand(store, "work", partitions=3)) == list(range(1, 21))
        assert caught_up(store, "work", partitions=3) == []


def test_a_commit_that_comes_while_others_are_looked_at_is_not_late() -> None:
    in_the_first = last_in(0, partitions=2)

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
