"""Engines that break a promise about storing commits."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from model_engine import ModelEngine, lock

from broken_engines.breaking import caught_by, stored_anyway, stream_of
from fsstore.engines import arguments
from fsstore.errors import (
    ConcurrencyError,
    DuplicateCommitError,
    EventStoreError,
    SerializationError,
)
from fsstore.model import StreamHead


@caught_by("test_all_or_nothing_of_a_large_batch")
class LargeBatchesStoredInParts(ModelEngine):
    def commit_many(self, attempts):
        attempts = arguments.checked_attempts(attempts)
        stored = super().commit_many(attempts[:500])
        for at in range(500, len(attempts), 500):
            stored += super().commit_many(attempts[at : at + 500])
        return stored


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
    def get_from(self, *args):
        found = list(super().get_from(*args))
        time.sleep(0.001)  # so that others take the place that follows
        return iter(found)

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
