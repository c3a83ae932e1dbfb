"""The store over an engine: commits with hooks around them, reads, closing."""

from __future__ import annotations

import errno
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

import fsstore
from fsstore import (
    AfterCommitError,
    Commit,
    CommitAttempt,
    ConcurrencyError,
    EventMessage,
    EventStore,
    PipelineHook,
    StoreClosedError,
    Wireup,
)
from fsstore.engine import Lease
from fsstore.engines.memory import MemoryEngine
from fsstore.testing import fill, first_attempt, next_attempt


def test_a_commit_is_given_back_with_its_token(store: EventStore) -> None:
    attempt = first_attempt("s")
    assert store.commit(attempt) == Commit.of(attempt, 1)


def test_only_attempts_can_be_committed(store: EventStore) -> None:
    with pytest.raises(TypeError, match="CommitAttempt"):
        store.commit(EventMessage("body"))  # type: ignore[arg-type]


def test_reading_gives_the_commits_that_touch_the_range(store: EventStore) -> None:
    commits = fill(store.advanced, "s", commits=3, events=2)
    assert list(store.get_from("s")) == commits
    assert list(store.get_from("s", 3, 4)) == commits[1:2]
    assert list(store.get_from("s", 2, 3)) == commits[:2]
    assert list(store.get_from("nothing")) == []


def test_buckets_are_apart(store: EventStore) -> None:
    here = fill(store.advanced, "s", bucket_id="here")
    fill(store.advanced, "s", bucket_id="there")
    assert list(store.get_from("s", bucket_id="here")) == here
    assert list(store.get_from("s")) == []


def test_a_conflict_leaves_nothing(store: EventStore) -> None:
    first = store.commit(first_attempt("s"))
    with pytest.raises(ConcurrencyError):
        store.commit(first_attempt("s"))
    assert list(store.get_from("s")) == [first]


def test_threads_share_a_store(store: EventStore) -> None:
    def write(number: int) -> None:
        with store.create_stream(f"s{number}") as stream:
            for n in range(20):
                stream.add(n)
                stream.commit_changes()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tokens = [commit.checkpoint_token for commit in store.advanced.get_from_checkpoint()]
    assert tokens == list(range(1, 161))


def test_a_closed_store_refuses_everything(wireup: Wireup) -> None:
    store = wireup.build()
    stream = store.create_stream("s")
    stream.add("a")
    store.close()
    store.close()
    for call in (
        lambda: store.create_stream("s"),
        lambda: store.open_stream("s"),
        lambda: store.commit(first_attempt("s")),
        lambda: list(store.get_from("s")),
        lambda: store.advanced,
        store.__enter__,
        stream.commit_changes,
    ):
        with pytest.raises(StoreClosedError):
            call()
    attempt = first_attempt("s", bucket_id="b")
    with pytest.raises(StoreClosedError, match=rf"{attempt.commit_id} .*'s' .*'b'"):
        store.commit(attempt)


@pytest.mark.parametrize("leave", [EventStore.close, lambda store: store.__exit__(None, None, None)])
def test_everything_is_closed_whatever_fails_and_the_first_error_is_raised(leave: Callable[[EventStore], None]) -> None:
    closed: list[str] = []

    class FullEngine(MemoryEngine):
        full = False

        def release_lease(self, lease: Lease) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, f"no space to release {lease.name}")
            super().release_lease(lease)

        def close(self) -> None:
            closed.append("engine")
            super().close()

    class Part:
        def __init__(self, name: str) -> None:
            self.name = name

        def dispatch(self, commit: Commit) -> None: ...

        def post_commit(self, commit: Commit) -> None: ...

        def close(self) -> None:
            closed.append(self.name)
            raise RuntimeError(f"the {self.name} fails")

    engine = FullEngine()
    wireup = Wireup.init().using_engine(engine).hook_into_pipeline_using(Part("first hook"), Part("second hook"))
    store = wireup.dispatch_to(Part("dispatcher")).build()
    fill(store.advanced, "order", commits=2)
    subscriptions = [store.subscribe("audit"), store.subscribe("mail"), store.subscribe("shared", partitions=2)]
    for subscription in subscriptions:
        next(subscription)
    engine.full = True
    with pytest.raises(OSError, match="no space to release") as raised:
        leave(store)
    assert all(subscription.closed for subscription in subscriptions)
    assert closed == ["dispatcher", "first hook", "second hook", "engine"]
    assert sum("RuntimeError: the " in note for note in raised.value.__notes__) == 3
    store.close()
    assert len(closed) == 4


