"""`fsstore stat`: a store in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from fsstore.cli.opening import JsonOption, KeyFileOption, StoreArgument, reading
from fsstore.cli.output import print_json, printable
from fsstore.cli.walk import totals
from fsstore.dispatch import Parking, Subscriptions, published_health
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.engines import without_password
from fsstore.model import Commit


def stat(store: StoreArgument, keys: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """Count commits, events, streams and buckets, and what waits to be dispatched; sizes in bytes."""
    with reading(store, keys) as engine:
        counts: Counter[str] = Counter()
        streams = totals(_counted(engine.get_from_checkpoint(), counts))
        numbers: dict[str, Any] = {
            "store": without_password(store),
            "commits": counts["commits"],
            "events": counts["events"],
            "streams": len(streams),
            "buckets": len({bucket_id for bucket_id, _ in streams}),
            "head_checkpoint_token": max((stream.checkpoint_token for stream in streams.values()), default=0),
            "undispatched_commits": sum(1 for _ in engine.get_undispatched_commits()),
        }
        numbers |= _delivery(engine)
        own = getattr(engine, "stat", None)
        if own is not None:
            numbers["engine"] = own()
    if as_json:
        print_json(numbers)
        return
    own_numbers = numbers.pop("engine", {})
    numbers |= {f"dispatch {name}": value for name, value in numbers.pop("dispatch", {}).items()}
    numbers |= {f"subscription {printable(name)}": at for name, at in numbers.pop("subscriptions", {}).items()}
    for name, value in (numbers | own_numbers).items():
        text = f"{value:,}" if type(value) is int else printable(str(value))
        print(f"{name.replace('_', ' '):<22} {text}")


def _delivery(engine: PersistenceEngine) -> dict[str, Any]:
    """What there is to say of delivery: where it stands and why, what is parked, who subscribed."""
    if not isinstance(engine, DeliveryEngine):
        return {}
    health = published_health(engine)
    parked = len(Parking(engine).commits())
    subscriptions = {state.name: state.position for state in Subscriptions(engine).all()}
    found: dict[str, Any] = {} if health.ok else {"dispatch": health.as_dict()}
    return (
        found
        | ({"parked_commits": parked} if parked else {})
        | ({"subscriptions": subscriptions} if subscriptions else {})
    )


def _counted(commits: Iterable[Commit], counts: Counter[str]) -> Iterator[Commit]:
    for commit in commits:
        counts["commits"] += 1
        counts["events"] += len(commit.events)
        yield commit
