"""Engines that break a promise about what was dispatched."""

from __future__ import annotations

import time

from model_engine import ModelEngine, places

from broken_engines.breaking import caught_by


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


@caught_by("test_a_mark_of_what_is_not_there_is_of_no_later_commit")
class MarksAreKeptForLater(ModelEngine):
    def mark_commit_as_dispatched(self, commit):
        self.model.dispatched.add(commit.checkpoint_token)
