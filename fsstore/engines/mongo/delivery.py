"""What delivery over several processes needs: named values and leases, a document for each name.

| field | content |
|---|---|
| `_id` | `{Delivery: name}` |
| `Value` | what was put |
| `Holder`, `Fence` | the lease: whose it is, and how many there were |
| `Until` | when it ends, milliseconds since 1970 by the server's clock |
| `Puts` | how many values of other names it guarded |

Value and lease of a name stand in one document, so that putting the one while the other is held is one update.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from fsstore.engine import Lease
from fsstore.engines.mongo.calls import Conversation, Document, Transaction, call, find
from fsstore.engines.mongo.layout import OWN
from fsstore.errors import LeaseLostError

_EVER_SECONDS = 1e12
_NOW: Document = {"$toLong": "$$NOW"}


def get_checkpoint(name: str) -> Conversation[bytes | None]:
    found = yield find(OWN, {"_id": _key(name)}, fields=["Value"], limit=1)
    value = found[0].get("Value") if found else None
    return None if value is None else bytes(value)


def put_checkpoint(name: str, value: bytes, lease: Lease | None, *, transactions: bool) -> Conversation[None]:
    """A lease of another name is another document: then only a transaction makes it one step with the value. On a
    server without, the lease may pass to another holder between the two."""
    if lease is None:
        yield from _put(name, value)
    elif lease.name == name:
        yield from _held(lease, {"$set": {"Value": value}})
    elif transactions:
        yield Transaction(lambda: _put_guarded(name, value, lease))
    else:
        yield from _put_guarded(name, value, lease)


def _put(name: str, value: bytes) -> Conversation[None]:
    yield call(OWN, "update_one", {"_id": _key(name)}, {"$set": {"Value": value}}, upsert=True)


def _put_guarded(name: str, value: bytes, lease: Lease) -> Conversation[None]:
    # Something must change in the lease's document, or a holder that takes it now would be no conflict.
    yield from _held(lease, {"$inc": {"Puts": 1}})
    yield from _put(name, value)


def delete_checkpoint(name: str) -> Conversation[None]:
    yield call(OWN, "update_one", {"_id": _key(name)}, {"$unset": {"Value": ""}})


def get_checkpoint_names() -> Conversation[list[str]]:
    found = yield find(OWN, {"Value": {"$exists": True}}, fields=[])
    return sorted(each["_id"]["Delivery"] for each in found)


def acquire_lease(name: str, seconds: float) -> Conversation[Lease | None]:
    """One update decides by the server's clock whether the lease is free, and takes it when it is."""
    holder = uuid4().hex
    free = {"$lte": [{"$ifNull": ["$Until", 0]}, _NOW]}
    taken = {
        "Holder": {"$cond": [free, holder, "$Holder"]},
        "Fence": {"$cond": [free, {"$add": [{"$ifNull": ["$Fence", 0]}, 1]}, "$Fence"]},
        "Until": {"$cond": [free, _from_now(seconds), "$Until"]},
    }
    yield call(OWN, "update_one", {"_id": _key(name)}, {"$setOnInsert": {"Fence": 0}}, upsert=True)
    found: Document = yield call(
        OWN, "find_one_and_update", {"_id": _key(name)}, [{"$set": taken}], return_document=True
    )
    return Lease(name, holder, found["Fence"]) if found["Holder"] == holder else None


def renew_lease(lease: Lease, seconds: float) -> Conversation[None]:
    yield from _held(lease, [{"$set": {"Until": _from_now(seconds)}}])


def release_leases(leases: Iterable[Lease]) -> Conversation[None]:
    for lease in tuple(leases):
        yield call(OWN, "update_one", _whose(lease), {"$unset": {"Until": "", "Holder": ""}})


def _held(lease: Lease, update: Document | list[Document]) -> Conversation[None]:
    done = yield call(OWN, "update_one", _whose(lease), update)
    if not done.matched_count:
        raise LeaseLostError(f"somebody else delivers under the name {lease.name!r} by now")


def _whose(lease: Lease) -> Document:
    return {"_id": _key(lease.name), "Holder": lease.holder, "Fence": lease.fence}


def _key(name: str) -> Document:
    return {"Delivery": name}


def _from_now(seconds: float) -> Document:
    return {"$add": [_NOW, round(1000 * min(seconds, _EVER_SECONDS))]}
