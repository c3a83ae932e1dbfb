"""Numbers beyond what anything can hold: refused with the name of the argument, or as good as for ever."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import anyio
import pytest

import fsstore
from fsstore import Commit
from fsstore.dispatch.policy import Retry
from fsstore.dispatch.schedulers import AsynchronousDispatchScheduler, SynchronousDispatchScheduler
from fsstore.testing.attempts import fill, first_attempt

HUGE = (2**70, 10**400, 1e300, math.inf)
NO_SECONDS = (math.nan, -1, -math.inf, -(10**400), True, "1")
SECONDS = ("timeout_seconds", "lease_seconds", "standby_seconds")
URLS = ("memory:", "{}/file.store", "sqlite:///{}/orders.db")


@pytest.fixture(params=URLS)
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    if "sqlite" in request.param:
        pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    with fsstore.open(request.param.format(tmp_path)) as opened:
        yield opened


@pytest.mark.parametrize("option", SECONDS)
def test_a_subscription_for_ever(store: Any, option: str) -> None:
    stored = fill(store.advanced, "stream", commits=2)
    for number, huge in enumerate(HUGE):
        with store.subscribe(f"reader {number}", **{"timeout_seconds": 0.0, option: huge}) as reader:
            assert [next(reader), next(reader)] == stored


@pytest.mark.parametrize("option", SECONDS)
def test_a_subscription_for_no_time_is_refused(store: Any, option: str) -> None:
    for wrong in NO_SECONDS:
        with pytest.raises((TypeError, ValueError), match=rf"^{option} must be "):
            store.subscribe("reader", **{option: wrong})


def test_a_timeout_that_is_changed_is_looked_at_again(store: Any) -> None:
    with store.subscribe("reader", timeout_seconds=0.0) as reader:
        reader.timeout_seconds = math.nan
        with pytest.raises(ValueError, match=r"^timeout_seconds must be "):
            next(reader)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_subscription_that_begins_behind_everything_finds_nothing(store: Any, partitions: int) -> None:
    fill(store.advanced, "stream")
    for number, huge in enumerate((2**63, 2**64, 2**70, 10**400)):
        name = f"reader {number}"
        for _ in range(2):  # from what is remembered, too
            with store.subscribe(name, from_checkpoint=huge, partitions=partitions, timeout_seconds=0.0) as reader:
                assert list(reader) == []


def test_more_partitions_than_anybody_reads_are_refused(store: Any) -> None:
    for huge in (10_001, 2**70):
        with pytest.raises(ValueError, match=r"^partitions must be at most"):
            store.subscribe("reader", partitions=huge)


def test_a_projection_may_fold_everything_at_once(store: Any) -> None:
    fill(store.advanced, "stream", commits=2)
    for huge in (2**63, 10**400):
        projection = store.projection(f"count {huge % 7}", lambda count, _: count + 1, int, batch=huge)
        projection.catch_up()
        assert projection.state == 2


@pytest.mark.parametrize("scheduler", [SynchronousDispatchScheduler, AsynchronousDispatchScheduler])
def test_a_scheduler_with_a_lease_for_ever(store: Any, scheduler: Any) -> None:
    fill(store.advanced, "stream")
    for huge in HUGE:
        made = scheduler(store.advanced, _Nobody(), lease_seconds=huge, standby_seconds=huge)
        made.start()
        made.close()
    for wrong in NO_SECONDS:
        for option in ("lease_seconds", "standby_seconds"):
            with pytest.raises((TypeError, ValueError), match=rf"^{option} must be "):
                scheduler(store.advanced, _Nobody(), **{option: wrong})


def test_a_retry_may_wait_for_ever() -> None:
    for huge in HUGE:
        retry = Retry(initial_backoff_seconds=huge, max_backoff_seconds=huge, max_seconds=huge)
        assert 1e6 < retry.wait_seconds(40) < math.inf


@pytest.mark.parametrize("option", ["initial_backoff_seconds", "max_backoff_seconds", "max_seconds", "max_attempts"])
def test_what_is_no_number_is_refused_of_a_retry(option: str) -> None:
    for wrong in NO_SECONDS:
        with pytest.raises((TypeError, ValueError), match=rf"^{option} must be "):
            Retry(**{option: wrong})  # type: ignore[arg-type]


def test_a_token_is_a_whole_number() -> None:
    for wrong in (True, 1.0, math.inf, "1", None):
        with pytest.raises(TypeError, match=r"^checkpoint_token must be an int"):
            replace(Commit.of(first_attempt("a"), 1), checkpoint_token=wrong)  # type: ignore[arg-type]


def test_a_database_may_be_waited_for_for_ever(tmp_path: Any) -> None:
    pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    url = f"sqlite:///{tmp_path}/orders.db"
    for huge in HUGE:
        with fsstore.open(url, timeout_seconds=huge) as store:
            fill(store.advanced, f"stream {huge!r:.20}")
    for wrong in NO_SECONDS:
        with pytest.raises((TypeError, ValueError), match=r"^timeout_seconds must be "):
            fsstore.open(url, timeout_seconds=wrong)
    for wrong in (-1, True, math.inf, 1.0, "1"):
        with pytest.raises((TypeError, ValueError), match=r"^pool_size must be "):
            fsstore.open(url, pool_size=wrong)


def test_a_task_may_wait_for_ever() -> None:
    async def read() -> None:
        async with fsstore.open_async("memory:") as store:
            async with await store.open_stream("s") as stream:
                stream.add("made")
                await stream.commit_changes()
            for number, huge in enumerate(HUGE):
                async with store.subscribe(f"reader {number}", timeout_seconds=huge) as reader:
                    assert (await anext(reader)).checkpoint_token == 1

    anyio.run(read)


class _Nobody:
    def dispatch(self, commit: Commit) -> None: ...

    def close(self) -> None: ...
