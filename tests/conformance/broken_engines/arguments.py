"""Engines that take what is no argument, or refuse what is one."""

from __future__ import annotations

from contextlib import suppress

from model_engine import ModelEngine

from broken_engines.breaking import caught_by, stored_anyway
from fsstore.engines.arguments import checked_value
from fsstore.model import CommitAttempt


@caught_by("test_attempts_come_from_any_iterable")
class IteratorsAreUsedUp(ModelEngine):
    def commit_many(self, attempts):
        if not any(True for _ in attempts):
            return []
        return super().commit_many(attempts)


@caught_by("test_attempts_come_from_any_iterable", "test_a_batch_with_anything_else_is_refused_whole")
class OnlyListsAreTaken(ModelEngine):
    def commit_many(self, attempts):
        if not isinstance(attempts, list | tuple):
            raise TypeError(f"a list is needed, not {type(attempts).__name__}")
        return super().commit_many(attempts)


@caught_by("test_only_attempts_are_committed")
class CommitsAreCommitted(ModelEngine):
    def commit(self, attempt):
        return super().commit(CommitAttempt.of(attempt) if hasattr(attempt, "checkpoint_token") else attempt)


@caught_by("test_a_batch_with_anything_else_is_refused_whole")
class BatchesEndAtWhatIsNoAttempt(ModelEngine):
    def commit_many(self, attempts):
        return [stored_anyway(self.model, checked_value(attempt, CommitAttempt)) for attempt in attempts]


@caught_by("test_only_commits_are_marked")
class TokensAreMarked(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        if isinstance(commit, int):
            self.model.dispatched.add(commit)
        else:
            super().mark_commit_as_dispatched(commit)


@caught_by("test_only_snapshots_are_added")
class NoSnapshotIsNotAdded(ModelEngine):
    def add_snapshot(self, snapshot):
        return snapshot is not None and super().add_snapshot(snapshot)


@caught_by("test_what_is_no_id_is_refused")
class NoIdIsNoStream(ModelEngine):
    def delete_stream(self, bucket_id, stream_id):
        with suppress(ValueError):
            super().delete_stream(bucket_id, stream_id)


@caught_by("test_what_is_no_id_is_refused")
class AnEmptyBucketIsEveryBucket(ModelEngine):
    def purge(self, bucket_id=None):
        super().purge(bucket_id or None)


@caught_by("test_only_whole_numbers_are_numbers")
class TrueIsOne(ModelEngine):
    def get_streams_to_snapshot(self, bucket_id, max_threshold):
        return super().get_streams_to_snapshot(bucket_id, +max_threshold)


@caught_by("test_only_whole_numbers_are_numbers")
class TokensMayBeFractions(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, *, bucket_id=None):
        to_checkpoint = None if to_checkpoint is None else int(to_checkpoint)
        return super().get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)


@caught_by("test_a_commit_beyond_all_that_is_stored_is_marked_in_vain")
class TokensHaveEightBytes(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        if not -(1 << 63) <= commit.checkpoint_token < 1 << 63:
            raise OverflowError
        super().mark_commit_as_dispatched(commit)


@caught_by(
    "test_a_commit_beyond_all_that_is_stored_conflicts",
    "test_a_commit_that_is_stored_is_a_duplicate_whatever_its_numbers",
)
class RevisionsHaveEightBytes(ModelEngine):
    def commit(self, attempt):
        if attempt.stream_revision >= 1 << 63:
            raise ValueError("stream_revision is too large")
        return super().commit(attempt)


@caught_by("test_a_time_beyond_every_clock_is_for_ever")
class SecondsAreFloats(ModelEngine):
    def acquire_lease(self, name, seconds):
        return super().acquire_lease(name, float(seconds) if type(seconds) is int and seconds > 0 else seconds)


@caught_by("test_what_is_no_time_is_refused")
class SecondsDoNotMatter(ModelEngine):
    def renew_lease(self, lease, seconds):
        super().renew_lease(lease, 1.0)


@caught_by("test_only_datetimes_are_times")
class NoStartIsTheBeginning(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        if start is None:
            return super().get_from_checkpoint(bucket_id=bucket_id)
        return super().get_from_date(start, end, bucket_id=bucket_id)
