"""Engines that break a promise of `DeliveryEngine`."""

from __future__ import annotations

from dataclasses import replace

from model_engine import Delivery, ModelEngine, lock

from broken_engines.breaking import CAPABILITIES, caught_by
from fsstore.errors import (
    StoreClosedError,
)
from fsstore.model import checked_name


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
