"""`EngineModel` dressed as an engine with every capability: what the conformance suite itself is tested on.

Whatever is opened at one place shares one model, which stays when the engines are closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from threading import RLock
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from fsstore.engine import Lease
from fsstore.engines import arguments
from fsstore.engines.refusals import said_of, storing, writing_snapshot
from fsstore.errors import ConcurrencyError, DuplicateCommitError, LeaseLostError, SerializationError, StoreClosedError
from fsstore.model import (
    Commit,
    CommitAttempt,
    Snapshot,
    StreamHead,
    checked_checkpoint,
    checked_name,
)
from fsstore.testing import EngineModel

RECORD_LIMIT_BYTES = 2 * 2**20
PLAIN = (type(None), bool, int, float, str, bytes, date, datetime, UUID, Decimal)

places: dict[Path, EngineModel] = {}
deliveries: dict[Path, Delivery] = {}
lock = RLock()


@dataclass
class Delivery:
    """What is kept at one place beside the commits."""

    values: dict[str, bytes] = field(default_factory=dict)
    leases: dict[str, tuple[Lease, ModelEngine]] = field(default_factory=dict)
    last_fence: int = 0


class ModelEngine:
    model_class = EngineModel

    def __init__(self, where: Path) -> None:
        self.where = where
        self.closed = self.dropped = False

    @property
    def model(self) -> EngineModel:
        if self.closed or self.dropped:
            raise StoreClosedError("this engine was closed; open it again")
        return places[self.where]

    def initialize(self) -> None:
        with lock:
            if self.closed:
                raise StoreClosedError("this engine was closed; open it again")
            self.dropped = False
            places.setdefault(self.where, self.model_class())

    def close(self) -> None:
        with lock:
            self.closed = True
            self.release_all()

    def release_all(self) -> None:
        with lock:
            leases = deliveries[self.where].leases if self.where in deliveries else {}
            for name in [name for name, (_, holder) in leases.items() if holder is self]:
                del leases[name]

    def drop(self) -> None:
        with lock:
            places.pop(self.where, None)
            deliveries.pop(self.where, None)
            self.dropped = True
            self.release_all()

    def commit(self, attempt: CommitAttempt) -> Commit:
        return self.commit_many([attempt])[0]

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        attempts = arguments.checked_attempts(attempts)
        for attempt in attempts:
            self.check_writable(attempt)
        with lock:
            try:
                return self.model.commit_many(attempts)
            except StoreClosedError as error:
                raise said_of(storing(attempts), error) from None
            except (ConcurrencyError, DuplicateCommitError) as error:
                raise type(error)(self.describe(attempts)) from None

    def describe(self, attempts: Sequence[CommitAttempt]) -> str:
        """Bucket, stream and commit of the first attempt that is refused."""
        trial = deepcopy(self.model)
        for attempt in attempts:
            try:
                EngineModel.commit_many(trial, [attempt])
            except (ConcurrencyError, DuplicateCommitError):
                return f"bucket {attempt.bucket_id}, stream {attempt.stream_id}, commit {attempt.commit_id}"
        return "commit"

    def check_writable(self, attempt: CommitAttempt) -> None:
        size_bytes = self.size(attempt.headers)
        size_bytes += sum(self.size(event.body) + self.size(event.headers) for event in attempt.events)
        if size_bytes > RECORD_LIMIT_BYTES:
            raise ValueError(f"commit {attempt.commit_id} has {size_bytes} bytes")

    def size(self, value: Any) -> int:
        if isinstance(value, dict):
            return sum(map(self.size, value)) + sum(map(self.size, value.values()))
        if isinstance(value, list):
            return sum(map(self.size, value))
        if type(value) not in PLAIN:
            raise SerializationError(f"{type(value)} cannot be written")
        return len(value) if isinstance(value, str | bytes) else 1

    def read(self, call: str, *args: Any, **kwargs: Any) -> Any:
        with lock:
            return deepcopy(getattr(self.model, call)(*args, **kwargs))

    def walk(self, call: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return self.while_open(self.read(call, *args, **kwargs))

    def while_open(self, found: list[Any]) -> Iterator[Any]:
        assert self.model is not None  # raises when this is closed
        for each in found:
            assert self.model is not None
            yield each

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        bucket_id, stream_id = arguments.checked_place(bucket_id, stream_id)
        arguments.names_no_revision(min_revision, max_revision)
        return self.walk("get_from", bucket_id, stream_id, min_revision, max_revision)

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        tokens = arguments.checked_tokens(checkpoint_token, to_checkpoint)
        return self.walk("get_from_checkpoint", *tokens, bucket_id=arguments.checked_bucket(bucket_id))

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        period = arguments.checked_period(start, end)
        return self.walk("get_from_date", *period, bucket_id=arguments.checked_bucket(bucket_id))

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        limit = arguments.checked_limit(max_revision, "max_revision")
        return self.read("get_snapshot", *arguments.checked_place(bucket_id, stream_id), limit)

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        with writing_snapshot(arguments.checked_value(snapshot, Snapshot)):
            self.size(snapshot.payload)
        with lock:
            return self.model.add_snapshot(snapshot)

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        bucket_id, threshold = arguments.checked_heads(bucket_id, max_threshold)
        return self.walk("get_streams_to_snapshot", bucket_id, threshold)

    def get_undispatched_commits(self) -> Iterator[Commit]:
        return self.walk("get_undispatched_commits")

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        with lock:
            self.model.mark_commit_as_dispatched(arguments.checked_value(commit, Commit))

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        with lock:
            self.model.delete_stream(*arguments.checked_place(bucket_id, stream_id))

    def purge(self, bucket_id: str | None = None) -> None:
        with lock:
            self.model.purge(arguments.checked_bucket(bucket_id))

    @property
    def delivery(self) -> Delivery:
        assert self.model is not None  # raises when this is closed
        return deliveries.setdefault(self.where, Delivery())

    def get_checkpoint(self, name: str) -> bytes | None:
        with lock:
            return self.delivery.values.get(checked_name(name))

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        with lock:
            if lease is not None:
                self.check_lease(lease)
            self.delivery.values[checked_name(name)] = checked_checkpoint(value, name)

    def delete_checkpoint(self, name: str) -> None:
        with lock:
            self.delivery.values.pop(checked_name(name), None)

    def get_checkpoint_names(self) -> list[str]:
        with lock:
            return sorted(self.delivery.values)

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        name, _ = arguments.checked_lease(name, seconds)
        with lock:
            if name in self.delivery.leases:
                return None
            self.delivery.last_fence += 1
            lease = Lease(name, "model", self.delivery.last_fence)
            self.delivery.leases[name] = lease, self
            return lease

    def check_lease(self, lease: Lease) -> None:
        if self.delivery.leases.get(lease.name, (None, None))[0] != lease:
            raise LeaseLostError(lease.name)

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        arguments.checked_lease(lease.name, seconds)
        with lock:
            self.check_lease(lease)

    def release_lease(self, lease: Lease) -> None:
        with lock:
            if not self.closed and self.delivery.leases.get(lease.name, (None, None))[0] == lease:
                del self.delivery.leases[lease.name]

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        checkpoint_token, timeout_seconds = arguments.checked_wait(checkpoint_token, timeout_seconds)
        until = monotonic() + timeout_seconds
        while self.model.last_token <= checkpoint_token:
            if monotonic() >= until:
                return False
            sleep(0.001)
        return True
