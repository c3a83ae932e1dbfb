"""Engines that break one promise each, and the tests of the conformance suite that must notice.

`BREAKAGES` maps the name of a breakage to its engine and those tests; for each there is a conformance class
here, named after it, which `test_conformance_catches.py` runs. Every engine is `ModelEngine` with one fault.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from model_engine import RECORD_LIMIT_BYTES, Delivery, ModelEngine, lock, places

from fsstore.errors import (
    ConcurrencyError,
    DuplicateCommitError,
    EventStoreError,
    SerializationError,
    StoreClosedError,
)
from fsstore.model import Commit, StreamHead, checked_name
from fsstore.testing import Capabilities, EngineConformance, EngineModel

BREAKAGES: dict[str, tuple[type[ModelEngine], tuple[str, ...]]] = {}
CAPABILITIES = Capabilities(durable=True, shared=True, delivery=True, record_limit_bytes=RECORD_LIMIT_BYTES)

# The first failure will do, and the same one every time.
MACHINE_SETTINGS = settings(
    EngineConformance.machine_settings, phases=[Phase.generate], derandomize=True, max_examples=100
)


def caught_by(*tests: str, capabilities: Capabilities = CAPABILITIES) -> Any:
    def register(engine: type[ModelEngine]) -> type[ModelEngine]:
        def open_engine(self: EngineConformance, where: Path) -> ModelEngine:
            return engine(where)

        def discard_store(self: EngineConformance, where: Path) -> None:
            places.pop(where, None)

        globals()[f"Test{engine.__name__}"] = type(
            f"Test{engine.__name__}",
            (EngineConformance,),
            {
                "__module__": __name__,
                "capabilities": capabilities,
                "machine_settings": MACHINE_SETTINGS,
                "open_engine": open_engine,
                "discard_store": discard_store,
            },
        )
        BREAKAGES[engine.__name__] = (engine, tests)
        return engine

    return register


def stored_anyway(model: EngineModel, attempt: Any) -> Commit:
    model.last_token += 1
    model.commits.append(Commit.of(deepcopy(attempt), model.last_token))
    return model.commits[-1]


def stream_of(model: EngineModel, attempt: Any) -> list[Commit]:
    return model.get_from(attempt.bucket_id, attempt.stream_id)


# Commits


@caught_by(
    "test_the_same_attempt_again_is_a_duplicate",
    "test_duplicate_is_checked_before_concurrency",
    "test_an_attempt_twice_in_one_call_is_a_duplicate",
    "test_what_another_stored_is_checked_against",
    "test_the_same_attempt_from_many_threads_is_stored_once",
    "test_any_history_goes_as_the_model_says",
)
class DuplicatesReportedAsConflicts(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except DuplicateCommitError as error:
            raise ConcurrencyError(*error.args) from None


@caught_by("test_duplicate_is_checked_before_concurrency")
class ConcurrencyCheckedBeforeDuplicates(ModelEngine):
    def commit_many(self, attempts):
        for attempt in attempts[:1]:
            stream = stream_of(self.model, attempt)
            if attempt.commit_sequence > len(stream) + 1:
                raise ConcurrencyError("ahead")
        return super().commit_many(attempts)


@caught_by("test_an_id_of_long_ago_is_still_a_duplicate")
class OldIdsForgotten(ModelEngine):
    def commit_many(self, attempts):
        [attempt, *_] = [*attempts, None]
        if attempt is not None:
            stream = stream_of(self.model, attempt)
            if attempt.commit_id in [each.commit_id for each in stream[:-100]]:
                return [stored_anyway(self.model, attempt)]
        return super().commit_many(attempts)


@caught_by("test_ids_are_still_duplicates_after_reopening")
class IdsForgottenOnReopening(ModelEngine):
    def initialize(self):
        super().initialize()
        self.known = self.model.last_token

    def commit_many(self, attempts):
        for attempt in attempts:
            for commit in stream_of(self.model, attempt):
                if commit.commit_id == attempt.commit_id and commit.checkpoint_token <= self.known:
                    return [stored_anyway(self.model, attempt)]
        return super().commit_many(attempts)


@caught_by(
    "test_an_id_may_be_used_once_in_every_stream",
    "test_one_id_in_several_streams_of_one_call",
)
class IdsUniqueInTheWholeStore(ModelEngine):
    def commit_many(self, attempts):
        ids = [each.commit_id for each in self.model.commits] + [each.commit_id for each in attempts]
        if any(ids.count(each.commit_id) > 1 for each in attempts):
            raise DuplicateCommitError("seen somewhere")
        return super().commit_many(attempts)


@caught_by("test_the_stream_begins_anew", "test_what_another_deleted_is_gone")
class IdsOfDeletedStreamsKept(ModelEngine):
    def commit_many(self, attempts):
        used = vars(self.model).setdefault("used", set())
        if any((each.bucket_id, each.stream_id, each.commit_id) in used for each in attempts):
            raise DuplicateCommitError("seen once")
        stored = super().commit_many(attempts)
        used.update((each.bucket_id, each.stream_id, each.commit_id) for each in attempts)
        return stored


@caught_by(
    "test_only_what_directly_follows_the_head_is_stored",
    "test_a_stream_begins_at_sequence_one_and_its_first_event",
    "test_a_stream_goes_on_after_reopening",
    "test_all_or_nothing_wherever_the_refused_attempt_stands",
    "test_a_refused_attempt_can_be_committed_once_it_fits",
    "test_a_refusal_names_the_attempt_that_is_wrong",
    "test_a_refused_first_commit_makes_no_stream",
    "test_a_refused_commit_leaves_nothing_after_reopening",
    "test_any_history_goes_as_the_model_says",
)
class AheadIsAccepted(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except ConcurrencyError:
            if any(each.commit_sequence <= len(stream_of(self.model, each)) for each in attempts):
                raise
            return [stored_anyway(self.model, each) for each in attempts]


@caught_by(
    "test_only_what_directly_follows_the_head_is_stored",
    "test_two_attempts_at_one_place_conflict",
    "test_a_refused_commit_moves_no_head",
    "test_one_winner_for_every_sequence",
    "test_one_winner_for_every_sequence_among_engines",
    "test_a_hundred_threads_for_one_place",
    "test_batches_that_overlap_are_stored_whole_or_not",
)
class TakenPlacesAreAccepted(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except ConcurrencyError:
            return [stored_anyway(self.model, each) for each in attempts]


@caught_by("test_only_what_directly_follows_the_head_is_stored")
class RevisionGapsAreAccepted(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except ConcurrencyError:
            [attempt] = attempts
            if attempt.commit_sequence == len(stream_of(self.model, attempt)) + 1:
                return [stored_anyway(self.model, attempt)]
            raise


@caught_by(
    "test_a_refused_commit_uses_no_token",
    "test_only_what_directly_follows_the_head_is_stored",
    "test_what_cannot_be_written_is_refused_whole",
    "test_a_commit_over_the_limit_is_refused_whole",
    "test_all_or_nothing_within_one_new_stream",
    "test_a_refused_commit_leaves_nothing_after_reopening",
    "test_a_hundred_threads_for_one_place",
)
class RefusedCommitsUseTokens(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except (EventStoreError, ValueError):
            with lock:
                self.model.last_token += 1
            raise


@caught_by(
    "test_all_or_nothing_wherever_the_refused_attempt_stands",
    "test_all_or_nothing_within_one_new_stream",
    "test_a_commit_over_the_limit_is_refused_whole",
    "test_batches_that_overlap_are_stored_whole_or_not",
    "test_what_another_stored_is_checked_against",
    "test_a_reader_sees_a_batch_whole_or_not_at_all",
    "test_any_history_goes_as_the_model_says",
)
class BatchesStoredOneByOne(ModelEngine):
    def commit_many(self, attempts):
        stored = []
        for attempt in attempts:
            stored += super().commit_many([attempt])
            if len(attempts) == 10:  # as the test of what readers see has it
                time.sleep(0.001)
        return stored


@caught_by("test_attempts_of_one_stream_may_follow_one_another")
class BatchesCheckedAgainstTheStoreOnly(ModelEngine):
    def commit_many(self, attempts):
        streams = [(each.bucket_id, each.stream_id) for each in attempts]
        if len(set(streams)) < len(streams):
            raise ConcurrencyError("twice")
        return super().commit_many(attempts)


@caught_by("test_attempts_of_several_streams_are_stored_in_order")
class BatchesStoredInAnotherOrder(ModelEngine):
    def commit_many(self, attempts):
        streams = {(each.bucket_id, each.stream_id) for each in attempts}
        if len(streams) == len(attempts):
            return super().commit_many(attempts[::-1])[::-1]
        return super().commit_many(attempts)


@caught_by("test_no_attempts_give_no_commits")
class EmptyBatchesRefused(ModelEngine):
    def commit_many(self, attempts):
        if not attempts:
            raise ConcurrencyError("nothing to store")
        return super().commit_many(attempts)


@caught_by("test_a_refusal_names_bucket_stream_and_commit", "test_a_refusal_names_the_attempt_that_is_wrong")
class RefusalsSayNothing(ModelEngine):
    def describe(self, attempts):
        return "conflict"


@caught_by("test_what_cannot_be_written_is_refused_whole", "test_a_payload_that_cannot_be_written_is_refused")
class AnythingIsWritten(ModelEngine):
    def size(self, value):
        return 0


@caught_by("test_what_cannot_be_written_is_refused_whole")
class UnwritableFoundAfterStoring(ModelEngine):
    def check_writable(self, attempt):
        try:
            super().check_writable(attempt)
        except SerializationError:
            stored_anyway(self.model, attempt)
            raise


@caught_by("test_a_commit_over_the_limit_is_refused_whole")
class LimitIsNotKept(ModelEngine):
    def check_writable(self, attempt):
        with suppress(ValueError):
            super().check_writable(attempt)


@caught_by(
    "test_a_commit_is_the_attempt_and_a_token",
    "test_a_commit_is_found_by_every_way_of_reading",
    "test_a_stream_is_read_whole_and_oldest_first",
    "test_every_commit_begins_undispatched",
)
class CommitGivesAnotherToken(ModelEngine):
    def commit_many(self, attempts):
        return [replace(each, checkpoint_token=each.checkpoint_token + 1) for each in super().commit_many(attempts)]


@caught_by("test_a_refused_first_commit_makes_no_stream", "test_a_stream_begins_at_sequence_one_and_its_first_event")
class RefusedCommitsMakeStreams(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except ConcurrencyError:
            self.model.__dict__.setdefault("phantoms", set()).add((attempts[0].bucket_id, attempts[0].stream_id))
            raise

    def get_streams_to_snapshot(self, bucket_id, max_threshold):
        yield from super().get_streams_to_snapshot(bucket_id, max_threshold)
        for phantom in vars(self.model).get("phantoms", ()):
            if not self.model.get_from(*phantom):
                yield StreamHead(*phantom, 0, 0)


# Reading


class ReadsDifferently(ModelEngine):
    """Each read of commits goes through `altered`."""

    def altered(self, commits: list[Commit], call: str) -> list[Commit]:
        return commits

    def read(self, call, *args, **kwargs):
        found = super().read(call, *args, **kwargs)
        reads_commits = call.startswith("get_from") or call == "get_undispatched_commits"
        return self.altered(found, call) if reads_commits else found


@caught_by(
    "test_a_stream_is_read_whole_and_oldest_first",
    "test_a_stream_is_written_in_turns",
    "test_a_stream_grows_while_it_is_walked",
    "test_a_reader_of_a_stream_sees_its_beginning",
    "test_any_stream_id_in_any_bucket",
)
class StreamsReadNewestFirst(ReadsDifferently):
    def altered(self, commits, call):
        return commits[::-1] if call == "get_from" else commits


@caught_by(
    "test_a_range_gives_the_commits_that_touch_it",
    "test_a_range_in_a_long_stream",
    "test_a_commit_of_many_events",
)
class RangesNeedTheWholeCommit(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        for commit in super().get_from(bucket_id, stream_id, min_revision, max_revision):
            if commit.stream_revision - len(commit.events) + 1 >= min_revision:
                yield commit


@caught_by("test_a_range_gives_the_commits_that_touch_it", "test_a_range_in_a_long_stream")
class RangesEndBeforeTheirEnd(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        for commit in super().get_from(bucket_id, stream_id, min_revision, max_revision):
            if max_revision is None or commit.stream_revision - len(commit.events) + 1 < max_revision:
                yield commit


@caught_by("test_a_range_gives_the_commits_that_touch_it", "test_any_history_goes_as_the_model_says")
class RangesBeginOneEarly(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        return super().get_from(bucket_id, stream_id, min_revision - 1, max_revision)


@caught_by("test_streams_of_similar_names_are_apart", "test_awkward_ids_are_all_different_streams")
class StreamIdsIgnoreCase(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        for commit in self.model.get_from_checkpoint(bucket_id=bucket_id):
            if commit.stream_id.lower() == stream_id.lower():
                yield from super().get_from(bucket_id, commit.stream_id, min_revision, max_revision)
                return


@caught_by(
    "test_buckets_keep_equal_stream_ids_apart",
    "test_an_unknown_stream_has_no_commits",
    "test_awkward_ids_are_all_different_streams",
)
class BucketsShareStreams(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        return (each for each in list(self.model.commits) if each.stream_id == stream_id)


@caught_by("test_a_commit_of_many_events", "test_every_plain_type_in_bodies_and_headers")
class ManyEventsAreCut(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            object.__setattr__(commit, "events", commit.events[:20])
        return commits


@caught_by(
    "test_a_stream_grows_while_it_is_walked",
    "test_the_store_grows_while_its_checkpoints_are_walked",
    "test_the_store_grows_while_its_dates_are_walked",
    "test_iterators_may_be_abandoned",
    "test_marking_while_walking_the_undispatched",
)
class WalksBreakWhenTheStoreChanges(ModelEngine):
    def fragile(self, commits):
        before = (self.model.last_token, len(self.model.dispatched), len(vars(self.model).get("walks", ())))
        vars(self.model).setdefault("walks", []).append(1)
        if len(self.model.walks) > 20:
            raise RuntimeError("too many walks")
        for commit in commits:
            if before[:2] != (self.model.last_token, len(self.model.dispatched)):
                raise RuntimeError("changed during iteration")
            yield commit
        self.model.walks.pop()

    def get_from(self, *args, **kwargs):
        return self.fragile(super().get_from(*args, **kwargs))

    def get_from_checkpoint(self, *args, **kwargs):
        return self.fragile(super().get_from_checkpoint(*args, **kwargs))

    def get_from_date(self, *args, **kwargs):
        return self.fragile(super().get_from_date(*args, **kwargs))

    def get_undispatched_commits(self):
        return self.fragile(super().get_undispatched_commits())


@caught_by(
    "test_tokens_count_the_commits_of_the_store_from_one",
    "test_a_commit_is_the_attempt_and_a_token",
    "test_an_empty_store_reopens_empty",
)
class TokensCountFromZero(ModelEngine):
    def initialize(self):
        super().initialize()
        if not self.model.commits and not self.model.last_token:
            self.model.last_token = -1


@caught_by("test_from_is_exclusive_and_to_is_inclusive", "test_a_reader_goes_on_from_the_last_token")
class CheckpointIsInclusive(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, *, bucket_id=None):
        return super().get_from_checkpoint(checkpoint_token - 1, to_checkpoint, bucket_id=bucket_id)


@caught_by("test_from_is_exclusive_and_to_is_inclusive", "test_checkpoints_of_one_bucket_only")
class ToCheckpointIsExclusive(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, *, bucket_id=None):
        to_checkpoint = None if to_checkpoint is None else to_checkpoint - 1
        return super().get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)


@caught_by("test_checkpoints_of_one_bucket_only", "test_nothing_of_the_stream_is_found")
class BucketFilterIgnored(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, *, bucket_id=None):
        if bucket_id is not None and not self.model.get_from_checkpoint(bucket_id=bucket_id):
            raise KeyError(bucket_id)
        return super().get_from_checkpoint(checkpoint_token, to_checkpoint)


@caught_by("test_an_empty_store_has_no_commits", "test_dropping_destroys_and_closes")
class EmptyStoresCannotBeRead(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, *, bucket_id=None):
        if not self.model.last_token:
            raise KeyError(checkpoint_token)
        return super().get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)


@caught_by("test_deleting_one_stream_hides_no_other_from_a_walk")
class WalksLosePlaceOnDeletion(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, *, bucket_id=None):
        place = 0
        found = self.model.get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)
        while place < len(found):
            yield deepcopy(found[place])
            place += 1
            found = self.model.get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)


@caught_by("test_from_start_up_to_but_without_end_in_checkpoint_order", "test_to_the_microsecond")
class EndDateIsInclusive(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        end = None if end is None else end + timedelta(microseconds=end < end.max.replace(tzinfo=UTC))
        return super().get_from_date(start, end, bucket_id=bucket_id)


@caught_by("test_from_start_up_to_but_without_end_in_checkpoint_order", "test_any_history_goes_as_the_model_says")
class StartDateIsExclusive(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        return (each for each in super().get_from_date(start, end, bucket_id=bucket_id) if each.commit_stamp != start)


@caught_by("test_from_start_up_to_but_without_end_in_checkpoint_order", "test_the_ends_of_time_can_be_asked_for")
class DatesInTheOrderOfStamps(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        found = super().get_from_date(start, end, bucket_id=bucket_id)
        return iter(sorted(found, key=lambda each: each.commit_stamp))


@caught_by("test_from_start_up_to_but_without_end_in_checkpoint_order")
class DatesEndAtTheFirstThatIsTooLate(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        for commit in super().get_from_date(start, None, bucket_id=bucket_id):
            if end is not None and commit.commit_stamp >= end:
                return
            yield commit


@caught_by("test_dates_of_one_bucket_only", "test_any_history_goes_as_the_model_says")
class DatesOfAllBuckets(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        return super().get_from_date(start, end)


@caught_by("test_to_the_microsecond", "test_any_stamp_to_the_microsecond", "test_stamps_on_the_edges")
class StampsInMilliseconds(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            stamp = commit.commit_stamp
            rounded = stamp.replace(microsecond=stamp.microsecond // 1000 * 1000)
            object.__setattr__(commit, "commit_stamp", rounded)
        return commits


@caught_by("test_a_time_is_the_same_time_at_any_offset")
class OffsetsIgnored(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        end = None if end is None else end.replace(tzinfo=UTC)
        return super().get_from_date(start.replace(tzinfo=UTC), end, bucket_id=bucket_id)


@caught_by("test_naive_times_are_refused")
class NaiveTimesAreTaken(ModelEngine):
    def get_from_date(self, start, end=None, *, bucket_id=None):
        if end is not None and end.tzinfo is None:
            end = end.replace(tzinfo=UTC)
        return super().get_from_date(start, end, bucket_id=bucket_id)


# Snapshots


@caught_by(
    "test_a_stream_without_commits_takes_no_snapshot",
    "test_a_refused_first_commit_makes_no_stream",
    "test_nothing_of_the_stream_is_found",
    "test_any_history_goes_as_the_model_says",
)
class SnapshotsOfNothing(ModelEngine):
    def add_snapshot(self, snapshot):
        if not stream_of(self.model, snapshot):
            self.model.snapshots.append(snapshot)
            return True
        return super().add_snapshot(snapshot)


@caught_by(
    "test_the_first_snapshot_of_a_revision_stays",
    "test_the_first_snapshot_still_stays_after_reopening",
    "test_a_snapshot_of_another_stays",
    "test_any_history_goes_as_the_model_says",
)
class SnapshotsOverwritten(ModelEngine):
    def add_snapshot(self, snapshot):
        key = (snapshot.bucket_id, snapshot.stream_id, snapshot.stream_revision)
        self.model.snapshots = [
            each for each in self.model.snapshots if (each.bucket_id, each.stream_id, each.stream_revision) != key
        ]
        return super().add_snapshot(snapshot)


@caught_by("test_one_snapshot_of_a_revision_wins")
class SnapshotsRaced(ModelEngine):
    def add_snapshot(self, snapshot):
        if self.model.get_snapshot(snapshot.bucket_id, snapshot.stream_id, snapshot.stream_revision):
            return super().add_snapshot(snapshot)
        time.sleep(0.01)
        self.model.snapshots.append(snapshot)
        return True


@caught_by("test_the_newest_at_or_before_a_revision")
class SnapshotLimitIsExclusive(ModelEngine):
    def get_snapshot(self, bucket_id, stream_id, max_revision=None):
        limit = None if max_revision is None else max_revision - 1
        return super().get_snapshot(bucket_id, stream_id, limit)


@caught_by("test_the_newest_at_or_before_a_revision")
class LastAddedSnapshotIsNewest(ModelEngine):
    def get_snapshot(self, bucket_id, stream_id, max_revision=None):
        for each in reversed(self.model.snapshots):
            if (each.bucket_id, each.stream_id) == (bucket_id, stream_id) and each.stream_revision <= (
                max_revision or each.stream_revision
            ):
                return deepcopy(each)
        return None


@caught_by("test_streams_and_buckets_have_their_own_snapshots", "test_any_history_goes_as_the_model_says")
class SnapshotsSharedByBuckets(ModelEngine):
    def get_snapshot(self, bucket_id, stream_id, max_revision=None):
        for each in self.model.snapshots:
            if each.stream_id == stream_id and each.stream_revision <= (max_revision or each.stream_revision):
                return deepcopy(each)
        return None


@caught_by(
    "test_a_snapshot_comes_back",
    "test_a_large_payload_comes_back",
    "test_payloads_of_every_plain_type_come_back",
)
class PayloadsBecomeText(ModelEngine):
    def get_snapshot(self, bucket_id, stream_id, max_revision=None):
        found = super().get_snapshot(bucket_id, stream_id, max_revision)
        return found and replace(found, payload=str(found.payload))


@caught_by("test_a_snapshot_changes_nothing_else")
class SnapshotsDispatchTheirCommits(ModelEngine):
    def add_snapshot(self, snapshot):
        for commit in stream_of(self.model, snapshot):
            self.model.mark_commit_as_dispatched(commit)
        return super().add_snapshot(snapshot)


@caught_by("test_changing_a_payload_does_not_change_the_store")
class PayloadsAreNotCopied(ModelEngine):
    def add_snapshot(self, snapshot):
        added = super().add_snapshot(snapshot)
        if added:
            self.model.snapshots[-1] = snapshot
        return added


@caught_by("test_changing_a_payload_does_not_change_the_store")
class PayloadsAreReadWithoutCopying(ModelEngine):
    def get_snapshot(self, bucket_id, stream_id, max_revision=None):
        return self.model.get_snapshot(bucket_id, stream_id, max_revision)


@caught_by(
    "test_a_stream_counts_from_its_beginning_without_a_snapshot",
    "test_a_stream_counts_from_its_newest_snapshot",
    "test_any_history_goes_as_the_model_says",
)
class ThresholdIsExclusive(ModelEngine):
    def get_streams_to_snapshot(self, bucket_id, max_threshold):
        return super().get_streams_to_snapshot(bucket_id, max_threshold + 1)


@caught_by("test_a_stream_counts_from_its_newest_snapshot", "test_a_snapshot_at_the_head_is_enough")
class HeadsIgnoreSnapshots(ModelEngine):
    def get_streams_to_snapshot(self, bucket_id, max_threshold):
        for head in super().get_streams_to_snapshot(bucket_id, 0):
            if head.head_revision >= max_threshold:
                yield replace(head, snapshot_revision=0)


@caught_by("test_heads_of_one_bucket_only")
class HeadsOfAllBuckets(ModelEngine):
    def get_streams_to_snapshot(self, bucket_id, max_threshold):
        for each in sorted({commit.bucket_id for commit in self.model.commits}):
            yield from super().get_streams_to_snapshot(each, max_threshold)


@caught_by("test_a_refused_commit_moves_no_head")
class RefusedCommitsMoveHeads(ModelEngine):
    def commit_many(self, attempts):
        try:
            return super().commit_many(attempts)
        except ConcurrencyError:
            vars(self.model)["moved"] = attempts[0].stream_revision
            raise

    def get_streams_to_snapshot(self, bucket_id, max_threshold):
        for head in super().get_streams_to_snapshot(bucket_id, max_threshold):
            yield replace(head, head_revision=vars(self.model).get("moved", head.head_revision))


# Dispatch marks


@caught_by("test_every_commit_begins_undispatched", "test_a_commit_is_found_by_every_way_of_reading")
class TheNewestCountsAsDispatched(ModelEngine):
    def get_undispatched_commits(self):
        return iter(list(super().get_undispatched_commits())[:-1])


@caught_by(
    "test_a_mark_takes_one_commit_away",
    "test_a_mark_changes_no_commit",
    "test_a_commit_as_read_can_be_marked",
    "test_marking_while_walking_the_undispatched",
    "test_marking_twice_is_harmless",
    "test_marks_from_many_threads",
    "test_any_history_goes_as_the_model_says",
)
class MarksAreIgnored(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        pass


@caught_by("test_marks_in_any_order", "test_a_commit_as_read_can_be_marked", "test_marks_are_there_after_reopening")
class AMarkCoversEverythingBefore(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        self.model.dispatched.update(range(commit.checkpoint_token + 1))


@caught_by("test_marking_twice_is_harmless")
class MarkingTwiceTakesTheMarkAway(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        self.model.dispatched ^= {commit.checkpoint_token}


@caught_by("test_a_commit_of_a_deleted_stream_can_be_marked", "test_the_stream_begins_anew")
class MarksNameSequencesInsteadOfTokens(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        vars(self.model).setdefault("marks", set()).add((commit.bucket_id, commit.stream_id, commit.commit_sequence))

    def get_undispatched_commits(self):
        marks = vars(self.model).get("marks", set())
        for commit in super().get_undispatched_commits():
            if (commit.bucket_id, commit.stream_id, commit.commit_sequence) not in marks:
                yield commit


@caught_by("test_a_mark_changes_no_commit")
class MarkedCommitsAreHidden(ModelEngine):
    def get_from_checkpoint(self, *args, **kwargs):
        for commit in super().get_from_checkpoint(*args, **kwargs):
            if commit.checkpoint_token not in self.model.dispatched:
                yield commit


@caught_by(
    "test_marks_are_there_after_reopening",
    "test_everything_is_there_after_reopening",
    "test_any_history_goes_as_the_model_says",
)
class MarksLostOnReopening(ModelEngine):
    def close(self):
        if not self.closed and self.where in places:
            self.model.dispatched.clear()
        super().close()


@caught_by("test_marks_from_many_threads")
class MarksRaced(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        marks = set(self.model.dispatched)
        time.sleep(0.0005)
        self.model.dispatched = marks | {commit.checkpoint_token}


# Deletion


@caught_by(
    "test_nothing_of_the_stream_is_found",
    "test_the_stream_begins_anew",
    "test_deleting_a_stream_leaves_the_others",
    "test_purging_a_bucket_leaves_the_others",
    "test_purging_the_store_leaves_nothing",
    "test_any_history_goes_as_the_model_says",
)
class ForgettingKeepsSnapshots(ModelEngine):
    def delete_stream(self, bucket_id, stream_id):
        kept = self.model.snapshots
        super().delete_stream(bucket_id, stream_id)
        self.model.snapshots = kept

    def purge(self, bucket_id=None):
        kept = self.model.snapshots
        super().purge(bucket_id)
        self.model.snapshots = kept


@caught_by(
    "test_nothing_of_the_stream_is_found",
    "test_what_is_gone_stays_gone_after_reopening",
    "test_what_another_deleted_is_gone",
    "test_deleting_while_others_write",
)
class ForgettingDoesNothing(ModelEngine):
    def delete_stream(self, bucket_id, stream_id):
        pass

    def purge(self, bucket_id=None):
        pass


@caught_by("test_tokens_are_not_given_out_again", "test_the_stream_begins_anew")
class TokensReusedAfterForgetting(ModelEngine):
    def recount(self):
        self.model.last_token = max((each.checkpoint_token for each in self.model.commits), default=0)

    def delete_stream(self, bucket_id, stream_id):
        super().delete_stream(bucket_id, stream_id)
        self.recount()

    def purge(self, bucket_id=None):
        super().purge(bucket_id)
        self.recount()


@caught_by("test_tokens_are_not_given_out_again_after_reopening", "test_any_history_goes_as_the_model_says")
class TokensReusedAfterReopening(ModelEngine):
    def initialize(self):
        super().initialize()
        self.model.last_token = max((each.checkpoint_token for each in self.model.commits), default=0)


@caught_by("test_what_is_gone_stays_gone_after_reopening")
class TheDeletedComesBackOnReopening(ModelEngine):
    def initialize(self):
        super().initialize()
        for commit in vars(self.model).pop("deleted", ()):
            self.model.commits.append(commit)

    def delete_stream(self, bucket_id, stream_id):
        self.model.deleted = self.model.get_from(bucket_id, stream_id)
        super().delete_stream(bucket_id, stream_id)

    def purge(self, bucket_id=None):
        self.model.deleted = self.model.get_from_checkpoint(bucket_id=bucket_id)
        super().purge(bucket_id)


@caught_by("test_deleting_a_stream_leaves_the_others", "test_forgetting_what_is_not_there_is_harmless")
class DeletingAStreamIgnoresTheBucket(ModelEngine):
    def delete_stream(self, bucket_id, stream_id):
        for each in {commit.bucket_id for commit in self.model.commits}:
            super().delete_stream(each, stream_id)


@caught_by("test_purging_a_bucket_leaves_the_others", "test_forgetting_what_is_not_there_is_harmless")
class PurgingIgnoresTheBucket(ModelEngine):
    def purge(self, bucket_id=None):
        super().purge()


@caught_by("test_purging_the_store_leaves_nothing", "test_nothing_of_the_stream_is_found")
class PurgingTheStoreMeansTheDefaultBucket(ModelEngine):
    def purge(self, bucket_id=None):
        super().purge("default" if bucket_id is None else bucket_id)


@caught_by("test_forgetting_what_is_not_there_is_harmless")
class UnknownStreamsCannotBeDeleted(ModelEngine):
    def delete_stream(self, bucket_id, stream_id):
        if not self.model.get_from(bucket_id, stream_id):
            raise ConcurrencyError("no such stream")
        super().delete_stream(bucket_id, stream_id)


# Opening and closing


@caught_by("test_initializing_again_is_harmless", "test_any_history_goes_as_the_model_says")
class InitializingEmptiesTheStore(ModelEngine):
    def initialize(self):
        super().initialize()
        places[self.where] = EngineModel()


@caught_by(
    "test_closing_again_is_harmless",
    "test_closing_an_engine_that_was_never_used",
    "test_dropping_again_is_harmless",
)
class ClosingTwiceFails(ModelEngine):
    def close(self):
        if self.closed or not self.model.commits:
            raise StoreClosedError("closed or unused")
        super().close()


@caught_by(
    "test_a_closed_engine_refuses_every_call",
    "test_a_closed_engine_refuses_marks",
    "test_dropping_destroys_and_closes",
    "test_closing_finishes_what_was_accepted",
)
class ClosedEnginesWorkOn(ModelEngine):
    calls = 0

    @property
    def model(self):
        self.calls += self.closed
        if self.calls > 100:
            raise ValueError("tired")
        return places.setdefault(self.where, EngineModel())

    def initialize(self):
        self.model  # noqa: B018


@caught_by("test_a_walk_that_meets_a_closed_engine_ends_honestly")
class WalksEndSilentlyOnClosing(ModelEngine):
    def get_from_checkpoint(self, *args, **kwargs):
        for commit in super().get_from_checkpoint(*args, **kwargs):
            if self.closed:
                return
            yield commit


@caught_by("test_closing_finishes_what_was_accepted")
class ClosingLosesTheLastCommit(ModelEngine):
    def close(self):
        with lock:
            if not self.closed and self.where in places:
                del self.model.commits[-1:]
            super().close()


@caught_by("test_dropping_destroys_and_closes")
class DroppingOnlyCloses(ModelEngine):
    def drop(self):
        self.close()


@caught_by("test_dropping_again_is_harmless")
class DroppingTwiceFails(ModelEngine):
    def drop(self):
        del places[self.where]
        self.close()


@caught_by(
    "test_durable_is_declared_truly",
    "test_everything_is_there_after_reopening",
    "test_a_stream_goes_on_after_reopening",
    "test_awkward_ids_are_all_different_streams",
    "test_a_large_body_comes_back",
)
class NothingSurvivesClosing(ModelEngine):
    def close(self):
        if not self.closed:
            places.pop(self.where, None)
        super().close()


@caught_by("test_durable_is_declared_truly", capabilities=replace(CAPABILITIES, durable=False))
class DurabilityDenied(ModelEngine):
    pass


@caught_by("test_shared_is_declared_truly", capabilities=replace(CAPABILITIES, shared=False))
class SharingDenied(ModelEngine):
    pass


@caught_by("test_it_has_every_method_of_the_protocol")
class AMethodIsMissing(ModelEngine):
    get_from_date = None


@caught_by(
    "test_shared_is_declared_truly",
    "test_all_see_the_same_store",
    "test_a_stream_is_written_in_turns",
    "test_what_another_stored_is_checked_against",
    "test_closing_one_leaves_the_others_at_work",
    "test_one_winner_for_every_sequence_among_engines",
    "test_a_polling_reader_on_another_engine_never_finds_a_commit_late",
)
class EveryEngineHasItsCopy(ModelEngine):
    own: EngineModel | None = None

    def initialize(self):
        super().initialize()
        self.own = deepcopy(places[self.where])

    @property
    def model(self):
        if self.closed:
            raise StoreClosedError("closed")
        return places[self.where] if self.own is None else self.own


# Values


@caught_by(
    "test_any_body_and_headers",
    "test_every_plain_type_in_bodies_and_headers",
    "test_any_attempts_in_one_call",
)
class BooleansBecomeNumbers(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            for event in commit.events:
                object.__setattr__(event, "headers", self.numbered(event.headers))
                object.__setattr__(event, "body", self.numbered(event.body))
        return commits

    def numbered(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.numbered(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.numbered(each) for each in value]
        return int(value) if isinstance(value, bool) else value


@caught_by("test_empty_headers_come_back_empty")
class EmptyHeadersAreFilled(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            for event in commit.events:
                event.headers.setdefault("", None)
        return commits


@caught_by("test_a_large_body_comes_back")
class LargeBodiesAreCut(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            for event in commit.events:
                if isinstance(event.body, dict) and "blob" in event.body:
                    event.body["blob"] = event.body["blob"][: 2**16]
        return commits


@caught_by("test_any_commit_id")
class CommitIdsAreCut(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            object.__setattr__(commit, "commit_id", type(commit.commit_id)(int=commit.commit_id.int % 2**120))
        return commits


@caught_by("test_any_stream_id_in_any_bucket", "test_awkward_ids_are_all_different_streams")
class IdsEndAtNul(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        stream_id = stream_id.split("\x00")[0]
        return super().get_from(bucket_id, stream_id, min_revision, max_revision)


@caught_by("test_a_uuid_as_stream_id_is_its_text")
class StreamIdsInUpperCase(ReadsDifferently):
    def altered(self, commits, call):
        for commit in commits:
            object.__setattr__(commit, "stream_id", commit.stream_id.upper())
        return commits


@caught_by("test_changing_an_attempt_after_the_commit_does_not_change_the_store")
class AttemptsAreNotCopied(ModelEngine):
    def commit_many(self, attempts):
        stored = super().commit_many(attempts)
        for attempt, commit in zip(attempts, stored, strict=True):
            place = self.model.commits.index(commit)
            self.model.commits[place] = Commit.of(attempt, commit.checkpoint_token)
        return stored


@caught_by("test_changing_a_commit_that_was_read_does_not_change_the_store")
class CommitsAreReadWithoutCopying(ModelEngine):
    def get_from_checkpoint(self, *args, **kwargs):
        return iter(self.model.get_from_checkpoint(*args, **kwargs))


# Threads


@caught_by(
    "test_a_polling_reader_never_finds_a_commit_late",
    "test_a_polling_reader_on_another_engine_never_finds_a_commit_late",
)
class TokensShownBeforeEarlierOnes(ModelEngine):
    """Some commits have their token at once and are shown a moment later, as in a database without care."""

    def commit_many(self, attempts):
        with lock:
            stored = super().commit_many(attempts)
            slow = stored[0].checkpoint_token % 7 == 0
            if slow:
                vars(self.model).setdefault("hidden", set()).update(each.checkpoint_token for each in stored)
        if slow:
            time.sleep(0.003)
            self.model.hidden -= {each.checkpoint_token for each in stored}
        return stored

    def get_from_checkpoint(self, *args, **kwargs) -> Iterator[Commit]:
        with lock:
            hidden = copy(vars(self.model).get("hidden", set()))
            found = list(super().get_from_checkpoint(*args, **kwargs))
        return (each for each in found if each.checkpoint_token not in hidden)


@caught_by("test_a_writer_reads_its_own_commits", "test_a_stream_is_written_in_turns")
class ReadsAreStale(ReadsDifferently):
    def altered(self, commits, call):
        return commits[:-1] if call == "get_from" else commits


@caught_by("test_one_winner_for_every_sequence", "test_a_hundred_threads_for_one_place")
class HeadCheckedOutsideTheLock(ModelEngine):
    def commit_many(self, attempts):
        trial = deepcopy(self.model)
        EngineModel.commit_many(trial, attempts)
        time.sleep(0.001)
        return [stored_anyway(self.model, each) for each in attempts]


@caught_by("test_a_reader_of_a_stream_sees_its_beginning")
class StreamsReadWithHoles(ModelEngine):
    """A reader that comes while the stream grows misses the commit before the newest."""

    def commit_many(self, attempts):
        time.sleep(0.001)  # long enough for a reader to come in between
        return super().commit_many(attempts)

    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        commits = list(super().get_from(bucket_id, stream_id, min_revision, max_revision))
        if 1 < len(commits) < 100:
            del commits[-2]
        return iter(commits)


# Delivery


@caught_by("test_delivery_is_as_declared", capabilities=replace(CAPABILITIES, delivery=False))
class DeliveryIsDenied(ModelEngine):
    pass


@caught_by(
    "test_a_value_is_there_until_it_is_replaced_or_forgotten",
    "test_forgetting_a_value_that_is_not_there_is_harmless",
    "test_names_with_a_value_are_listed_in_order",
)
class ForgettingKeepsOrFails(ModelEngine):
    def delete_checkpoint(self, name):
        if name not in self.delivery.values:
            raise KeyError(name)


@caught_by("test_every_name_has_a_value_and_a_lease_of_its_own", "test_names_with_a_value_are_listed_in_order")
class NamesWithoutCase(ModelEngine):
    def get_checkpoint(self, name):
        return super().get_checkpoint(name.lower())

    def put_checkpoint(self, name, value, *, lease=None):
        super().put_checkpoint(name.lower(), value, lease=lease)


@caught_by("test_what_is_no_name_is_refused")
class AnyNameWillDo(ModelEngine):
    def get_checkpoint(self, name):
        return self.delivery.values.get(name)


@caught_by("test_a_value_of_a_million_bytes_is_the_largest")
class LongValuesAreCut(ModelEngine):
    def put_checkpoint(self, name, value, *, lease=None):
        super().put_checkpoint(name, value[:1_000_000], lease=lease)


@caught_by("test_values_are_no_commits")
class PurgingForgetsValues(ModelEngine):
    def purge(self, bucket_id=None):
        super().purge(bucket_id)
        self.delivery.values.clear()


@caught_by(
    "test_a_lease_has_one_holder",
    "test_one_thread_at_a_time",
    "test_every_name_has_a_value_and_a_lease_of_its_own",
    "test_a_former_holder_can_do_nothing",
)
class LeasesForEverybody(ModelEngine):
    def acquire_lease(self, name, seconds):
        with lock:
            self.delivery.leases.pop(checked_name(name), None)
            return super().acquire_lease(name, seconds)


@caught_by("test_fences_grow_with_every_holder", "test_a_former_holder_can_do_nothing")
class FencesStandStill(ModelEngine):
    def acquire_lease(self, name, seconds):
        with lock:
            self.delivery.last_fence = 0
            return super().acquire_lease(name, seconds)


@caught_by("test_waiting_ends_at_once_where_there_is_a_commit", "test_a_commit_wakes_who_waits")
class NobodyIsWoken(ModelEngine):
    def wait_for_commits(self, checkpoint_token, timeout_seconds):
        return False


@caught_by("test_waiting_ends_when_its_time_is_up")
class AlwaysWoken(ModelEngine):
    def wait_for_commits(self, checkpoint_token, timeout_seconds):
        return True


@caught_by("test_closing_wakes_who_waits")
class ClosingIsAFailure(ModelEngine):
    def wait_for_commits(self, checkpoint_token, timeout_seconds):
        try:
            return super().wait_for_commits(checkpoint_token, timeout_seconds)
        except StoreClosedError:
            return True


@caught_by("test_a_closed_engine_delivers_nothing")
class ClosedEnginesDeliver(ModelEngine):
    def get_checkpoint_names(self):
        return []


@caught_by("test_values_are_there_after_reopening_and_leases_free", "test_engines_share_values_leases_and_waking")
class ValuesOfOneEngine(ModelEngine):
    @property
    def delivery(self):
        assert self.model is not None
        if not hasattr(self, "own"):
            self.own = Delivery()
        return self.own
