"""What every bus adapter must do, with its real broker: deliver everything, in order per stream, also over an outage.

A broker's test module subclasses `BusTests`, names the broker and says how a consumer reads. How long the broker is
away is `FSSTORE_TEST_OUTAGE_SECONDS` (default 1).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from servers.brokers import Broker
from servers.process import listens

from fsstore import Commit, EventStore, Wireup
from fsstore.dispatch import AsynchronousDispatchScheduler, Dispatcher, Retry
from fsstore.dispatch.messages import CloudEvents, MessageForm, RawRecords, unpacked
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import first_attempt, next_attempt

OUTAGE_SECONDS = float(os.environ.get("FSSTORE_TEST_OUTAGE_SECONDS", "1"))
STREAMS = ["order-1", "order.2 with spaces", "ö*>#+/3"]


class BusTests:
    """Subclass it; `broker` starts one, `dispatcher` makes an adapter, `consume` gives all bodies so far, by id."""

    start_broker: ClassVar[Callable[[], AbstractContextManager[Broker]]]

    def prepare(self, broker: Broker) -> None:
        """Make what an operator would have made: queues, topics."""

    def dispatcher(self, broker: Broker, form: MessageForm | None = None, **options: Any) -> Dispatcher:
        raise NotImplementedError

    def consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        """The id and body of every message that the broker has, in its order; what was read may be gone."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def running_broker(cls) -> Iterator[Broker]:
        with cls.start_broker() as broker:
            cls().prepare(broker)
            yield broker

    @pytest.fixture
    def broker(self, running_broker: Broker) -> Broker:
        self.consume(running_broker)
        return running_broker

    def test_a_commit_arrives_as_a_cloud_event(self, broker: Broker) -> None:
        commit = Commit.of(first_attempt("order-1", events=2), 7)
        dispatcher = self.dispatcher(broker, CloudEvents("/shop"))
        dispatcher.dispatch(commit)
        dispatcher.close()
        [(message_id, body)] = self.consume(broker)
        event = json.loads(body)
        assert message_id == event["id"] == str(commit.commit_id)
        assert (event["source"], event["subject"], event["specversion"]) == ("/shop", "order-1", "1.0")
        assert event["data"]["checkpoint_token"] == 7
        assert [each["body"] for each in event["data"]["events"]] == [each.body for each in commit.events]

    def test_a_commit_arrives_as_a_raw_record(self, broker: Broker) -> None:
        commit = Commit.of(first_attempt("order-1"), 7)
        dispatcher = self.dispatcher(broker, RawRecords())
        dispatcher.dispatch(commit)
        dispatcher.close()
        [(_, body)] = self.consume(broker)
        assert unpacked(MsgpackSerializer(), body) == commit

    def test_the_broker_may_be_waited_for_for_ever(self, broker: Broker) -> None:
        commits = [Commit.of(first_attempt("order-1"), token) for token in (1, 2, 3, 4)]
        for commit, huge in zip(commits, (2**70, 10**400, 1e300, math.inf), strict=True):
            dispatcher = self.dispatcher(broker, timeout_seconds=huge)
            dispatcher.dispatch(commit)
            dispatcher.close()
        assert [one for one, _ in self.consume(broker)] == [str(commit.commit_id) for commit in commits]

    def test_stream_ids_may_be_long_and_of_any_characters(self, broker: Broker) -> None:
        ids = [
            "😀" * 1000,
            "😀" * 999 + "!",
            "/" * 1000,
            ".",
            "*",
            ">",
            "#",
            "+",
            "$SYS/a",
            "a b\n\0\u2028",
            "%2E",
            "~",
        ]
        commits = [Commit.of(first_attempt(one), token) for token, one in enumerate(ids, 1)]
        dispatcher = self.dispatcher(broker)
        for commit in commits:
            dispatcher.dispatch(commit)
        dispatcher.close()
        assert [one for one, _ in self.consume(broker)] == [str(commit.commit_id) for commit in commits]

    def test_nothing_is_lost_and_streams_keep_their_order_over_an_outage(self, broker: Broker, tmp_path: Path) -> None:
        store = self.store(broker, tmp_path)
        stored: list[Commit] = []
        received: list[tuple[str, bytes]] = []
        try:
            stored += self.write(store, 10)
            self.wait_for_delivery(store)
            if not broker.keeps:
                received += self.consume(broker)
            broker.server.stop()
            assert not listens(broker.port), "who starts it again would meet it"
            stored += self.write(store, 10)
            time.sleep(OUTAGE_SECONDS)
            stored += self.write(store, 5)
            broker.server.start()
            if not broker.keeps:
                self.prepare(broker)
            self.wait_for_delivery(store)
        finally:
            store.close()
        received += self.consume(broker)
        ids = [str(commit.commit_id) for commit in stored]
        assert sorted({one for one, _ in received}) == sorted(ids)
        by_stream: dict[str, list[int]] = defaultdict(list)
        seen = set()
        for one, body in received:
            if one not in seen:
                seen.add(one)
                data = json.loads(body)["data"]
                by_stream[data["stream_id"]].append(data["commit_sequence"])
        assert {name: sorted(numbers) for name, numbers in by_stream.items()} == by_stream

    def store(self, broker: Broker, where: Path) -> EventStore:
        retry = Retry(initial_backoff_seconds=0.05, max_backoff_seconds=0.5)
        return (
            Wireup.init()
            .using_file_persistence(where / "a.store", durability="os")
            .using_asynchronous_dispatch_scheduler(self.dispatcher(broker), retry=retry)
            .build()
        )

    def write(self, store: EventStore, commits: int) -> list[Commit]:
        stored = []
        for number in range(commits):
            stream_id = STREAMS[number % len(STREAMS)]
            known = list(store.get_from(stream_id))
            commit = store.commit(next_attempt(known[-1]) if known else first_attempt(stream_id))
            assert commit is not None
            stored.append(commit)
        return stored

    def wait_for_delivery(self, store: EventStore) -> None:
        until = time.monotonic() + 100
        while next(iter(store.advanced.get_undispatched_commits()), None) is not None:
            scheduler: Any = store._scheduler
            assert isinstance(scheduler, AsynchronousDispatchScheduler)
            assert time.monotonic() < until, scheduler.health
            time.sleep(0.05)
