"""How commits are stored, and why nobody who reads in order can miss one.

A commit's number is its `_id`, and a writer asks for the last number before it inserts the next one. Of several
that try the same number one succeeds, the others ask again; so number N + 1 is inserted only after N is there to
be read, and there is neither a counter to run ahead nor a lock to be left behind. Deleted commits keep their
numbers (`documents.py`). A batch is one transaction over the same inserts.

A commit fits when the stream has its predecessor, which ends where it begins, and nothing at its own place. The
unique indexes decide what happened since that was read: `_id_` says that the number is taken, `CommitId_Index`
that the commit is stored already, the others that somebody else took the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from pymongo.errors import PyMongoError

from fsstore.engines.mongo.calls import Conversation, Document, Transaction, call, find
from fsstore.engines.mongo.failures import duplicate_index
from fsstore.engines.mongo.form import Form
from fsstore.engines.mongo.layout import COMMITS, MOST, STREAMS
from fsstore.engines.refusals import conflict, duplicate
from fsstore.errors import ConcurrencyError, DuplicateCommitError, StorageError
from fsstore.model import CommitAttempt, named

# A place that is taken is seen by the next check; only a stream that others keep deleting gets this far.
_MOST_LOST = 10
Place = tuple[str, str]


@dataclass(slots=True)
class Known:
    """The highest number that this process has seen given out: the last one is not below."""

    number: int = 0


def store(
    form: Form,
    attempts: Sequence[CommitAttempt],
    documents: Sequence[Document],
    known: Known,
    *,
    transactions: bool,
) -> Conversation[list[int]]:
    """Insert `documents`, which are those of `attempts`: all of them or none. Gives their numbers."""
    if len(attempts) > 1 and not transactions:
        raise StorageError(
            "this MongoDB server stands alone and has no transactions, so several commits cannot be stored at once: "
            "commit them one by one, or make the server a replica set of one (mongod --replSet NAME, rs.initiate())"
        )
    check, lost = True, 0
    while True:
        try:
            if len(attempts) > 1:
                yield Transaction(lambda: _checked_insert(form, attempts, documents, known))
            else:
                if check:
                    yield from _check(form, attempts)
                yield from _insert(documents, known)
        except PyMongoError as error:
            hit = duplicate_index(error)
            if hit is None:
                raise
            index, position = hit
            if index == "CommitId_Index":
                raise duplicate(attempts[position]) from error
            check = index != "_id_"
            lost += check
            if lost > _MOST_LOST:
                raise ConcurrencyError(
                    f"{named(attempts[position])} fits, and again and again its place is taken"
                ) from error
            continue
        known.number = documents[-1]["_id"]
        if form.keeps_heads and len(attempts) == 1:
            # The commit is stored whatever becomes of the heads, which may lag behind, as they do in C#.
            with suppress(PyMongoError):
                yield from _move_heads(attempts)
        return [document["_id"] for document in documents]


def _insert(documents: Sequence[Document], known: Known) -> Conversation[None]:
    found = yield find(COMMITS, {"_id": {"$gt": known.number}}, fields=[], sort=[("_id", -1)], limit=1)
    if found:
        known.number = max(known.number, int(found[0]["_id"]))
    for number, document in enumerate(documents, known.number + 1):
        document["_id"] = number
    if len(documents) == 1:
        yield call(COMMITS, "insert_one", documents[0])
    else:
        yield call(COMMITS, "insert_many", documents, ordered=True)


def _checked_insert(
    form: Form, attempts: Sequence[CommitAttempt], documents: Sequence[Document], known: Known
) -> Conversation[None]:
    yield from _check(form, attempts)
    yield from _insert(documents, known)
    if form.keeps_heads:
        yield from _move_heads(attempts)


def _move_heads(attempts: Sequence[CommitAttempt]) -> Conversation[None]:
    for attempt in attempts:
        yield call(
            STREAMS,
            "update_one",
            {"_id": {"BucketId": attempt.bucket_id, "StreamId": attempt.stream_id}},
            {
                "$set": {"HeadRevision": attempt.stream_revision},
                "$inc": {"SnapshotRevision": 0, "Unsnapshotted": len(attempt.events)},
            },
            upsert=True,
        )


# ---- whether attempts fit ----


def _check(form: Form, attempts: Sequence[CommitAttempt]) -> Conversation[None]:
    """Raise for the first attempt that does not follow its stream as the attempts before it leave it."""
    ends = yield from _ends(attempts)
    ids: set[tuple[Place, UUID]] = set()
    for position, attempt in enumerate(attempts):
        place = (attempt.bucket_id, attempt.stream_id)
        end = ends.get((*place, attempt.commit_sequence - 1))
        if attempt.commit_sequence == 1:
            end = 0
        taken = (*place, attempt.commit_sequence) in ends
        again = (place, attempt.commit_id) in ids
        if again or taken or end is None or end + len(attempt.events) != attempt.stream_revision:
            for earlier in attempts[: position + 1]:
                if (yield from _is_stored(form, earlier)):
                    raise duplicate(earlier)
            if again:
                raise DuplicateCommitError(f"{named(attempt)} is there twice in one call")
            raise (yield from _conflict(attempt))
        ids.add((place, attempt.commit_id))
        ends[(*place, attempt.commit_sequence)] = attempt.stream_revision


def _ends(attempts: Iterable[CommitAttempt]) -> Conversation[dict[tuple[str, str, int], int]]:
    """By stream and sequence the last revisions of the stored commits around each stream's first attempt."""
    firsts: dict[Place, int] = {}
    for attempt in attempts:
        if attempt.commit_sequence <= MOST:  # a number beyond that no commit has, and no question can name it
            firsts.setdefault((attempt.bucket_id, attempt.stream_id), attempt.commit_sequence)
    ends: dict[tuple[str, str, int], int] = {}
    fields = ["CommitSequence", "StreamRevisionTo"]
    for (bucket, stream), sequence in firsts.items():
        where = {"BucketId": bucket, "StreamId": stream, "CommitSequence": {"$in": [sequence - 1, sequence]}}
        for each in (yield find(COMMITS, where, fields=fields)):
            ends[bucket, stream, each["CommitSequence"]] = each["StreamRevisionTo"]
    return ends


def _is_stored(form: Form, attempt: CommitAttempt) -> Conversation[bool]:
    where = {
        "BucketId": attempt.bucket_id,
        "StreamId": attempt.stream_id,
        "CommitId": form.commit_id(attempt.commit_id),
    }
    return bool((yield find(COMMITS, where, fields=[], limit=1)))


def _conflict(attempt: CommitAttempt) -> Conversation[ConcurrencyError]:
    where = {"BucketId": attempt.bucket_id, "StreamId": attempt.stream_id}
    fields = ["CommitSequence", "StreamRevisionTo"]
    found = yield find(COMMITS, where, fields=fields, sort=[("CommitSequence", -1)], limit=1)
    sequence, revision = (found[0]["CommitSequence"], found[0]["StreamRevisionTo"]) if found else (0, 0)
    return conflict(attempt, sequence, revision)
