"""Store-and-forward: the same commits at the other end, in order, once; conflicts stop with a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from receivers import QUICK, wait_for

from fsstore import Commit, CommitAttempt, DispatchError, ForwardingConflictError, PersistenceEngine, Wireup
from fsstore.dispatch import ForwardingDispatcher, Parking, Retry, published_health
from fsstore.engines import engine_for
from fsstore.testing import fill, first_attempt, next_attempt


class Line:
    """The way to the other end; it can be down."""

    def __init__(self, target: PersistenceEngine) -> None:
        self.target = target
        self.is_down = False

    def commit(self, attempt: CommitAttempt) -> Commit:
        if self.is_down:
            raise OSError("no route to host")
        return self.target.commit(attempt)

    def __getattr__(self, name: str) -> object:
        return getattr(self.target, name)


@pytest.fixture
def central(tmp_path: Path) -> PersistenceEngine:
    engine = engine_for(tmp_path / "central")
    engine.initialize()
    return engine


def streams(engine: PersistenceEngine) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    found: dict[tuple[str, str], list[tuple[object, ...]]] = {}
    for commit in engine.get_from_checkpoint():
        fields = (commit.commit_id, commit.stream_revision, commit.commit_stamp, commit.headers, commit.events)
        found.setdefault((commit.bucket_id, commit.stream_id), []).append(fields)
    return found


def test_an_edge_that_was_offline_fills_the_central_store(tmp_path: Path, central: PersistenceEngine) -> None:
    line = Line(central)
    line.is_down = True
    wireup = Wireup.init().using(tmp_path / "edge")
    wireup.using_asynchronous_dispatch_scheduler(ForwardingDispatcher(line), retry=QUICK)  # type: ignore[arg-type]
    with wireup.build() as edge:
        for number in range(5):
            fill(edge.advanced, f"s{number}", bucket_id=f"b{number % 2}", commits=3)
        wait_for(lambda: published_health(edge.advanced).stopped)
        assert list(central.get_from_checkpoint()) == []
        line.is_down = False
        wait_for(lambda: list(edge.advanced.get_undispatched_commits()) == [])
        assert streams(central) == streams(edge.advanced)


def test_copying_again_changes_nothing(tmp_path: Path, central: PersistenceEngine) -> None:
    forward = ForwardingDispatcher(central)
    with Wireup.init().using(tmp_path / "edge").build() as edge:
        commits = fill(edge.advanced, "a", commits=3)
        for commit in [*commits, *commits, commits[0]]:
            forward.dispatch(commit)
        assert streams(central) == streams(edge.advanced)


def test_a_stream_that_goes_another_way_stops_delivery_with_a_report(
    tmp_path: Path, central: PersistenceEngine
) -> None:
    (theirs,) = fill(central, "a")
    wireup = Wireup.init().using(tmp_path / "edge").dispatch_to(ForwardingDispatcher(central))
    wireup.using_synchronous_dispatch_scheduler(retry=Retry(initial_backoff_seconds=0.0, then="park"))
    with wireup.build() as edge:
        edge.commit(first_attempt("b"))
        with pytest.raises(DispatchError, match=f"commit 1 there is {theirs.commit_id}.*Nothing was written") as caught:
            edge.commit(first_attempt("a"))
        assert isinstance(caught.value.__cause__, ForwardingConflictError)
        with pytest.raises(DispatchError, match="stands at checkpoint 2"):
            edge.commit(first_attempt("c"))
        assert published_health(edge.advanced).failing_token == 2
        assert Parking(edge.advanced).commits() == []
        central.delete_stream("default", "a")
        edge.commit(first_attempt("d"))
        assert streams(central) == streams(edge.advanced)


def test_what_is_missing_at_the_other_end_is_named(central: PersistenceEngine) -> None:
    first = first_attempt("a")
    third = Commit.of(next_attempt(next_attempt(first)), 3)
    central.commit(first)
    with pytest.raises(ForwardingConflictError, match="commits 2 to 2 are missing there"):
        ForwardingDispatcher(central).dispatch(third)
