"""Engines that break a promise about opening, closing and capabilities."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from model_engine import ModelEngine, lock, places

from broken_engines.breaking import CAPABILITIES, caught_by
from fsstore.errors import StorageError, StoreClosedError
from fsstore.testing import EngineModel


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


@caught_by("test_a_closed_engine_names_what_it_does_not_store")
class ClosedEnginesNameNothing(ModelEngine):
    def commit_many(self, attempts):
        self.model  # noqa: B018
        return super().commit_many(attempts)


@caught_by("test_a_walk_that_meets_a_closed_engine_ends_honestly", "test_no_walk_begins_after_closing")
class WalksEndSilentlyOnClosing(ModelEngine):
    def while_open(self, found):
        for each in found:
            if self.closed:
                return
            yield each


@caught_by("test_no_walk_begins_after_closing")
class WalksGoOnAfterClosing(ModelEngine):
    def while_open(self, found):
        return iter(found)


@caught_by("test_commits_that_meet_a_drop_are_refused")
class CommitsLookForWhatIsGone(ModelEngine):
    def commit_many(self, attempts):
        if self.dropped:
            raise StorageError("no such table")
        return super().commit_many(attempts)


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


@caught_by("test_dropping_after_closing_destroys_too")
class DroppingAfterClosingDoesNothing(ModelEngine):
    def drop(self):
        if not self.closed:
            super().drop()


@caught_by("test_dropping_again_is_harmless")
class DroppingTwiceFails(ModelEngine):
    def drop(self):
        del places[self.where]
        self.close()


@caught_by("test_initializing_after_dropping_makes_a_new_store")
class DroppedEnginesStayClosed(ModelEngine):
    def drop(self):
        super().drop()
        self.close()


@caught_by("test_a_closed_engine_stays_closed_when_it_is_dropped")
class DroppingOpensAClosedEngine(ModelEngine):
    def drop(self):
        super().drop()
        self.closed = False


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
