"""A user's program, for a type checker: it is never run. What stands here types under mypy --strict as it is."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import fsstore
from fsstore import (
    AsyncEventStore,
    AsyncEventStream,
    Commit,
    CommitAttempt,
    DelegateMessageDispatcher,
    Dispatcher,
    EventMessage,
    EventStore,
    EventStream,
    NullDispatcher,
    PersistenceEngine,
    PipelineHook,
    Snapshot,
    StreamHead,
    Wireup,
)
from fsstore.dispatch import Retry
from fsstore.engines.file import FileEngine
from fsstore.engines.memory import MemoryEngine


class Old: ...


class New:
    def __init__(self, old: Old) -> None: ...


class Audit(PipelineHook):
    def select_commit(self, commit: Commit) -> Commit | None:
        return commit

    def pre_commit(self, attempt: CommitAttempt) -> bool:
        return bool(attempt.events)


class Bus:
    def dispatch(self, commit: Commit) -> None: ...

    def close(self) -> None: ...


class AwaitedBus:
    async def dispatch(self, commit: Commit) -> None: ...

    async def close(self) -> None: ...


async def publish(commit: Commit) -> None: ...


def built(path: Path) -> EventStore:
    dispatchers: list[Dispatcher] = [NullDispatcher(), DelegateMessageDispatcher(publish), Bus(), AwaitedBus()]
    return (
        Wireup.init()
        .using_file_persistence(path, create=True, read_only=False, durability="commit", fold_bytes=1 << 20)
        .compress()
        .encrypt_with(b"k" * 32)
        .hook_into_pipeline_using(Audit())
        .using_event_upconversion()
        .add_converter(Old, New)
        .using_asynchronous_dispatch_scheduler(Bus())
        .using_synchronous_dispatch_scheduler(retry=Retry(max_attempts=2))
        .dispatch_to(dispatchers[0])
        .dispatch_to(lambda commit: None)
        .build()
    )


def streams(store: EventStore) -> None:
    with store, store.create_stream(uuid.uuid4(), bucket_id=uuid.uuid4()) as stream:
        stream.add({"item": "tea"})
        stream.uncommitted_headers["who"] = "me"
        committed: Commit | None = stream.commit_changes(commit_id=uuid.uuid4())
        events: tuple[EventMessage, ...] = stream.committed_events
        opened: list[EventStream] = [
            store.open_stream("order", 1, None, bucket_id="shop"),
            store.open_stream(Snapshot("order", 1, {"total": 3}), max_revision=5),
            store.open_stream(snapshot=Snapshot("order", 1, {"total": 3})),
        ]
        commits: Iterator[Commit] = store.get_from("order", min_revision=2)
        commits = store.subscribe("mail", from_checkpoint=1, bucket_id=uuid.uuid4())
        del committed, events, opened, commits


def engines(attempt: CommitAttempt) -> None:
    for engine in (fsstore.open("memory:").advanced, MemoryEngine(), FileEngine("orders.store")):
        used: PersistenceEngine = engine
        stored: list[Commit] = used.commit_many(each for each in (attempt,))
        heads: Iterable[StreamHead] = used.get_streams_to_snapshot("default", 3)
        snapshot: Snapshot | None = used.get_snapshot("default", "order")
        del stored, heads, snapshot


def attempted() -> CommitAttempt:
    Snapshot(uuid.uuid4(), 1, {"total": 3}, uuid.uuid4())
    events = [EventMessage("placed", {"by": "me"})]
    CommitAttempt(uuid.uuid4(), 1, uuid.uuid4(), 1, datetime.now(UTC), MappingProxyType({}), events, uuid.uuid4())
    return CommitAttempt("order", 1, uuid.uuid4(), 1, datetime.now(UTC), {}, (EventMessage("placed", {"by": "me"}),))


async def tasks(path: Path) -> None:
    wireup = Wireup.init().using(path).using_asynchronous_dispatch_scheduler(publish).dispatch_to(AwaitedBus())
    other: AsyncEventStore = await wireup.build_async()
    await other.close()
    async with fsstore.open_async(path) as store, await store.open_stream("order") as stream:
        stream.add("paid")
        await stream.add("packed")
        created: AsyncEventStream = await store.create_stream("order")
        await created.close()
        committed: Commit | None = await stream.commit_changes()
        from_snapshot: AsyncEventStream = await store.open_stream(Snapshot("order", 1, None), 3)
        commits: AsyncIterator[Commit] = store.get_from("order")
        async for commit in commits:
            assert commit.checkpoint_token
        async with store.subscribe("mail") as mail:
            async for commit in mail:
                await mail.acknowledge(commit)
        added: bool = await store.advanced.add_snapshot(Snapshot("order", 1, None))
        del committed, from_snapshot, added
