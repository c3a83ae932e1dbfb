"""Engines that break a promise about reading streams, checkpoints and dates."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, timedelta

from model_engine import ModelEngine

from broken_engines.breaking import caught_by
from fsstore.engines import arguments
from fsstore.model import Commit


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


@caught_by("test_nothing_touches_an_empty_range")
class BothSidesOfAnEmptyRangeAreTouched(ModelEngine):
    def get_from(self, bucket_id, stream_id, min_revision=0, max_revision=None):
        for commit in super().get_from(bucket_id, stream_id, min_revision):
            if max_revision is None or commit.stream_revision - len(commit.events) < max_revision:
                yield commit


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


@caught_by("test_buckets_keep_equal_stream_ids_apart")
class NamesAreJoined(ModelEngine):
    def get_from(self, bucket_id, stream_id, *args, **kwargs):
        for commit in self.model.commits:
            if f"{commit.bucket_id}:{commit.stream_id}" == f"{bucket_id}:{stream_id}":
                return super().get_from(commit.bucket_id, commit.stream_id, *args, **kwargs)
        return super().get_from(bucket_id, stream_id, *args, **kwargs)


@caught_by("test_a_long_walk_misses_nothing")
class WalksLoseACommitBetweenPages(ModelEngine):
    def get_from_checkpoint(self, *args, **kwargs):
        found = super().get_from_checkpoint(*args, **kwargs)
        return (commit for number, commit in enumerate(found) if number != 1_000)


@caught_by("test_ends_beyond_every_commit_are_no_ends")
class TokensFitIntoEightBytes(ModelEngine):
    def get_from_checkpoint(self, checkpoint_token=0, to_checkpoint=None, **kwargs):
        for token in arguments.checked_tokens(checkpoint_token, to_checkpoint):
            (token or 0).to_bytes(8, signed=True)
        return super().get_from_checkpoint(checkpoint_token, to_checkpoint, **kwargs)


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