def test_an_interruption_while_closing_is_what_is_raised() -> None:
    class Hook:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def close(self) -> None:
            raise self.error

    engine = MemoryEngine()
    hooks = Hook(RuntimeError("earlier")), Hook(KeyboardInterrupt()), Hook(RuntimeError("later"))
    store = Wireup.init().using_engine(engine).hook_into_pipeline_using(*hooks).build()
    with pytest.raises(KeyboardInterrupt) as raised:
        store.close()
    assert raised.value.__notes__ == ["also failed: RuntimeError: earlier", "also failed: RuntimeError: later"]
    with pytest.raises(StoreClosedError):
        engine.commit(first_attempt("order"))


class Recorder(PipelineHook):
    """Writes down what it is told, and refuses or hides what it is asked to."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.refuse = False
        self.hide: set[int] = set()

    def select_commit(self, commit: Commit) -> Commit | None:
        self.seen.append(("select", commit.commit_sequence))
        return None if commit.commit_sequence in self.hide else commit

    def pre_commit(self, attempt: CommitAttempt) -> bool:
        self.seen.append(("pre", attempt.commit_sequence))
        return not self.refuse

    def post_commit(self, commit: Commit) -> None:
        self.seen.append(("post", commit.commit_sequence))

    def on_purge(self, bucket_id: str | None) -> None:
        self.seen.append(("purge", bucket_id))

    def on_delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self.seen.append(("delete", bucket_id, stream_id))

    def close(self) -> None:
        self.seen.append("close")


class TestHooks:
    def test_a_commit_passes_before_and_after(self, wireup: Wireup) -> None:
        hook = Recorder()
        with wireup.hook_into_pipeline_using(hook).build() as store:
            store.commit(first_attempt("s"))
        assert hook.seen == [("pre", 1), ("post", 1), "close"]

    def test_a_refused_attempt_is_not_stored(self, wireup: Wireup) -> None:
        hook, second = Recorder(), Recorder()
        hook.refuse = True
        with wireup.hook_into_pipeline_using(hook, second).build() as store:
            assert store.commit(first_attempt("s")) is None
            assert second.seen == []
            stream = store.create_stream("s")
            stream.add("a")
            assert stream.commit_changes() is None
            assert len(stream.uncommitted_events) == 1
            assert list(store.advanced.get_from_checkpoint()) == []

    def test_a_conflict_calls_no_hook_afterwards(self, wireup: Wireup) -> None:
        hook = Recorder()
        with wireup.hook_into_pipeline_using(hook).build() as store:
            store.commit(first_attempt("s"))
            with pytest.raises(ConcurrencyError):
                store.commit(first_attempt("s"))
            assert hook.seen == [("pre", 1), ("post", 1), ("pre", 1)]

    def test_hidden_commits_are_not_read_but_counted(self, wireup: Wireup) -> None:
        hook = Recorder()
        with wireup.hook_into_pipeline_using(hook).build() as store:
            commits = fill(store.advanced, "s", commits=3)
            hook.hide = {2, 3}
            assert list(store.get_from("s")) == commits[:1]
            stream = store.open_stream("s")
            assert len(stream.committed_events) == 2
            stream.add("after what is hidden")
            assert stream.commit_changes() is not None

    def test_a_hook_may_be_any_object_with_some_of_the_methods(self, wireup: Wireup) -> None:
        class OnlyPost:
            seen: list[Commit] = []  # noqa: RUF012

            def post_commit(self, commit: Commit) -> None:
                self.seen.append(commit)

        hook = OnlyPost()
        with wireup.hook_into_pipeline_using(hook, PipelineHook()).build() as store:
            commit = store.commit(first_attempt("s"))
            assert list(store.get_from("s")) == [commit]
        assert hook.seen == [commit]

    def test_a_hook_that_fails_afterwards_says_that_the_commit_is_stored(self, wireup: Wireup) -> None:
        class Failing(PipelineHook):
            def post_commit(self, commit: Commit) -> None:
                raise RuntimeError("no luck")

        with wireup.hook_into_pipeline_using(Failing()).build() as store:
            stream = store.create_stream("s")
            stream.add("a")
            with pytest.raises(AfterCommitError, match=r"is stored.*no luck") as caught:
                stream.commit_changes()
            assert isinstance(caught.value.commit, Commit)
            assert (stream.stream_revision, stream.uncommitted_events) == (1, ())
            assert len(list(store.get_from("s"))) == 1

    @pytest.mark.parametrize("place", ["pre_commit", "post_commit", "dispatch"])
    def test_an_interruption_says_what_became_of_the_commit(self, wireup: Wireup, place: str) -> None:
        class Hook:
            def interrupted(self, _: object) -> bool:
                raise KeyboardInterrupt

            def close(self) -> None: ...

        hook = Hook()
        setattr(hook, place, hook.interrupted)
        if place == "dispatch":
            wireup.using_synchronous_dispatch_scheduler(hook.interrupted)
        else:
            wireup.hook_into_pipeline_using(hook)
        with wireup.build() as store:
            stream = store.create_stream("s")
            stream.add("event")
            with pytest.raises(KeyboardInterrupt) as interrupted:
                stream.commit_changes()
            stored = len(list(store.advanced.get_from_checkpoint()))
        assert stored == stream.stream_revision == (0 if place == "pre_commit" else 1)
        assert len(stream.uncommitted_events) == 1 - stored
        assert interrupted.value.__notes__ == [
            "interrupted after it was stored: do not commit it again"
            if stored
            else "interrupted before it was stored: nothing was stored"
        ]

    def test_purges_and_deletions_are_told(self, wireup: Wireup) -> None:
        hook = Recorder()
        with wireup.hook_into_pipeline_using(hook).build() as store:
            fill(store.advanced, "s")
            store.advanced.delete_stream("default", "s")
            store.advanced.purge("default")
            store.advanced.purge()
            store.advanced.delete_stream("default", uuid.UUID(int=7))  # type: ignore[arg-type]
            told = [entry for entry in hook.seen if entry[0] in ("purge", "delete")]  # type: ignore[index]
            by_uuid = ("delete", "default", str(uuid.UUID(int=7)))
            assert told == [("delete", "default", "s"), ("purge", "default"), ("purge", None), by_uuid]
            assert isinstance(store.advanced, fsstore.PersistenceEngine)
            assert isinstance(store.advanced, fsstore.DeliveryEngine)


class OldName:
    def __init__(self, name: str) -> None:
        self.name = name


class TestUpconversion:
    def test_bodies_are_read_in_their_newest_form(self, wireup: Wireup) -> None:
        wireup.using_event_upconversion().add_converter(str, len).add_converter(int, lambda n: {"length": n})
        with wireup.build() as store:
            attempt = first_attempt("s", events=[EventMessage("four", {"h": 1}), EventMessage([1])])
            store.commit(attempt)
            events = store.open_stream("s").committed_events
            assert [event.body for event in events] == [{"length": 4}, [1]]
            assert events[0].headers == {"h": 1}
            stored = next(store.advanced.get_from("default", "s"))
            assert stored.events == attempt.events

    def test_a_result_of_the_same_type_is_the_newest_form(self, wireup: Wireup) -> None:
        wireup.add_converter(str, lambda text: {"text": text}).add_converter(dict, lambda old: {**old, "version": 2})
        with wireup.build() as store:
            store.commit(first_attempt("s", events=[EventMessage({"text": "a"}, {"h": 1}), EventMessage("b")]))
            events = store.open_stream("s").committed_events
            assert [event.body for event in events] == [{"text": "a", "version": 2}, {"text": "b", "version": 2}]
            assert events[0].headers == {"h": 1}

    def test_a_converter_that_gives_nothing_is_an_error(self, wireup: Wireup) -> None:
        with wireup.add_converter(str, lambda _: None).build() as store:
            store.commit(first_attempt("s", events=[EventMessage("a")]))
            with pytest.raises(fsstore.EventStoreError, match="gave None"):
                list(store.get_from("s"))

    def test_it_is_that_converter_which_is_named(self, wireup: Wireup) -> None:
        with wireup.add_converter(str, len).add_converter(int, lambda _: None).build() as store:
            store.commit(first_attempt("s", events=[EventMessage("a")]))
            with pytest.raises(fsstore.EventStoreError, match="the converter of int gave None"):
                list(store.get_from("s"))

    def test_converters_that_go_in_a_circle_are_an_error(self, wireup: Wireup) -> None:
        wireup.add_converter(str, lambda _: 1).add_converter(int, lambda _: "a")
        with wireup.build() as store:
            store.commit(first_attempt("s", events=[EventMessage("a")]))
            with pytest.raises(fsstore.EventStoreError, match="circle"):
                list(store.get_from("s"))

    def test_one_converter_a_type(self) -> None:
        with pytest.raises(ValueError, match="already"):
            Wireup.init().add_converter(str, len).add_converter(str, len)


def test_stamps_are_taken_when_a_stream_is_committed(store: EventStore) -> None:
    before = datetime.now(UTC)
    stream = store.create_stream(uuid.uuid4())
    stream.add("a")
    commit = stream.commit_changes()
    assert commit is not None
    assert before <= commit.commit_stamp <= datetime.now(UTC)


def test_attempts_that_follow_one_another_are_all_stored(store: EventStore) -> None:
    first = first_attempt("s", events=3)
    assert store.commit(first) is not None
    assert store.commit(next_attempt(first, events=2)) is not None
    assert store.open_stream("s").stream_revision == 5
