"""Importing goes on where it stopped, skips what is there, and stops at the first contradiction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from model_engine import ModelEngine

from fsstore.engine import PersistenceEngine
from fsstore.errors import DuplicateCommitError
from fsstore.importing import ImportConflictError, Imported, import_commits
from fsstore.interchange import InterchangeError
from fsstore.model import Commit, CommitAttempt, EventMessage
from fsstore.testing.attempts import first_attempt, next_attempt


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ModelEngine]:
    engine = ModelEngine(tmp_path)
    engine.initialize()
    yield engine
    engine.close()


def history(commits: int = 10, streams: int = 3) -> list[CommitAttempt]:
    """Commits of several streams in turn, each with an id of its own."""
    last: dict[int, CommitAttempt] = {}
    attempts = []
    for number in range(commits):
        stream = number % streams
        before = last.get(stream)
        commit_id = UUID(int=number + 1)
        attempt = (
            next_attempt(before, commit_id=commit_id) if before else first_attempt(f"s{stream}", commit_id=commit_id)
        )
        last[stream] = attempt
        attempts.append(attempt)
    return attempts


def numbered(attempts: Sequence[CommitAttempt]) -> Iterator[tuple[int, CommitAttempt]]:
    return iter(list(enumerate(attempts, 1)))


def run(engine: PersistenceEngine, attempts: Sequence[CommitAttempt], batch_commits: int = 4) -> list[Imported]:
    return list(import_commits(engine, numbered(attempts), batch_commits=batch_commits))


def stored(engine: PersistenceEngine) -> list[Commit]:
    return list(engine.get_from_checkpoint())


def as_stored(attempts: Sequence[CommitAttempt]) -> list[Commit]:
    return [Commit.of(attempt, token) for token, attempt in enumerate(attempts, 1)]


def test_everything_is_stored_in_order_and_in_batches(engine: ModelEngine) -> None:
    attempts = history(10)
    batches = run(engine, attempts)
    assert stored(engine) == as_stored(attempts)
    assert [(len(batch.stored), batch.skipped, batch.line_number) for batch in batches] == [
        (4, 0, 4),
        (4, 0, 8),
        (2, 0, 10),
    ]


def test_nothing_gives_nothing(engine: ModelEngine) -> None:
    assert run(engine, []) == []


@pytest.mark.parametrize("already", range(11))
def test_importing_again_goes_on_where_it_stopped(engine: ModelEngine, already: int) -> None:
    attempts = history(10)
    run(engine, attempts[:already])
    batches = run(engine, attempts)
    assert stored(engine) == as_stored(attempts)
    assert sum(batch.skipped for batch in batches) == already
    assert sum(len(batch.stored) for batch in batches) == 10 - already


@pytest.mark.parametrize("batch_commits", [1, 4, 100])
def test_a_commit_twice_in_the_file_is_stored_once(engine: ModelEngine, batch_commits: int) -> None:
    attempts = history(6)
    batches = run(engine, [*attempts[:3], attempts[1], *attempts[3:], attempts[5]], batch_commits)
    assert stored(engine) == as_stored(attempts)
    assert sum(batch.skipped for batch in batches) == 2


def conflict_at(number: int, attempts: list[CommitAttempt], kind: str) -> list[CommitAttempt]:
    """`attempts` with the one at `number` (from 1) made contradictory."""
    bad = attempts[number - 1]
    changes = {
        "content": {"events": (EventMessage("other"),)},
        "gap": {"commit_sequence": bad.commit_sequence + 1, "stream_revision": bad.stream_revision + 1},
        "id": {"commit_id": UUID(int=999)},
        "moved": {"commit_sequence": bad.commit_sequence + 5, "stream_revision": bad.stream_revision + 5},
        "refused": {"events": (EventMessage(object()),)},
    }[kind]
    fields = {name: getattr(bad, name) for name in CommitAttempt.__slots__} | changes
    return [*attempts[: number - 1], CommitAttempt(**fields), *attempts[number:]]


@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 10])
@pytest.mark.parametrize("batch_commits", [1, 4, 100])
def test_a_line_that_cannot_follow_stops_it_and_nothing_after_it_is_stored(
    engine: ModelEngine, number: int, batch_commits: int
) -> None:
    attempts = history(10)
    for kind in ("gap", "refused"):
        with pytest.raises(ImportConflictError, match=f"^line {number}: ") as caught:
            run(engine, conflict_at(number, attempts, kind), batch_commits)
        assert caught.value.line_number == number
        assert stored(engine) == as_stored(attempts[: number - 1])


@pytest.mark.parametrize("already", [6, 10])
@pytest.mark.parametrize("kind", ["content", "id", "moved"])
def test_a_commit_that_differs_from_the_stored_one_is_a_conflict(engine: ModelEngine, kind: str, already: int) -> None:
    attempts = history(10)
    run(engine, attempts[:already])
    with pytest.raises(ImportConflictError) as caught:
        run(engine, conflict_at(6, attempts, kind))
    assert caught.value.line_number == 6
    assert "s2" in str(caught.value)
    assert str(attempts[5].commit_id) in str(caught.value)
    assert stored(engine) == as_stored(attempts[:already])


def test_a_commit_that_differs_from_one_earlier_in_the_file_is_a_conflict(engine: ModelEngine) -> None:
    attempts = history(6)
    twisted = conflict_at(2, attempts, "content")[1]
    with pytest.raises(ImportConflictError, match=r"^line 4: .*different: events"):
        run(engine, [*attempts[:3], twisted, *attempts[3:]])
    assert stored(engine) == as_stored(attempts[:3])


def test_what_came_before_is_reported_before_the_conflict(engine: ModelEngine) -> None:
    attempts = history(10)
    run(engine, attempts[:5])
    importing = import_commits(engine, numbered(conflict_at(8, attempts, "gap")), batch_commits=100)
    batch = next(importing)
    assert (len(batch.stored), batch.skipped, batch.line_number) == (2, 5, 7)
    with pytest.raises(ImportConflictError):
        next(importing)


def test_what_came_before_an_unreadable_line_is_stored(engine: ModelEngine) -> None:
    attempts = history(6)

    def reading() -> Iterator[tuple[int, CommitAttempt]]:
        yield from numbered(attempts)
        raise InterchangeError("this is not JSON", 7)

    with pytest.raises(InterchangeError, match=r"^line 7: "):
        list(import_commits(engine, reading(), batch_commits=4))
    assert stored(engine) == as_stored(attempts)


def test_another_importer_of_the_same_is_no_conflict(engine: ModelEngine) -> None:
    """The rival stores a commit between this import's look and its write."""
    attempts = history(6)

    class Overtaken(ModelEngine):
        tries = 0

        def commit_many(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
            if len(attempts) == 1:
                return super().commit_many(attempts)
            self.tries += 1
            if self.tries == 2:
                engine.commit(attempts[0])
            raise DuplicateCommitError("overtaken")

    batches = list(import_commits(Overtaken(engine.where), numbered(attempts)))
    assert stored(engine) == as_stored(attempts)
    assert [(len(batch.stored), batch.skipped) for batch in batches] == [(5, 1)]
