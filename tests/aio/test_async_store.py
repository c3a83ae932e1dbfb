"""The words of the store with `await`: streams, hooks, snapshots, dispatch, subscriptions."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import anyio
import pytest

import fsstore
from fsstore import (
    AfterCommitError,
    AsyncEventStore,
    Commit,
    CommitAttempt,
    ConcurrencyError,
    DispatchError,
    DuplicateCommitError,
    EventMessage,
    Snapshot,
    StorageError,
    StoreClosedError,
    StreamNotFoundError,
    Wireup,
)
from fsstore.dispatch import Retry, Subscription
from fsstore.testing import first_attempt, next_attempt

pytestmark = pytest.mark.anyio


async def all_of(commits: Any) -> list[Commit]:
    return [commit async for commit in commits]


async def test_a_stream_is_written_and_read(store: AsyncEventStore) -> None:
    async with store.create_stream("order") as stream:
        stream.add({"placed": 1})
        stream.uncommitted_headers["user"] = "ann"
        commit = await stream.commit_changes()
    assert commit is not None
    assert commit.checkpoint_token == 1
    opened = await store.open_stream("order")
    assert [event.body for event in opened.committed_events] == [{"placed": 1}]
    assert opened.committed_headers == {"user": "ann"}
    assert await all_of(store.get_from("order")) == [commit]
    assert await all_of(store.advanced.get_from_checkpoint()) == [commit]


async def test_calls_that_wait_for_nothing_may_be_awaited_too(store: AsyncEventStore) -> None:
    created = store.create_stream("order", bucket_id="b")
    async with await created as stream:
        assert stream is created
        await stream.add("a")
        stream.uncommitted_headers["h"] = 1
        await stream.clear_changes()
        assert (stream.uncommitted_events, stream.uncommitted_headers) == ((), {})
        await stream.add("b")
        commit = await stream.commit_changes()
        await stream.close()
    assert commit is not None
    assert (commit.bucket_id, commit.stream_id, commit.events[0].body) == ("b", "order", "b")


async def test_nothing_to_commit_is_none(store: AsyncEventStore) -> None:
    assert await store.create_stream("order").commit_changes() is None


async def test_a_lost_race_refreshes_the_stream_and_keeps_what_was_added(store: AsyncEventStore) -> None:
    first, second = store.create_stream("order"), store.create_stream("order")
    first.add("a")
    second.add("b")
    await first.commit_changes()
    with pytest.raises(ConcurrencyError):
        await second.commit_changes()
    assert [event.body for event in second.committed_events] == ["a"]
    await second.commit_changes()
    assert second.stream_revision == 2


async def test_the_same_commit_id_again_is_a_duplicate(store: AsyncEventStore) -> None:
    attempt = first_attempt("order")
    await store.commit(attempt)
    with pytest.raises(DuplicateCommitError):
        await store.commit(attempt)


async def test_a_missing_stream_is_said(store: AsyncEventStore) -> None:
    with pytest.raises(StreamNotFoundError):
        await store.open_stream("nothing", min_revision=1)


async def test_a_snapshot_opens_the_rest(store: AsyncEventStore) -> None:
    stream = store.create_stream("order")
    for body in "abc":
        stream.add(body)
        await stream.commit_changes()
    assert await store.advanced.add_snapshot(Snapshot("order", 2, {"state": "ab"}))
    snapshot = await store.advanced.get_snapshot("default", "order")
    assert snapshot is not None
    opened = await store.open_stream(snapshot)
    assert [event.body for event in opened.committed_events] == ["c"]
    opened = await store.open_stream(snapshot=snapshot, max_revision=2)
    assert (opened.stream_revision, opened.committed_events) == (2, ())
    for opened in (await store.open_stream(snapshot, 0), await store.open_stream("order", 3, 0)):
        assert (opened.stream_revision, [event.body for event in opened.committed_events]) == (3, ["c"])


async def test_a_stream_is_opened_by_its_id_or_from_a_snapshot(store: AsyncEventStore) -> None:
    open_stream: Any = store.open_stream
    with pytest.raises(TypeError, match="one of the two"):
        await open_stream()
    with pytest.raises(TypeError, match="one of the two"):
        await open_stream("order", snapshot=Snapshot("order", 1, "state"))


async def test_an_empty_range_has_no_events(store: AsyncEventStore) -> None:
    await store.commit(first_attempt("order", events=6))
    with pytest.raises(StreamNotFoundError):
        await store.open_stream("order", 5, 3)


@pytest.mark.parametrize("target", ["memory:", "{}/a.store", "sqlite:///{}/a.db"])
async def test_a_store_that_was_dropped_and_made_anew_delivers(target: str, tmp_path: Path) -> None:
    store = await fsstore.open_async(target.format(tmp_path))
    for _ in range(3):
        await store.commit(first_attempt("order"))
        subscription = store.subscribe("mail", timeout_seconds=0)
        assert [commit.checkpoint_token async for commit in subscription] == [1]
        await subscription.close()
        await store.advanced.drop()
        await store.advanced.initialize()
    await store.close()


async def test_a_refused_commit_is_named(tmp_path: Path) -> None:
    store = await fsstore.open_async(tmp_path / "a.store")
    await store.close()
    attempt = first_attempt("order")
    with pytest.raises(StoreClosedError, match=rf"{attempt.commit_id} .*'order' .*'default'"):
        await store.commit(attempt)
    async with fsstore.open_async(tmp_path / "a.store", read_only=True) as store:
        with pytest.raises(StorageError, match=rf"{attempt.commit_id} .*'order' .*'default'.* is open read-only"):
            await store.commit(attempt)


async def test_a_read_only_store_takes_no_dispatcher(tmp_path: Path) -> None:
    await (await fsstore.open_async(tmp_path / "a.store")).close()
    wireup = Wireup.init().using_file_persistence(tmp_path / "a.store", read_only=True)
    with pytest.raises(ValueError, match="read-only"):
        await wireup.dispatch_to(print).build_async()


async def test_a_body_of_the_same_type_is_the_newest_form() -> None:
    wireup = Wireup.init().add_converter(dict, lambda old: {**old, "version": 2})
    async with await wireup.build_async() as store:
        await store.commit(first_attempt("order", events=[EventMessage({"placed": 1})]))
        opened = await store.open_stream("order")
        assert [event.body for event in opened.committed_events] == [{"placed": 1, "version": 2}]


async def test_after_close_every_call_says_so(store: AsyncEventStore) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreClosedError):
        await store.commit(first_attempt("order"))
    with pytest.raises(StoreClosedError):
        store.create_stream("order")


async def test_a_store_may_be_awaited(tmp_path: Path) -> None:
    store = await fsstore.open_async(tmp_path / "a.store")
    await store.close()


async def test_hooks_may_be_coroutine_functions(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Hook:
        async def pre_commit(self, attempt: CommitAttempt) -> bool:
            await anyio.sleep(0)
            return attempt.stream_id != "refused"

        async def post_commit(self, commit: Commit) -> None:
            heard.append(commit.stream_id)

        def select_commit(self, commit: Commit) -> Commit | None:
            return None if commit.stream_id == "hidden" else commit

        async def on_delete_stream(self, bucket_id: str, stream_id: str) -> None:
            heard.append(("deleted", stream_id))

        async def close(self) -> None:
            heard.append("closed")

    async with (
        await Wireup.init()
        .using_file_persistence(tmp_path / "a.store")
        .hook_into_pipeline_using(Hook())
        .build_async() as store
    ):
        assert await store.commit(first_attempt("refused")) is None
        await store.commit(first_attempt("hidden"))
        await store.commit(first_attempt("seen"))
        assert await all_of(store.get_from("hidden")) == []
        await store.advanced.delete_stream("default", "seen")
    assert heard == ["hidden", "seen", ("deleted", "seen"), "closed"]


async def test_a_failing_hook_says_that_the_commit_is_stored(tmp_path: Path) -> None:
    class Hook:
        async def post_commit(self, commit: Commit) -> None:
            raise RuntimeError("no")

    async with await Wireup.init().hook_into_pipeline_using(Hook()).build_async() as store:
        with pytest.raises(AfterCommitError, match="is stored"):
            await store.commit(first_attempt("order"))
        assert len(await all_of(store.advanced.get_from_checkpoint())) == 1


async def test_a_coroutine_function_in_a_store_for_threads_is_refused() -> None:
    async def deliver(commit: Commit) -> None: ...

    store = (
        Wireup.init()
        .using_synchronous_dispatch_scheduler(deliver, retry=Retry(initial_backoff_seconds=0, max_attempts=1))
        .build()
    )
    with pytest.raises(DispatchError, match="coroutine function"):
        await anyio.to_thread.run_sync(store.commit, first_attempt("order"))
    store.close()


async def test_a_synchronous_scheduler_has_delivered_when_the_commit_returns(tmp_path: Path) -> None:
    delivered: list[int] = []

    async def deliver(commit: Commit) -> None:
        await anyio.sleep(0.001)
        delivered.append(commit.checkpoint_token)

    async with (
        await Wireup.init()
        .using_file_persistence(tmp_path / "a.store")
        .using_synchronous_dispatch_scheduler(deliver)
        .build_async() as store
    ):
        for number in range(3):
            await store.commit(first_attempt(f"order {number}"))
            assert delivered == list(range(1, number + 2))


async def test_what_a_dispatcher_commits_is_delivered_behind_what_it_was_called_for(tmp_path: Path) -> None:
    delivered: list[str] = []

    async def deliver(commit: Commit) -> None:
        delivered.append(commit.stream_id)
        if len(commit.stream_id) < 3:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.commit, first_attempt(commit.stream_id + "a"))
            assert delivered[-1] == commit.stream_id

    wireup = Wireup.init().using_file_persistence(tmp_path / "a.store").using_synchronous_dispatch_scheduler(deliver)
    with anyio.fail_after(30):
        async with await wireup.build_async() as store:
            await store.commit(first_attempt("a"))
            assert delivered == ["a", "aa", "aaa"]


async def test_an_asynchronous_scheduler_delivers_everything_in_order(tmp_path: Path) -> None:
    delivered: list[int] = []
    done = anyio.Event()

    async def deliver(commit: Commit) -> None:
        delivered.append(commit.checkpoint_token)
        if commit.checkpoint_token == 20:
            done.set()

    async with (
        await Wireup.init()
        .using_file_persistence(tmp_path / "a.store")
        .using_asynchronous_dispatch_scheduler(deliver)
        .build_async() as store
    ):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(store.commit, first_attempt(f"order {number}"))
        with anyio.fail_after(30):
            await done.wait()
    assert delivered == list(range(1, 21))


async def test_a_subscription_waits_and_remembers(store: AsyncEventStore) -> None:
    await store.commit(first_attempt("order 1"))
    seen: list[int] = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, store.subscribe("mail") as mail:
            async for commit in mail:
                seen.append(commit.checkpoint_token)
                if commit.checkpoint_token == 1:
                    tasks.start_soon(store.commit, first_attempt("order 2"))
                else:
                    await mail.acknowledge(commit)
                    break
    assert seen == [1, 2]
    assert [(each.name, each.position) for each in await store.subscriptions.all()] == [("mail", 2)]


async def test_consumers_in_tasks_share_more_than_one_takes_at_once(store: AsyncEventStore) -> None:
    attempt = first_attempt("order")
    expected = [(await store.commit(attempt)).commit_sequence]
    for _ in range(249):
        attempt = next_attempt(attempt)
        expected.append((await store.commit(attempt)).commit_sequence)
    seen: list[int] = []

    async def consume() -> None:
        async with store.subscribe("work", partitions=2, timeout_seconds=0.5) as commits:
            async for commit in commits:
                seen.append(commit.commit_sequence)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            tasks.start_soon(consume)
    assert seen == expected


async def test_a_subscription_says_at_once_which_option_it_does_not_have(store: AsyncEventStore) -> None:
    with pytest.raises(TypeError, match=r"^a subscription has no option 'bogus'; it has acknowledge_every, "):
        store.subscribe("mail", bogus=1)


@pytest.mark.parametrize("slip", ["x", -1])
async def test_a_subscription_refuses_a_slip_before_its_first_step(store: AsyncEventStore, slip: Any) -> None:
    for option in ("timeout_seconds", "partitions"):
        with pytest.raises((TypeError, ValueError), match=f"^{option} must be "):
            store.subscribe("mail", **{option: slip})
    with pytest.raises((TypeError, ValueError), match="name"):
        store.subscribe("")
    await store.commit(first_attempt("order"))
    assert len(await all_of(store.subscribe("mail", timeout_seconds=0.05))) == 1
    with pytest.raises((TypeError, ValueError), match=r"^checkpoint_token must be "):
        await store.subscriptions.reset("mail", slip)
    with pytest.raises(ValueError, match="the last commit of the store is at 1"):
        await store.subscriptions.reset("mail", 2)


async def test_a_subscription_ends_after_its_timeout_and_when_the_store_closes(store: AsyncEventStore) -> None:
    with anyio.fail_after(30):
        assert await all_of(store.subscribe("mail", timeout_seconds=0.05)) == []
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                assert await all_of(store.subscribe("forever")) == []

            tasks.start_soon(read)
            await anyio.sleep(0.05)
            await store.close()


async def test_a_consumer_that_was_closed_unread_takes_over_from_nobody(store: AsyncEventStore) -> None:
    for stream in ("a", "b"):
        await store.commit(first_attempt(stream))
    unread = store.subscribe("mail")
    await unread.close()
    async with store.subscribe("mail") as mail:
        first = await anext(mail)
        with pytest.raises(StoreClosedError):
            await unread.acknowledge(first)
        assert (await anext(mail)).checkpoint_token == 2


async def test_without_any_time_a_subscription_gives_what_is_there_now(store: AsyncEventStore) -> None:
    stored = [await store.commit(first_attempt(f"order {number}")) for number in range(3)]
    with anyio.fail_after(30):
        assert await all_of(store.subscribe("mail", timeout_seconds=0)) == stored
        assert await all_of(store.subscribe("mail", timeout_seconds=0)) == []


async def test_a_short_timeout_is_not_made_longer(store: AsyncEventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by how long each look may wait, as the clock of a busy machine cannot tell."""
    looks: list[float] = []
    look = Subscription.__next__

    def looking(subscription: Subscription) -> Commit:
        assert subscription.timeout_seconds is not None
        looks.append(subscription.timeout_seconds)
        return look(subscription)

    monkeypatch.setattr(Subscription, "__next__", looking)
    assert await all_of(store.subscribe("mail", timeout_seconds=0.01)) == []
    assert max(looks) <= 0.01
    looks.clear()
    assert await all_of(store.subscribe("mail", timeout_seconds=0.21)) == []
    assert looks[0] == 0.2
    assert max(looks[1:], default=0.0) <= 0.011


