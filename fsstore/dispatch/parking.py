"""The dead-letter stream: commits that a dispatcher could not take, with the reason, until they are sent again.

They are kept as events of a stream in the bucket `fsstore.parked`, one stream a dispatcher, by reference: the
commit itself stays where it is. Nothing here dispatches; whoever delivers finds the wish to send again in
checkpoint order, as a commit like any other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError
from fsstore.model import Commit, CommitAttempt, EventMessage

PARKED_BUCKET = "fsstore.parked"
_PARKED, _SEND_AGAIN, _SENT, _DROPPED = "parked", "send again", "sent", "dropped"


@dataclass(frozen=True, slots=True)
class ParkedCommit:
    """A commit in the dead-letter stream, and why it is there."""

    checkpoint_token: int
    bucket_id: str
    stream_id: str
    commit_id: str
    commit_sequence: int
    reason: str
    attempts: int
    parked_at: str


class Parking:
    """The dead-letter stream of one dispatcher."""

    def __init__(self, engine: PersistenceEngine, name: str = "default") -> None:
        self._engine = engine
        self._name = name

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
        parked: dict[int, ParkedCommit] = {}
        for stored in self._engine.get_from(PARKED_BUCKET, self._name):
            for event in stored.events:
                what, fields = event.body["what"], event.body["commit"]
                if what == _PARKED:
                    parked[fields["checkpoint_token"]] = ParkedCommit(**fields)
                elif what in (_SENT, _DROPPED):
                    parked.pop(fields["checkpoint_token"], None)
        return [parked[token] for token in sorted(parked)]

    def send_again(self, checkpoint_token: int) -> None:
        """Ask whoever delivers to try that commit once more; `ValueError` when it is not parked."""
        self._answer(_SEND_AGAIN, checkpoint_token)

    def drop(self, checkpoint_token: int) -> None:
        """Take it out without sending it; the commit itself stays in its stream."""
        self._answer(_DROPPED, checkpoint_token)

    def sent(self, checkpoint_token: int) -> None:
        """It was delivered after all."""
        self._append(_SENT, {"checkpoint_token": checkpoint_token})

    def wanted(self, commit: Commit) -> Iterator[tuple[int, Commit | None]]:
        """The commits that `commit`, one of this stream's own, wants to be sent again and that are still parked;
        `None` for a deleted one."""
        if commit.stream_id != self._name:
            return
        for event in commit.events:
            token = event.body["commit"]["checkpoint_token"]
            # Sent, or dropped, since that was asked for?
            if event.body["what"] == _SEND_AGAIN and self._is_parked(token):
                yield token, next(self._engine.get_from_checkpoint(token - 1, token), None)

    def _answer(self, what: str, checkpoint_token: int) -> None:
        if not self._is_parked(checkpoint_token):
            raise ValueError(f"the commit at checkpoint {checkpoint_token} is not parked by dispatcher {self._name!r}")
        self._append(what, {"checkpoint_token": checkpoint_token})

    def _is_parked(self, checkpoint_token: int) -> bool:
        return any(parked.checkpoint_token == checkpoint_token for parked in self.commits())

    def _append(self, what: str, commit: dict[str, Any]) -> None:
        event = EventMessage({"what": what, "commit": commit})
        while True:
            sequence = revision = 0
            for stored in self._engine.get_from(PARKED_BUCKET, self._name):
                sequence, revision = stored.commit_sequence, stored.stream_revision
            attempt = CommitAttempt(
                self._name,
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
