"""The dead-letter stream: commits that a dispatcher could not take, with the reason, until they are sent again.

They are kept as events of one stream in the bucket `fsstore.parked`, by reference: the commit itself stays where it
is. Nothing here dispatches; whoever delivers finds the wish to send again in checkpoint order, as a commit like any
other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError
from fsstore.model import Commit, CommitAttempt, EventMessage

PARKED_BUCKET = "fsstore.parked"
_STREAM = "default"
_PARKED, _SEND_AGAIN, _SENT, _DROPPED = "parked", "send again", "sent", "dropped"


_Reference = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ParkedCommit:
    """A commit in the dead-letter stream, and why it is there. `checkpoint_token` is the one it had when it was parked,
    which is another than its own where the store is a copy."""

    checkpoint_token: int
    bucket_id: str
    stream_id: str
    commit_id: str
    commit_sequence: int
    reason: str
    attempts: int
    parked_at: str

    @property
    def reference(self) -> _Reference:
        """Which commit it is, whatever its token."""
        return self.bucket_id, self.stream_id, self.commit_id


def reference_of(commit: Commit) -> _Reference:
    """Which commit it is, in the form of `ParkedCommit.reference`."""
    return commit.bucket_id, commit.stream_id, str(commit.commit_id)


def _meant(parked: dict[_Reference, ParkedCommit], fields: dict[str, Any]) -> list[ParkedCommit]:
    """Which of what is parked an event means. Once, events had the token alone."""
    if "commit_id" not in fields:
        return [one for one in parked.values() if one.checkpoint_token == fields["checkpoint_token"]]
    found = parked.get((fields["bucket_id"], fields["stream_id"], fields["commit_id"]))
    return [] if found is None else [found]


class Parking:
    """The dead-letter stream of a store."""

    def __init__(self, engine: PersistenceEngine) -> None:
        self._engine = engine

    def park(self, commit: Commit, reason: str, attempts: int) -> None:
        """Put `commit` in, durably."""
        parked = ParkedCommit(
            commit.checkpoint_token,
            commit.bucket_id,
            commit.stream_id,
            str(commit.commit_id),
            commit.commit_sequence,
            reason,
            attempts,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._append(_PARKED, asdict(parked))

    def commits(self) -> list[ParkedCommit]:
        """What is parked, in checkpoint order."""
        parked: dict[_Reference, ParkedCommit] = {}
        for stored in self._engine.get_from(PARKED_BUCKET, _STREAM):
            for event in stored.events:
                what, fields = event.body["what"], event.body["commit"]
                if what == _PARKED:
                    one = ParkedCommit(**fields)
                    parked[one.reference] = one
                elif what in (_SENT, _DROPPED):
                    for each in _meant(parked, fields):
                        del parked[each.reference]
        return sorted(parked.values(), key=lambda one: one.checkpoint_token)

    def send_again(self, checkpoint_token: int) -> None:
        """Ask whoever delivers to try that commit once more; `ValueError` when it is not parked."""
        self._answer(_SEND_AGAIN, checkpoint_token)

    def drop(self, checkpoint_token: int) -> None:
        """Take it out without sending it; the commit itself stays in its stream."""
        self._answer(_DROPPED, checkpoint_token)

    def sent(self, parked: ParkedCommit) -> None:
        """It was delivered after all."""
        self._note(_SENT, parked)

    def deleted(self, parked: ParkedCommit) -> None:
        """There is nothing left to deliver."""
        self._note(_DROPPED, parked)

    def wanted(self, commit: Commit) -> Iterator[tuple[ParkedCommit, Commit | None]]:
        """What `commit`, one of this stream's own, wants to be sent again and is still parked, each with its commit;
        `None` for a deleted one."""
        if commit.stream_id != _STREAM:
            return
        for event in commit.events:
            if event.body["what"] == _SEND_AGAIN:
                # Sent, or dropped, since that was asked for?
                still = {parked.reference: parked for parked in self.commits()}
                for parked in _meant(still, event.body["commit"]):
                    yield parked, self._commit_of(parked)

    def _commit_of(self, parked: ParkedCommit) -> Commit | None:
        """The commit, which has another token than when it was parked where the store is a copy."""
        token = parked.checkpoint_token
        at_its_token = self._engine.get_from_checkpoint(token - 1, token)
        in_its_stream = self._engine.get_from(parked.bucket_id, parked.stream_id, parked.commit_sequence)
        every = chain(at_its_token, in_its_stream)
        return next((commit for commit in every if reference_of(commit) == parked.reference), None)

    def _answer(self, what: str, checkpoint_token: int) -> None:
        answered = [parked for parked in self.commits() if parked.checkpoint_token == checkpoint_token]
        if not answered:
            raise ValueError(f"the commit at checkpoint {checkpoint_token} is not parked")
        for parked in answered:
            self._note(what, parked)

    def _note(self, what: str, parked: ParkedCommit) -> None:
        names = ("checkpoint_token", "bucket_id", "stream_id", "commit_id")
        self._append(what, {name: getattr(parked, name) for name in names})

    def _append(self, what: str, commit: dict[str, Any]) -> None:
        event = EventMessage({"what": what, "commit": commit})
        while True:
            sequence = revision = 0
            for stored in self._engine.get_from(PARKED_BUCKET, _STREAM):
                sequence, revision = stored.commit_sequence, stored.stream_revision
            attempt = CommitAttempt(
                _STREAM,
                revision + 1,
                uuid.uuid4(),
                sequence + 1,
                datetime.now(UTC),
                {},
                (event,),
                PARKED_BUCKET,
            )
            try:
                self._engine.commit(attempt)
                return
            except ConcurrencyError:
                continue
