"""Many threads on one engine: one winner a place, no half of anything, no commit that turns up late.

No test here depends on how fast anything is; the threads stop when their work is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Barrier, Event, Thread
from time import sleep
from typing import Any

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import Commit, Snapshot
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.promises.stores import EngineTests, tokens

WRITERS = 8

# What takes so long waits for somebody.
PATIENCE_SECONDS = 10

# Readers that ask again at once would keep the writers from an engine whose lock is not fair.
BETWEEN_READS_SECONDS = 0.0005


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run each work in a thread of its own, all starting at once; gives their results or raises an error."""
    start = Barrier(len(works))
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(place: int, work: Callable[[], Any]) -> None:
        try:
            start.wait()
            results[place] = work()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def race(engines: Sequence[PersistenceEngine], stream_id: str, commits: int) -> list[Commit]:
    """One writer an engine appends to the same stream, reading again after losing; gives what each won."""

    def write(engine: PersistenceEngine) -> list[Commit]:
        won: list[Commit] = []
        lost = 0
        while len(won) < commits:
            known = list(engine.get_from("default", stream_id))
            attempt = next_attempt(known[-1], events=2) if known else first_attempt(stream_id, events=2)
            try:
                won.append(engine.commit(attempt))
            except ConcurrencyError:
                lost += 1
                assert lost <= commits * len(engines), "every place that this writer lost was won by another"
        return won

    works = [lambda engine=engine: write(engine) for engine in engines]
    return [commit for won in together(*works) for commit in won]


def write_streams(engine: PersistenceEngine, name: str, commits: int) -> list[Commit]:
    """Append to three streams of the writer's own, now and then several commits in one call."""
    heads: list[Commit] = []
    stored: list[Commit] = []
    for number in range(3):
        heads.append(engine.commit(first_attempt(f"{name} {number}")))
    stored += heads
    for number in range(commits):
        place = number % 3
        if number % 5 == 4:
            one = next_attempt(heads[place])
            batch = engine.commit_many([one, next_attempt(one, events=2), next_attempt(heads[place - 1])])
            heads[place], heads[place - 1] = batch[1], batch[2]
            stored += batch
        else:
            heads[place] = engine.commit(next_attempt(heads[place]))
            stored.append(heads[place])
    return stored


def poll(engine: PersistenceEngine, finished: Event) -> list[Commit]:
    """What a reader sees that asks again and again for what follows the last token it has seen."""
    seen: list[Commit] = []
    while True:
        last_round = finished.is_set()
        seen.extend(engine.get_from_checkpoint(seen[-1].checkpoint_token if seen else 0))
        if last_round:
            return seen
        sleep(BETWEEN_READS_SECONDS)


def write_and_poll(
    writers: Sequence[PersistenceEngine], readers: Sequence[PersistenceEngine], commits: int
) -> tuple[list[Commit], list[list[Commit]]]:
    """What the writers stored, in checkpoint order, and what each polling reader saw."""
    finished = Event()

    def write_all() -> list[Commit]:
        try:
            works = [
                lambda engine=engine, number=number: write_streams(engine, f"writer {number}", commits)
                for number, engine in enumerate(writers)
            ]
            return [commit for stored in together(*works) for commit in stored]
        finally:
            finished.set()

    stored, *seen = together(write_all, *(lambda engine=engine: poll(engine, finished) for engine in readers))
    return sorted(stored, key=lambda commit: commit.checkpoint_token), seen


