"""Engines that break a promise about snapshots and heads of streams."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace

from model_engine import ModelEngine

from broken_engines.breaking import caught_by, stream_of
from fsstore.errors import ConcurrencyError, SerializationError


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


@caught_by("test_a_refused_payload_names_bucket_stream_and_revision")
class RefusedPayloadsOfNoStream(ModelEngine):
    def add_snapshot(self, snapshot):
        try:
            return super().add_snapshot(snapshot)
        except SerializationError:
            raise SerializationError("it cannot be written") from None
