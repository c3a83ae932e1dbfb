"""Commits are handed on at least once, in checkpoint order, without gaps, within one process."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from receivers import QUICK, Receiver, wait_for

from fsstore import (
    Commit,
    DelegateMessageDispatcher,
    Dispatcher,
    DispatchError,
    EventStore,
    NullDispatcher,
    StoreClosedError,
    Wireup,
)
from fsstore.dispatch import AsynchronousDispatchScheduler, Parking, Retry
from fsstore.engines.memory import MemoryEngine
from fsstore.errors import StorageUnavailableError
from fsstore.testing import fill, first_attempt, next_attempt


def test_dispatchers_are_dispatchers() -> None:
    for dispatcher in (Receiver(), NullDispatcher(), DelegateMessageDispatcher(print)):
        assert isinstance(dispatcher, Dispatcher)
    with pytest.raises(TypeError):
        DelegateMessageDispatcher("no function")  # type: ignore[arg-type]


class TestSynchronous:
    def test_a_commit_is_delivered_before_the_call_returns(self, wireup: Wireup) -> None:
        receiver = Receiver()
        with wireup.using_synchronous_dispatch_scheduler(receiver).build() as store:
            for number in range(3):
                store.commit(first_attempt(f"s{number}"))
                assert receiver.tokens == list(range(1, number + 2))
            assert list(store.advanced.get_undispatched_commits()) == []
        assert receiver.closed

    def test_a_dispatcher_that_recovers_is_tried_again(self, wireup: Wireup) -> None:
        receiver = Receiver()
        receiver.failures = {1: 2}
        with wireup.using_synchronous_dispatch_scheduler(retry=QUICK).dispatch_to(receiver).build() as store:
            store.commit(first_attempt("s"))
            assert receiver.tokens == [1]

    def test_without_another_policy_it_may_fail_some_times(self) -> None:
        receiver = Receiver()
        receiver.failures = {1: 4}
        with Wireup.init().using_synchronous_dispatch_scheduler(receiver).build() as store:
            store.commit(first_attempt("s"))
            assert receiver.tokens == [1]

    def test_one_that_does_not_says_that_the_commit_is_stored(self, wireup: Wireup) -> None:
        receiver = Receiver()
        receiver.failures = {1: 3 + 3}
        with wireup.dispatch_to(receiver).using_synchronous_dispatch_scheduler(retry=QUICK).build() as store:
            stream = store.create_stream("s")
            stream.add("a")
            with pytest.raises(DispatchError, match=r"is stored.*checkpoint 1.*cannot take 1") as caught:
                stream.commit_changes()
            assert isinstance(caught.value.commit, Commit)
            assert (stream.stream_revision, stream.uncommitted_events) == (1, ())
            stream.add("b")
            with pytest.raises(DispatchError, match="checkpoint 1"):
                stream.commit_changes()
            assert receiver.tokens == []
            stream.add("c")
            stream.commit_changes()
            assert receiver.tokens == [1, 2, 3]

    def test_many_threads_see_one_order(self, wireup: Wireup) -> None:
        receiver = Receiver()
        with wireup.using_synchronous_dispatch_scheduler(receiver).build() as store:

            def write(number: int) -> None:
                commit = store.commit(first_attempt(f"s{number}"))
                for _ in range(9):
                    assert commit is not None
                    assert commit.checkpoint_token in receiver.tokens
                    commit = store.commit(next_attempt(commit))

            threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert receiver.tokens == list(range(1, 61))

    def test_a_caller_hears_of_its_own_commit(self, wireup: Wireup) -> None:
        go_on = threading.Event()

        def deliver(commit: Commit) -> None:
            if commit.stream_id == "third":
                raise RuntimeError("not this one")
            assert commit.stream_id == "second" or go_on.wait(20)

        told: list[str] = []

        def write(store: EventStore, stream_id: str) -> None:
            try:
                store.commit(first_attempt(stream_id))
            except DispatchError:
                told.append(stream_id)

        with wireup.using_synchronous_dispatch_scheduler(deliver, retry=QUICK).build() as store:
            threads: list[threading.Thread] = []
            for stream_id in ("first", "second", "third"):
                threads.append(threading.Thread(target=write, args=(store, stream_id)))
                threads[-1].start()
                wait_for(lambda: len(list(store.advanced.get_from_checkpoint())) == len(threads))
            go_on.set()
            for thread in threads:
                thread.join()
        assert told == ["third"]


class TestClosing:
    def test_what_is_in_hand_is_delivered_first(self, wireup: Wireup) -> None:
        seen: list[str] = []
        go_on = threading.Event()

        class Slow:
            def dispatch(self, commit: Commit) -> None:
                seen.append("begins")
                go_on.wait(0.1)
                seen.append("has it")

            def close(self) -> None:
                seen.append("is closed")

        store = wireup.using_synchronous_dispatch_scheduler(Slow()).build()
        returned: list[Commit | None] = []
        thread = threading.Thread(target=lambda: returned.append(store.commit(first_attempt("s"))))
        thread.start()
        wait_for(lambda: seen)
        store.close()
        thread.join()
        assert seen == ["begins", "has it", "is closed"]
        assert len(returned) == 1

    def test_a_caller_is_told_what_is_left(self, wireup: Wireup) -> None:
        receiver = Receiver()
        receiver.failures = {1: 1_000_000}
        slow = Retry(initial_backoff_seconds=600.0, max_backoff_seconds=600.0)
        store = wireup.using_synchronous_dispatch_scheduler(receiver, retry=slow).build()
        told: list[str] = []

        def write() -> None:
            try:
                store.commit(first_attempt("s"))
            except DispatchError as error:
                told.append(str(error))

        thread = threading.Thread(target=write)
        thread.start()
        wait_for(lambda: receiver.failures[1] < 1_000_000)
        store.close()
        thread.join()
        assert len(told) == 1
        assert "is stored" in told[0]
        assert "the store was closed before it was delivered" in told[0]

    @pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
    def test_a_dispatcher_may_close_its_store(self, wireup: Wireup, synchronous: bool) -> None:
        closed = threading.Event()

        def close(commit: Commit) -> None:
            store.close()
            closed.set()

        if not synchronous:
            wireup.using_asynchronous_dispatch_scheduler()
        store = wireup.dispatch_to(close, start=False).build()
        fill(store.advanced, "s")
        threading.Thread(target=store.start_dispatching, daemon=True).start()
        assert closed.wait(20)


class TestDispatcherThatCommits:
    """A saga: what it commits is stored at once, and delivered behind the commit that it was called for."""

    def test_what_it_commits_is_delivered_next(self, wireup: Wireup) -> None:
        delivered: list[str] = []

        def answer(commit: Commit) -> None:
            delivered.append(commit.stream_id)
            if len(commit.stream_id) < 3:
                store.commit(first_attempt(commit.stream_id + "a"))
                assert delivered[-1] == commit.stream_id

        with wireup.using_synchronous_dispatch_scheduler(DelegateMessageDispatcher(answer)).build() as store:
            store.commit(first_attempt("a"))
            assert delivered == ["a", "aa", "aaa"]
            store.commit(first_attempt("b"))
            assert delivered[3:] == ["b", "ba", "baa"]
            assert list(store.advanced.get_undispatched_commits()) == []

    def test_also_when_the_store_opens(self, tmp_path: Path) -> None:
        with Wireup.init().using(tmp_path / "a.store").build() as store:
            store.commit(first_attempt("left"))
        delivered: list[str] = []

        def answer(commit: Commit) -> None:
            delivered.append(commit.stream_id)
            if commit.stream_id == "left":
                store.commit(first_attempt("answer"))

        dispatcher = DelegateMessageDispatcher(answer)
        wireup = Wireup.init().using(tmp_path / "a.store").using_synchronous_dispatch_scheduler()
        with wireup.dispatch_to(dispatcher, start=False).build() as store:
            store.start_dispatching()
            assert delivered == ["left", "answer"]

    @pytest.mark.parametrize("call", [EventStore.close, EventStore.start_dispatching])
    def test_it_may_also_be_called_on_the_way(self, tmp_path: Path, call: Callable[[EventStore], None]) -> None:
        with Wireup.init().using(tmp_path / "a.store").build() as store:
            fill(store.advanced, "left", commits=2)
        delivered: list[int] = []

        def receive(commit: Commit) -> None:
            delivered.append(commit.checkpoint_token)
            call(store)

        wireup = Wireup.init().using(tmp_path / "a.store").using_synchronous_dispatch_scheduler()
        store = wireup.dispatch_to(receive, start=False).build()
        starting = threading.Thread(target=store.start_dispatching, daemon=True)
        starting.start()
        starting.join(30)
        assert not starting.is_alive()
        assert delivered == ([1] if call is EventStore.close else [1, 2])
        store.close()

    def test_closing_does_not_wait_for_all_that_was_left(self, tmp_path: Path) -> None:
        with Wireup.init().using(tmp_path / "a.store").build() as store:
            fill(store.advanced, "left", commits=3)
        delivered: list[int] = []
        go_on = threading.Event()

        def receive(commit: Commit) -> None:
            delivered.append(commit.checkpoint_token)
            go_on.wait(30)

        def refuses() -> bool:
            try:
                store.create_stream("s")
            except StoreClosedError:
                return True
            return False

        wireup = Wireup.init().using(tmp_path / "a.store").using_synchronous_dispatch_scheduler()
        store = wireup.dispatch_to(receive, start=False).build()
        threads = [threading.Thread(target=call, daemon=True) for call in (store.start_dispatching, store.close)]
        try:
            threads[0].start()
            wait_for(lambda: delivered)
            threads[1].start()
            wait_for(refuses)
        finally:
            go_on.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert delivered == [1]

    def test_the_outer_caller_hears_when_it_cannot_be_delivered(self, wireup: Wireup) -> None:
        def answer(commit: Commit) -> None:
            if commit.stream_id == "answer":
                raise RuntimeError("nobody takes it")
            store.commit(first_attempt("answer"))

        dispatcher = DelegateMessageDispatcher(answer)
        with wireup.using_synchronous_dispatch_scheduler(dispatcher, retry=QUICK).build() as store:
            with pytest.raises(DispatchError, match=r"checkpoint 2.*nobody takes it"):
                store.commit(first_attempt("asked"))
            assert [commit.stream_id for commit in store.advanced.get_undispatched_commits()] == ["answer"]

    def test_the_outer_caller_hears_when_it_is_parked(self, wireup: Wireup) -> None:
        def answer(commit: Commit) -> None:
            if commit.stream_id == "answer":
                raise RuntimeError("nobody takes it")
            store.commit(first_attempt("answer"))

        retry = Retry(0.001, max_attempts=2, then="park")
        with wireup.using_synchronous_dispatch_scheduler(answer, retry=retry).build() as store:
            with pytest.raises(DispatchError, match=r"checkpoint 2.*is parked.*nobody takes it") as caught:
                store.commit(first_attempt("asked"))
            assert caught.value.commit == next(store.get_from("asked"))
            assert [parked.stream_id for parked in Parking(store.advanced).commits()] == ["answer"]

    def test_the_outer_caller_does_not_hear_of_what_others_commit_behind_it(self, wireup: Wireup) -> None:
        heard: list[str] = []

        def commit_beside(store: EventStore) -> None:
            try:
                store.commit(first_attempt("beside"))
            except DispatchError as error:
                heard.append(str(error))

        def answer(commit: Commit) -> None:
            if commit.stream_id == "beside":
                raise RuntimeError("nobody takes it")
            if commit.stream_id == "asked":
                store.commit(first_attempt("answer"))
                threads[0].start()
                wait_for(lambda: list(store.get_from("beside")))

        with wireup.using_synchronous_dispatch_scheduler(answer, retry=QUICK).build() as store:
            threads = [threading.Thread(target=commit_beside, args=(store,))]
            store.commit(first_attempt("asked"))
            threads[0].join(20)
            assert len(heard) == 1
            assert [commit.stream_id for commit in store.advanced.get_undispatched_commits()] == ["beside"]

    def test_two_stores_that_commit_to_each_other(self) -> None:
        delivered: list[tuple[str, str]] = []

        def deliver(name: str, commit: Commit) -> None:
            delivered.append((name, commit.stream_id))
            if len(commit.stream_id) < 3:
                other = {"a": second, "b": first}[name]
                other.commit(first_attempt(commit.stream_id + name))

        def made(name: str) -> EventStore:
            dispatcher = DelegateMessageDispatcher(lambda commit: deliver(name, commit))
            return Wireup.init().using("memory:").using_synchronous_dispatch_scheduler(dispatcher).build()

        with made("a") as first, made("b") as second:
            first.commit(first_attempt("-"))
        assert delivered == [("a", "-"), ("b", "-a"), ("a", "-ab")]

    def test_it_may_wait_for_a_thread_that_has_its_context(self, wireup: Wireup) -> None:
        delivered: list[str] = []

        def answer(commit: Commit) -> None:
            delivered.append(commit.stream_id)
            if commit.stream_id == "asked":
                context = contextvars.copy_context()
                thread = threading.Thread(target=context.run, args=(store.commit, first_attempt("answer")), daemon=True)
                thread.start()
                thread.join(20)
                assert not thread.is_alive(), "it waits for the delivery that waits for it"

        with wireup.using_synchronous_dispatch_scheduler(DelegateMessageDispatcher(answer)).build() as store:
            store.commit(first_attempt("asked"))
            assert delivered == ["asked", "answer"]

    def test_a_commit_of_a_thread_that_goes_on_is_delivered_before_it_returns(self, wireup: Wireup) -> None:
        delivered: list[str] = []
        threads: list[threading.Thread] = []

        def commit_later(store: EventStore) -> None:
            store.commit(first_attempt("later"))
            assert "later" in delivered
            delivered.append("and returned")

        def answer(commit: Commit) -> None:
            delivered.append(commit.stream_id)
            if commit.stream_id == "asked":
                context = contextvars.copy_context()
                threads.append(threading.Thread(target=context.run, args=(commit_later, store)))

        with wireup.using_synchronous_dispatch_scheduler(DelegateMessageDispatcher(answer)).build() as store:
            store.commit(first_attempt("asked"))
            threads[0].start()
            threads[0].join(20)
        assert delivered == ["asked", "later", "and returned"]


class TestAsynchronous:
    def test_commits_are_delivered_in_order(self, wireup: Wireup) -> None:
        receiver = Receiver()
        with wireup.using_asynchronous_dispatch_scheduler().dispatch_to(receiver).build() as store:
            fill_through = [store.commit(first_attempt(f"s{number}")) for number in range(50)]
            wait_for(lambda: len(receiver.tokens) == len(fill_through))
        assert receiver.tokens == list(range(1, 51))
        assert receiver.closed

    def test_a_commit_that_fails_is_tried_until_it_goes_and_none_passes_it(self, wireup: Wireup) -> None:
        receiver = Receiver()
        receiver.failures = {2: 10}
        with wireup.using_asynchronous_dispatch_scheduler(receiver, retry=QUICK).build() as store:
            for number in range(4):
                store.commit(first_attempt(f"s{number}"))
            wait_for(lambda: len(receiver.tokens) == 4)
        assert receiver.tokens == [1, 2, 3, 4]

    def test_a_dispatcher_that_ends_the_program_does_not_end_delivery(self, wireup: Wireup) -> None:
        delivered: list[int] = []

        def deliver(commit: Commit) -> None:
            if not delivered:
                delivered.append(0)
                raise SystemExit(3)
            delivered.append(commit.checkpoint_token)

        dispatcher = DelegateMessageDispatcher(deliver)
        with wireup.using_asynchronous_dispatch_scheduler(dispatcher, retry=QUICK).build() as store:
            store.commit(first_attempt("s"))
            wait_for(lambda: delivered == [0, 1])

    def test_waits_begin_anew_when_the_engine_was_there_again(self) -> None:
        class Engine(MemoryEngine):
            is_away = False

            def get_undispatched_commits(self) -> Iterator[Commit]:
                if self.is_away:
                    self.is_away = False
                    raise StorageUnavailableError("the database is away")
                return super().get_undispatched_commits()

        waits: list[int] = []

        class Watched(Retry):
            def wait_seconds(self, failures: int) -> float:
                waits.append(failures)
                return 0.001

        engine, receiver = Engine(), Receiver()
        engine.initialize()
        scheduler = AsynchronousDispatchScheduler(engine, receiver, retry=Watched())
        scheduler.start()
        for number in range(3):
            engine.is_away = True
            engine.commit(first_attempt(f"s{number}"))
            wait_for(lambda: len(receiver.tokens) == engine._last_token)
        scheduler.close()
        assert waits == [1, 1, 1]

    def test_where_nothing_is_left_it_waits_instead_of_looking(self) -> None:
        class Engine(MemoryEngine):
            looks = 0

            def get_undispatched_commits(self) -> Iterator[Commit]:
                self.looks += 1
                return super().get_undispatched_commits()

        engine = Engine()
        engine.initialize()
        for commit in fill(engine, "s", commits=5):
            engine.mark_commit_as_dispatched(commit)
        scheduler = AsynchronousDispatchScheduler(engine, Receiver())
        scheduler.start()
        time.sleep(0.5)
        scheduler.close()
        assert engine.looks <= 2

    def test_closing_does_not_wait_for_a_commit_that_never_goes(self, wireup: Wireup) -> None:
        receiver = Receiver()
        receiver.failures = {1: 1_000_000}
        slow = Retry(initial_backoff_seconds=600.0, max_backoff_seconds=600.0)
        with wireup.using_asynchronous_dispatch_scheduler(receiver, retry=slow).build() as store:
            store.commit(first_attempt("s"))
            wait_for(lambda: receiver.failures[1] < 1_000_000)
        assert receiver.tokens == []


@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
class TestStartingUp:
    def wireup(self, path: Path, receiver: Receiver, synchronous: bool) -> Wireup:
        wireup = Wireup.init().using_file_persistence(path)
        if synchronous:
            return wireup.using_synchronous_dispatch_scheduler(receiver, retry=QUICK)
        return wireup.using_asynchronous_dispatch_scheduler(receiver, retry=QUICK)

    def test_what_an_earlier_process_left_is_delivered(self, tmp_path: Path, synchronous: bool) -> None:
        with Wireup.init().using_file_persistence(tmp_path / "s").build() as store:
            commits = fill(store.advanced, "s", commits=3)
            store.advanced.mark_commit_as_dispatched(commits[0])
        receiver = Receiver()
        with self.wireup(tmp_path / "s", receiver, synchronous).build():
            wait_for(lambda: receiver.tokens == [2, 3])
        again = Receiver()
        with self.wireup(tmp_path / "s", again, synchronous).build() as store:
            store.commit(next_attempt(commits[-1]))
            wait_for(lambda: again.tokens == [4])

    def test_a_poisoned_commit_does_not_keep_the_store_from_opening(self, tmp_path: Path, synchronous: bool) -> None:
        with Wireup.init().using_file_persistence(tmp_path / "s").build() as store:
            fill(store.advanced, "s", commits=2)
        receiver = Receiver()
        receiver.failures = {1: 1_000_000}
        with self.wireup(tmp_path / "s", receiver, synchronous).build() as store:
            assert len(list(store.get_from("s"))) == 2
        assert receiver.tokens == []
