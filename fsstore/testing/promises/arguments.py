"""What no engine takes: wrong arguments are a `TypeError` or `ValueError` in the same words, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import pytest

from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import MAX_ID_CHARACTERS, CommitAttempt
from fsstore.testing.attempts import EPOCH, fill, first_attempt, next_attempt
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.stores import EngineTests, case, nothing_changes

Call = Callable[[PersistenceEngine, Any], object]

NO_IDS = {
    "None": (None, TypeError),
    "a number": (5, TypeError),
    "bytes": (b"stream", TypeError),
    "empty": ("", ValueError),
    "too long": ("x" * (MAX_ID_CHARACTERS + 1), ValueError),
    "half a character": ("\ud800", ValueError),
}

# More than four, eight and sixteen bytes hold, and than a float.
BEYOND = (1 << 31, (1 << 63) - 1, 1 << 63, 1 << 64, 1 << 130, 10**400)

WITH_STREAM_ID: dict[str, Call] = {
    "get_from": lambda engine, value: list(engine.get_from("default", value)),
    "get_snapshot": lambda engine, value: engine.get_snapshot("default", value),
    "delete_stream": lambda engine, value: engine.delete_stream("default", value),
}

WITH_BUCKET_ID: dict[str, Call] = {
    "get_from": lambda engine, value: list(engine.get_from(value, "stream")),
    "get_snapshot": lambda engine, value: engine.get_snapshot(value, "stream"),
    "delete_stream": lambda engine, value: engine.delete_stream(value, "stream"),
    "get_streams_to_snapshot": lambda engine, value: list(engine.get_streams_to_snapshot(value, 0)),
}

# Here `None` stands for every bucket.
WITH_OPTIONAL_BUCKET_ID: dict[str, Call] = {
    "get_from_checkpoint": lambda engine, value: list(engine.get_from_checkpoint(bucket_id=value)),
    "get_from_date": lambda engine, value: list(engine.get_from_date(EPOCH, bucket_id=value)),
    "purge": lambda engine, value: engine.purge(value),
}

WITH_NUMBER: dict[str, Call] = {
    "min_revision": lambda engine, value: list(engine.get_from("default", "stream", value)),
    "checkpoint_token": lambda engine, value: list(engine.get_from_checkpoint(value)),
    "max_threshold": lambda engine, value: list(engine.get_streams_to_snapshot("default", value)),
}

# Here `None` stands for no end.
WITH_OPTIONAL_NUMBER: dict[str, Call] = {
    "max_revision": lambda engine, value: list(engine.get_from("default", "stream", 0, value)),
    "max_revision of a snapshot": lambda engine, value: engine.get_snapshot("default", "stream", value),
    "to_checkpoint": lambda engine, value: list(engine.get_from_checkpoint(0, value)),
}


class ArgumentPromises(EngineTests):
    """Wrong arguments."""

    def test_only_attempts_are_committed(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        for wrong in (None, "x", 5, head, (next_attempt(head),)):
            with case(repr(wrong)), nothing_changes(engine), _refused("a CommitAttempt is needed", wrong):
                engine.commit(wrong)  # type: ignore[arg-type]

    def test_a_batch_with_anything_else_is_refused_whole(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        attempts = [next_attempt(head), first_attempt("other"), first_attempt("another")]
        for wrong in (None, "x", head):
            for position in range(len(attempts) + 1):
                batch: list[Any] = [*attempts[:position], wrong, *attempts[position:]]
                with case(f"{wrong!r} at {position}"), nothing_changes(engine, *attempts):
                    with _refused("a CommitAttempt is needed", wrong):
                        engine.commit_many(batch)
                    with _refused("a CommitAttempt is needed", wrong):
                        engine.commit_many(each for each in batch)
        for nothing in (None, 5, attempts[0]):
            with (
                case(repr(nothing)),
                nothing_changes(engine, *attempts),
                pytest.raises(TypeError, match="not iterable"),
            ):
                engine.commit_many(nothing)  # type: ignore[arg-type]

    def test_only_commits_are_marked(self, engine: PersistenceEngine) -> None:
        [stored] = fill(engine, "stream")
        for wrong in (None, stored.checkpoint_token, next_attempt(stored)):
            with case(repr(wrong)), nothing_changes(engine), _refused("a Commit is needed", wrong):
                engine.mark_commit_as_dispatched(wrong)  # type: ignore[arg-type]

    def test_only_snapshots_are_added(self, engine: PersistenceEngine) -> None:
        [stored] = fill(engine, "stream")
        for wrong in (None, "state", {"stream_id": "stream"}, stored):
            with case(repr(wrong)), nothing_changes(engine), _refused("a Snapshot is needed", wrong):
                engine.add_snapshot(wrong)  # type: ignore[arg-type]

    def test_what_is_no_id_is_refused(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        for what, calls in (
            ("stream_id", WITH_STREAM_ID),
            ("bucket_id", WITH_BUCKET_ID),
            ("bucket_id", WITH_OPTIONAL_BUCKET_ID),
        ):
            with nothing_changes(engine):
                for name, (value, error) in NO_IDS.items():
                    for call, ask in calls.items():
                        if value is None and calls is WITH_OPTIONAL_BUCKET_ID:
                            continue
                        with case(f"{call} with {what} {name}"), pytest.raises(error, match=f"^{what} "):
                            ask(engine, value)

    def test_only_whole_numbers_are_numbers(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream", commits=2)
        for calls, no_numbers in (
            (WITH_NUMBER, (True, 1.0, "1", None)),
            (WITH_OPTIONAL_NUMBER, (True, 1.0, "1")),
        ):
            for what, ask in calls.items():
                for wrong in no_numbers:
                    with case(f"{what} {wrong!r}"), _refused(f"{what.split()[0]} must be an int", wrong):
                        ask(engine, wrong)

    def test_a_commit_beyond_all_that_is_stored_is_marked_in_vain(self, engine: PersistenceEngine) -> None:
        [stored] = fill(engine, "stream")
        for beyond in (*BEYOND, 0, *(-beyond for beyond in BEYOND)):
            with case(_short(beyond)), nothing_changes(engine):
                engine.mark_commit_as_dispatched(replace(stored, checkpoint_token=beyond))

    def test_a_commit_beyond_all_that_is_stored_conflicts(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        for beyond in BEYOND:
            for attempt in (
                replace(next_attempt(head), stream_revision=beyond),
                replace(next_attempt(head), stream_revision=beyond, commit_sequence=beyond),
            ):
                with case(_short(beyond)), nothing_changes(engine, attempt), pytest.raises(ConcurrencyError):
                    engine.commit(attempt)

    def test_a_commit_that_is_stored_is_a_duplicate_whatever_its_numbers(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        for beyond in BEYOND:
            again = replace(CommitAttempt.of(head), stream_revision=beyond)
            with case(_short(beyond)), nothing_changes(engine), pytest.raises(DuplicateCommitError):
                engine.commit(again)

    @needs("delivery")
    def test_a_time_beyond_every_clock_is_for_ever(self, engine: PersistenceEngine) -> None:
        [stored] = fill(engine, "stream")
        delivery = cast("DeliveryEngine", engine)
        for beyond in (*BEYOND, float("inf")):
            with case(_short(beyond)):
                assert delivery.wait_for_commits(stored.checkpoint_token - 1, beyond)
                lease = delivery.acquire_lease("a", beyond)
                assert lease is not None
                assert delivery.acquire_lease("a", 0.0) is None
                delivery.renew_lease(lease, beyond)
                assert delivery.acquire_lease("a", 0.0) is None
                delivery.release_lease(lease)
        for beyond in BEYOND:
            with case(_short(beyond)):
                assert not delivery.wait_for_commits(beyond, 0.0)
                assert delivery.wait_for_commits(-beyond, 0.0)

    @needs("delivery")
    def test_what_is_no_time_is_refused(self, engine: PersistenceEngine) -> None:
        delivery = cast("DeliveryEngine", engine)
        lease = delivery.acquire_lease("a", 600.0)
        assert lease is not None
        for wrong in (True, "1", None, float("nan"), -1, float("-inf"), -(10**400)):
            error = ValueError if type(wrong) in (int, float) else TypeError
            seconds: Any = wrong
            with case(_short(wrong)):
                with pytest.raises(error, match=r"^seconds must be "):
                    delivery.acquire_lease("b", seconds)
                with pytest.raises(error, match=r"^seconds must be "):
                    delivery.renew_lease(lease, seconds)
                with pytest.raises(error, match=r"^timeout_seconds must be "):
                    delivery.wait_for_commits(0, seconds)
        for no_number in (True, 1.0, "1", None):
            with case(repr(no_number)), _refused("checkpoint_token must be an int", no_number):
                delivery.wait_for_commits(no_number, 0.0)  # type: ignore[arg-type]

    def test_only_datetimes_are_times(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        for wrong in (EPOCH.date(), EPOCH.timestamp(), EPOCH.isoformat()):
            with case(repr(wrong)):
                with _refused("start must be a datetime", wrong):
                    list(engine.get_from_date(wrong))  # type: ignore[arg-type]
                with _refused("end must be a datetime", wrong):
                    list(engine.get_from_date(EPOCH, wrong))  # type: ignore[arg-type]
        with _refused("start must be a datetime", None):
            list(engine.get_from_date(None))  # type: ignore[arg-type]


def _refused(words: str, wrong: object) -> AbstractContextManager[object]:
    return pytest.raises(TypeError, match=f"^{words}, not {type(wrong).__name__}$")


def _short(value: object) -> str:
    return repr(value)[:40]
