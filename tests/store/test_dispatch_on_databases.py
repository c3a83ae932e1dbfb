"""Several hosts on one database deliver as one: a lease in the database says whose turn it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from receivers import QUICK, Receiver, wait_for
from servers import mongodb

from fsstore import EventStore, Wireup
from fsstore.testing import first_attempt, next_attempt


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "mongodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/s.db"
    elif request.param == "mongodb":
        pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")
        with mongodb.running() as server:
            yield server
    else:
        databases = request.getfixturevalue(f"{request.param}_databases")
        yield databases.url(tmp_path)
        databases.drop(tmp_path)


def opened(stack: ExitStack, url: str, receiver: Receiver) -> EventStore:
    wireup = Wireup.init().using(url).dispatch_to(receiver)
    return stack.enter_context(wireup.using_asynchronous_dispatch_scheduler(retry=QUICK).build())


def write(store: EventStore, stream_id: str, commits: int) -> None:
    known = list(store.get_from(stream_id))
    last = known[-1] if known else store.commit(first_attempt(stream_id))
    for _ in range(commits - (not known)):
        assert last is not None
        last = store.commit(next_attempt(last))


def test_commits_of_all_are_delivered_in_order_and_another_goes_on_where_one_stopped(url: str) -> None:
    first, second = Receiver(), Receiver()
    with ExitStack() as stack:
        one, other = opened(stack, url, first), opened(stack, url, second)
        for number in range(3):
            write(one, "of one", 5)
            write(other, "of the other", 5)
            wait_for(lambda number=number: len(first.tokens) + len(second.tokens) == 10 * (number + 1))
        delivering, standing_by = (one, other) if first.tokens else (other, one)
        delivering.close()
        write(standing_by, "afterwards", 5)
        wait_for(lambda: len(first.tokens) + len(second.tokens) == 35)
    assert sorted([first.tokens, second.tokens], key=lambda tokens: tokens[0]) == [
        list(range(1, 31)),
        list(range(31, 36)),
    ]


def test_a_subscription_remembers_and_wakes(url: str) -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(Wireup.init().using(url).build()) for _ in range(2))
        write(one, "order", 3)
        with one.subscribe("mail", timeout_seconds=0.2) as mail:
            assert [commit.checkpoint_token for commit in mail] == [1, 2, 3]
        write(one, "order", 2)
        with other.subscribe("mail", timeout_seconds=0.2) as mail:
            assert [commit.checkpoint_token for commit in mail] == [4, 5]
        assert [each.position for each in one.subscriptions.all()] == [5]
