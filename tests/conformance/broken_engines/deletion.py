"""Engines that break a promise about deleting and purging."""

from __future__ import annotations

import re

from model_engine import ModelEngine

from broken_engines.breaking import caught_by
from fsstore.engines import arguments
from fsstore.errors import (
    ConcurrencyError,
)


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


def matching(names, pattern):
    """Those of the names that SQL's LIKE would find."""
    like = "".join({"%": ".*", "_": "."}.get(character, re.escape(character)) for character in pattern)
    return {name for name in names if re.fullmatch(like, name, re.DOTALL)}


@caught_by("test_a_stream_id_is_no_pattern", "test_a_bucket_id_is_no_pattern")
class IdsArePatterns(ModelEngine):
    def delete_stream(self, bucket_id, stream_id):
        bucket_id, stream_id = arguments.checked_place(bucket_id, stream_id)
        for each in matching({commit.stream_id for commit in self.model.commits}, stream_id):
            super().delete_stream(bucket_id, each)

    def purge(self, bucket_id=None):
        if arguments.checked_bucket(bucket_id) is None:
            super().purge()
            return
        for each in matching({commit.bucket_id for commit in self.model.commits}, str(bucket_id)):
            super().purge(each)


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
