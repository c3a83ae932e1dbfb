"""What delivery over several processes needs: named values and leases, a document for each name.

| field | content |
|---|---|
| `_id` | `{Delivery: name}` |
| `Value` | what was put |
| `Holder`, `Fence`, `Until` | the lease: whose it is, how many there were, when it ends by the server's clock |

Value and lease stand in one document, so that putting a value "only while the lease is held" is one update.
"""

from __future__ import annotations

from uuid import uuid4

from fsstore.engine import Lease
from fsstore.engines.mongo.calls import Conversation, Document, call, find
from fsstore.engines.mongo.layout import OWN
from fsstore.errors import LeaseLostError

MAX_NAME_CHARACTERS = 200


def checked_name(name: str) -> str:
    """`name` as one of a subscription or dispatcher: 1 to 200 characters."""
    if not isinstance(name, str):
        raise TypeError(f"a name must be a str, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"a name has 1 to {MAX_NAME_CHARACTERS} characters, not {len(name)}")
    name.encode()
    return name


def get_checkpoint(name: str) -> Conversation[bytes | None]:
    found = yield find(OWN, {"_id": _key(name)}, fields=["Value"], limit=1)
    value = found[0].get("Value") if found else None
    return None if value is None else bytes(value)


def put_checkpoint(name: str, value: bytes, lease: Lease | None) -> Conversation[None]:
    if lease is None:
        yield call(OWN, "update_one", {"_id": _key(name)}, {"$set": {"Value": value}}, upsert=True)
        return
    if lease.name != name:
        yield from _held(lease, {"$set": {"Fence": lease.fence}})
        yield from put_checkpoint(name, value, None)
        return
    yield from _held(lease, {"$set": {"Value": value}})


def delete_checkpoint(name: str) -> Conversation[None]:
    yield call(OWN, "update_one", {"_id": _key(name)}, {"$unset": {"Value": ""}})


def get_checkpoint_names() -> Conversation[list[str]]:
    found = yield find(OWN, {"Value": {"$exists": True}}, fields=[])
    return sorted(each["_id"]["Delivery"] for each in found)


def acquire_lease(name: str, seconds: float) -> Conversation[Lease | None]:
    """One update decides by the server's clock whether the lease is free, and takes it when it is."""
    holder = uuid4().hex
    free = {"$lte": [{"$ifNull": ["$Until", "$$NOW"]}, "$$NOW"]}
    taken = {
        "Holder": {"$cond": [free, holder, "$Holder"]},
        "Fence": {"$cond": [free, {"$add": [{"$ifNull": ["$Fence", 0]}, 1]}, "$Fence"]},
        "Until": {"$cond": [free, _from_now(seconds), "$Until"]},
    }
    found: Document = yield call(
        OWN, "find_one_and_update", {"_id": _key(name)}, [{"$set": taken}], upsert=True, return_document=True
    )
    return Lease(name, holder, found["Fence"]) if found["Holder"] == holder else None


def renew_lease(lease: Lease, seconds: float) -> Conversation[None]:
    yield from _held(lease, [{"$set": {"Until": _from_now(seconds)}}])


def release_lease(lease: Lease) -> Conversation[None]:
    where = {"_id": _key(lease.name), "Holder": lease.holder, "Fence": lease.fence}
    yield call(OWN, "update_one", where, {"$unset": {"Until": "", "Holder": ""}})


def _held(lease: Lease, update: Document | list[Document]) -> Conversation[None]:
    where = {"_id": _key(lease.name), "Holder": lease.holder, "Fence": lease.fence}
    done = yield call(OWN, "update_one", where, update)
    if not done.matched_count:
        raise LeaseLostError(f"somebody else delivers under the name {lease.name!r} by now")


def _key(name: str) -> Document:
    return {"Delivery": name}


def _from_now(seconds: float) -> Document:
    return {"$add": ["$$NOW", round(1000 * seconds)]}