class ConcurrencyPromises(EngineTests):
    """Threads that share one engine."""

    def test_one_winner_for_every_sequence(self, engine: PersistenceEngine) -> None:
        won = race([engine] * WRITERS, "stream", commits=self.race_commits)
        found = list(engine.get_from("default", "stream"))
        expected = list(range(1, WRITERS * self.race_commits + 1))
        assert [each.commit_sequence for each in found] == expected
        assert [each.stream_revision for each in found] == [2 * n for n in expected]
        assert tokens(found) == expected
        assert sorted(won, key=lambda each: each.checkpoint_token) == found

    def test_a_hundred_threads_for_one_place(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]

        def write() -> str:
            try:
                engine.commit(next_attempt(head))
            except ConcurrencyError:
                return "lost"
            return "won"

        assert Counter(together(*[write] * 100)) == {"won": 1, "lost": 99}
        assert len(list(engine.get_from("default", "stream"))) == 2
        assert fill(engine, "other")[0].checkpoint_token == 3

    def test_the_same_attempt_from_many_threads_is_stored_once(self, engine: PersistenceEngine) -> None:
        attempt = first_attempt("stream")

        def write() -> str:
            try:
                engine.commit(attempt)
            except DuplicateCommitError:
                return "duplicate"
            return "stored"

        assert Counter(together(*[write] * WRITERS)) == {"stored": 1, "duplicate": WRITERS - 1}
        assert list(engine.get_from_checkpoint()) == [Commit.of(attempt, 1)]

    def test_batches_that_overlap_are_stored_whole_or_not(self, engine: PersistenceEngine) -> None:
        def write(number: int) -> list[Commit]:
            batch = [first_attempt(f"own {number}"), first_attempt("shared"), first_attempt(f"also {number}")]
            try:
                return engine.commit_many(batch)
            except ConcurrencyError:
                return []

        won = [each for each in together(*(lambda n=n: write(n) for n in range(WRITERS))) if each]
        assert len(won) == 1
        assert list(engine.get_from_checkpoint()) == won[0]

    def test_a_polling_reader_never_finds_a_commit_late(self, engine: PersistenceEngine) -> None:
        stored, [first, second] = write_and_poll([engine] * WRITERS, [engine] * 2, commits=2 * self.race_commits)
        assert tokens(stored) == list(range(1, len(stored) + 1))
        assert first == stored
        assert second == stored

    def test_a_reader_sees_a_batch_whole_or_not_at_all(self, engine: PersistenceEngine) -> None:
        finished = Event()

        def write() -> None:
            try:
                for number in range(4 * self.race_commits):
                    engine.commit_many([first_attempt(f"{number} {place}") for place in range(10)])
            finally:
                finished.set()

        def read() -> list[int]:
            lengths = []
            while not finished.is_set():
                lengths.append(len(list(engine.get_from_checkpoint())))
                sleep(BETWEEN_READS_SECONDS)
            return lengths

        _, lengths = together(write, read)
        assert [length for length in lengths if length % 10] == []

    def test_a_reader_of_a_stream_sees_its_beginning(self, engine: PersistenceEngine) -> None:
        finished = Event()

        def write() -> list[Commit]:
            try:
                return fill(engine, "stream", commits=10 * self.race_commits)
            finally:
                finished.set()

        def read() -> list[list[Commit]]:
            views: list[list[Commit]] = []
            while True:
                # A last look at the end, for engines that write faster than anybody reads.
                last = finished.is_set() or len(views) == 200
                views.append(list(engine.get_from("default", "stream")))
                if last:
                    return views
                sleep(BETWEEN_READS_SECONDS)

        stored, views, more_views = together(write, read, read)
        for reader in (views, more_views):
            for view in reader:
                assert view == stored[: len(view)]
            assert [len(view) for view in reader] == sorted(len(view) for view in reader)

    def test_who_stops_within_a_walk_keeps_no_other_thread_waiting(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=5)
        walks = [
            engine.get_from("default", "stream"),
            engine.get_from_checkpoint(),
            engine.get_from_date(stored[0].commit_stamp),
            engine.get_undispatched_commits(),
            engine.get_streams_to_snapshot("default", 0),
        ]
        for walk in walks:
            next(walk)

        def write() -> None:
            engine.commit(next_attempt(stored[-1]))
            engine.add_snapshot(Snapshot("stream", 2, "state"))
            engine.mark_commit_as_dispatched(stored[0])
            engine.delete_stream("default", "stream")

        writer = Thread(target=write, daemon=True)
        writer.start()
        writer.join(PATIENCE_SECONDS)
        is_kept_waiting = writer.is_alive()
        del walk, walks  # whatever they hold
        writer.join()
        assert not is_kept_waiting
        assert list(engine.get_from_checkpoint()) == []

    def test_a_writer_reads_its_own_commits(self, engine: PersistenceEngine) -> None:
        def write(number: int) -> None:
            stored: list[Commit] = []
            for _ in range(2 * self.race_commits):
                attempt = next_attempt(stored[-1]) if stored else first_attempt(f"stream {number}")
                stored.append(engine.commit(attempt))
                assert list(engine.get_from("default", f"stream {number}")) == stored
                assert next(engine.get_from_checkpoint(stored[-1].checkpoint_token - 1)) == stored[-1]

        together(*(lambda n=n: write(n) for n in range(4)))

    def test_one_snapshot_of_a_revision_wins(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        works = [lambda n=n: engine.add_snapshot(Snapshot("stream", 2, n)) for n in range(WRITERS)]
        results = together(*works)
        assert results.count(True) == 1
        assert results.count(False) == WRITERS - 1
        assert engine.get_snapshot("default", "stream") == Snapshot("stream", 2, results.index(True))

    def test_marks_from_many_threads(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=8 * self.race_commits)

        def mark(number: int) -> None:
            for commit in stored[number : len(stored) - 8 : WRITERS]:
                engine.mark_commit_as_dispatched(commit)

        together(*(lambda n=n: mark(n) for n in range(WRITERS)))
        assert list(engine.get_undispatched_commits()) == stored[-8:]

    def test_deleting_while_others_write(self, engine: PersistenceEngine) -> None:
        fill(engine, "doomed", commits=20)

        def write(name: str) -> list[Commit]:
            return write_streams(engine, name, 20)

        _, first, second = together(
            lambda: engine.delete_stream("default", "doomed"), lambda: write("a"), lambda: write("b")
        )
        stored = sorted(first + second, key=lambda each: each.checkpoint_token)
        assert list(engine.get_from_checkpoint()) == stored
        assert tokens(stored) == list(range(21, 21 + len(stored)))