async def test_an_engine_that_remembers_nothing_says_so() -> None:
    class Plain:
        async def commit(self, attempt: CommitAttempt) -> Commit: ...

    with pytest.raises(StorageError, match="Plain cannot remember"):
        await anext(AsyncEventStore(Plain()).subscribe("audit"))  # type: ignore[arg-type]


async def test_a_cancelled_reader_loses_nothing(store: AsyncEventStore) -> None:
    mail = store.subscribe("mail")
    with anyio.move_on_after(0.01):
        await anext(mail)
    stored = await store.commit(first_attempt("order"))
    with anyio.fail_after(30):
        assert await anext(mail) == stored
    await mail.close()


async def test_a_commit_id_settles_a_commit_that_was_cancelled(store: AsyncEventStore) -> None:
    stream = store.create_stream("order")
    stream.add("event")
    commit_id = uuid.uuid4()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.commit_changes(commit_id)
    try:
        await stream.commit_changes(commit_id)
    except DuplicateCommitError:
        stream = await store.open_stream("order")
    assert [event.body for event in stream.committed_events] == ["event"]


@pytest.mark.parametrize("place", ["pre_commit", "post_commit", "dispatch"])
async def test_a_commit_that_is_cancelled_beside_the_engine_says_what_became_of_it(place: str) -> None:
    class Hook:
        async def wait(self, _: object) -> bool:
            scope.cancel()
            await anyio.sleep(0)
            return True

        async def close(self) -> None: ...

    hook = Hook()
    setattr(hook, place, hook.wait)
    wireup = Wireup.init()
    if place == "dispatch":
        wireup.using_synchronous_dispatch_scheduler(hook.wait)
    else:
        wireup.hook_into_pipeline_using(hook)
    notes: list[str] = []

    async def commit() -> None:
        try:
            await stream.commit_changes()
            await anyio.sleep(0)
        except BaseException as cancelled:
            notes.extend(getattr(cancelled, "__notes__", ()))
            raise

    async with await wireup.build_async() as store:
        stream = store.create_stream("order")
        stream.add("event")
        with anyio.CancelScope() as scope:
            await commit()
        assert scope.cancelled_caught
        stored = await all_of(store.advanced.get_from_checkpoint())
    assert len(stored) == stream.stream_revision == (0 if place == "pre_commit" else 1)
    assert [event.body for event in stream.uncommitted_events] == (["event"] if place == "pre_commit" else [])
    if place != "dispatch":  # which a cancelled scope lets go to its end
        assert notes == [
            "interrupted before it was stored: nothing was stored"
            if place == "pre_commit"
            else "interrupted after it was stored: do not commit it again"
        ]
