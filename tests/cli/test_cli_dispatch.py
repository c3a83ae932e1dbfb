"""`fsstore stat`, `subscriptions`, `parked`: how delivery goes, seen and steered from outside."""

from __future__ import annotations

from pathlib import Path

import fsstore as package
from fsstore import Commit, Wireup
from fsstore.dispatch import Parking, Retry

from .conftest import Run


def cannot(commit: Commit) -> None:
    if commit.checkpoint_token == 2:
        raise OSError("the broker\nis away")


def deliver(store: Path, then: str) -> None:
    retry = Retry(initial_backoff_seconds=0.0, max_backoff_seconds=0.0, max_attempts=2, then=then)  # type: ignore[arg-type]
    wireup = Wireup.init().using(store).using_synchronous_dispatch_scheduler(cannot, retry=retry)
    with wireup.build() as opened, opened.open_stream("order-0") as stream:
        stream.add("one more")
        try:
            stream.commit_changes()
        except package.DispatchError:
            assert then == "stop"


def test_stat_names_the_commit_that_stops_delivery_and_why(fsstore: Run, store: Path, commits: list[Commit]) -> None:
    deliver(store, "stop")
    (numbers,) = fsstore("stat", store, "--json").json
    assert numbers["undispatched_commits"] == 9
    assert numbers["dispatch"] == {
        "ok": False,
        "failures": 2,
        "failing_token": 2,
        "last_error": "OSError: the broker\nis away",
        "bucket_id": "default",
        "stream_id": commits[1].stream_id,
        "commit_id": str(commits[1].commit_id),
        "stopped": True,
    }
    text = fsstore("stat", store).out
    assert "dispatch failing token 2\n" in text
    assert "OSError: the broker\\nis away\n" in text


def test_parked_commits_are_listed_sent_again_and_dropped(fsstore: Run, store: Path, commits: list[Commit]) -> None:
    deliver(store, "park")
    (numbers,) = fsstore("stat", store, "--json").json
    assert (numbers["parked_commits"], numbers.get("dispatch")) == (1, None)
    (parked,) = fsstore("parked", store, "--json").json
    assert (parked["checkpoint_token"], parked["reason"]) == (2, "OSError: the broker\nis away")
    text = fsstore("parked", store).out
    assert text.startswith(f"2  default  {commits[1].stream_id}  commit 1  {commits[1].commit_id}\n")
    assert "after 2 attempts: OSError: the broker\\nis away\n" in text
    assert fsstore("parked", store, "--send-again", 2).code == 0
    with package.open(store) as opened:
        wanted = list(opened.advanced.get_undispatched_commits())[-1]
        assert [parked.checkpoint_token for parked, _ in Parking(opened.advanced).wanted(wanted)] == [2]
    assert fsstore("parked", store, "--drop", 2).code == 0
    assert fsstore("parked", store).out == ""
    wrong = fsstore("parked", store, "--drop", 2)
    assert (wrong.code, "checkpoint 2 is not parked" in wrong.err) == (2, True)


def test_subscriptions_are_listed_reset_and_deleted(fsstore: Run, store: Path) -> None:
    with package.open(store) as opened:
        for name, partitions in (("audit", 1), ("work", 2)):
            with opened.subscribe(name, partitions=partitions, timeout_seconds=0) as subscription:
                assert len(list(subscription)) == 9
    assert fsstore("subscriptions", store).out == "           9  audit\n           9  work  in 2 partitions\n"
    (numbers,) = fsstore("stat", store, "--json").json
    assert numbers["subscriptions"] == {"audit": 9, "work": 9}
    assert "subscription audit     9\n" in fsstore("stat", store).out
    assert fsstore("subscriptions", store, "--reset", "audit", "--to", 3).code == 0
    assert fsstore("subscriptions", store, "--delete", "work").code == 0
    assert fsstore("subscriptions", store, "--json").json == [
        {"name": "audit", "position": 3, "partitions": 1, "damaged": []}
    ]
    wrong = fsstore("subscriptions", store, "--reset", "nosuch")
    assert (wrong.code, "no subscription 'nosuch'" in wrong.err) == (2, True)
    assert fsstore("subscriptions", store, "--reset", "a", "--delete", "b").code == 2
    wrong = fsstore("subscriptions", store, "--reset", "audit", "--to", 10)
    assert (wrong.code, "the last commit of the store is at 9" in " ".join(wrong.err.split())) == (2, True)


def test_a_partitioned_subscription_stands_where_its_last_partition_does(fsstore: Run, store: Path) -> None:
    with package.open(store) as opened, opened.subscribe("work", partitions=8, from_checkpoint=2) as subscription:
        subscription.acknowledge(next(subscription))
    assert fsstore("subscriptions", store).out == "           2  work  in 8 partitions\n"


def test_a_damaged_subscription_is_listed_beside_the_others_and_can_be_reset(fsstore: Run, store: Path) -> None:
    with package.open(store) as opened:
        for name in ("audit", "mail"):
            with opened.subscribe(name, timeout_seconds=0) as subscription:
                assert len(list(subscription)) == 9
        opened.advanced.put_checkpoint("subscription/mail", b"junk")  # type: ignore[attr-defined]
    listed = fsstore("subscriptions", store).out.splitlines()
    assert listed == ["           9  audit", "           0  mail  damaged, cannot be read before --reset or --delete"]
    assert [state["damaged"] for state in fsstore("subscriptions", store, "--json").json] == [[], [0]]
    assert fsstore("subscriptions", store, "--reset", "mail", "--to", 8).code == 0
    assert fsstore("subscriptions", store).out == "           9  audit\n           8  mail\n"


def test_a_store_that_is_not_there_is_not_made(fsstore: Run, tmp_path: Path) -> None:
    for verb in (("parked", "--drop", 1), ("subscriptions", "--delete", "a")):
        outcome = fsstore(verb[0], tmp_path / "nosuch", *verb[1:])
        assert (outcome.code, "there is no store" in outcome.err) == (1, True)
    assert not (tmp_path / "nosuch").exists()
