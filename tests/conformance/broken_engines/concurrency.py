"""Engines that break a promise about threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import copy, deepcopy

from model_engine import ModelEngine, lock

from broken_engines.breaking import caught_by, stored_anyway
from broken_engines.reading import ReadsDifferently
from fsstore.model import Commit
from fsstore.testing import EngineModel


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


@caught_by("test_who_stops_within_a_walk_keeps_no_other_thread_waiting")
class WalksHoldTheLock(ModelEngine):
    def get_from_date(self, *args, **kwargs):
        found = super().get_from_date(*args, **kwargs)

        def walk():
            with lock:
                yield from found

        return walk()
