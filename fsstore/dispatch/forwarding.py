"""Store-and-forward: a dispatcher that copies commits to another engine, so that an edge fills a central store.

Commits keep their ids, streams and places in them; the other end gives its own checkpoint tokens. What was copied
and what is due is the dispatching store's to know, so a copy that was interrupted goes on where it was.
"""

from __future__ import annotations

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError, ForwardingConflictError
from fsstore.model import Commit, CommitAttempt


class ForwardingDispatcher:
    """Copies every commit to `target`, an initialized engine that is closed with it.

    Copying twice changes nothing. A stream that goes another way at the target raises `ForwardingConflictError`,
    and delivery stops there whatever the policy is; any other failure of the target is tried again.
    """

    blocks = True

    def __init__(self, target: PersistenceEngine) -> None:
        self._target = target

    def dispatch(self, commit: Commit) -> None:
        try:
            self._target.commit(CommitAttempt.of(commit))
        except DuplicateCommitError:
            self._check_place(commit)
        except ConcurrencyError as error:
            raise self._conflict(commit) from error

    def _check_place(self, commit: Commit) -> None:
        for there in self._target.get_from(commit.bucket_id, commit.stream_id, commit.stream_revision):
            if there.commit_id == commit.commit_id and there.commit_sequence == commit.commit_sequence:
                return
        raise self._conflict(commit)

    def _conflict(self, commit: Commit) -> ForwardingConflictError:
        sequence = revision = 0
        instead = None
        for there in self._target.get_from(commit.bucket_id, commit.stream_id):
            sequence, revision = there.commit_sequence, there.stream_revision
            if sequence == commit.commit_sequence:
                instead = there.commit_id
        why = (
            f"commit {commit.commit_sequence} there is {instead}"
            if instead is not None
            else f"commits {sequence + 1} to {commit.commit_sequence - 1} are missing there"
        )
        return ForwardingConflictError(
            f"commit {commit.commit_id} (commit {commit.commit_sequence}, revision {commit.stream_revision}) of stream "
            f"{commit.stream_id!r} in bucket {commit.bucket_id!r} cannot be copied: {why}, the stream being at commit "
            f"{sequence}, revision {revision}. Nothing was written; settle the stream at the other end, then delivery "
            "goes on from this commit"
        )

    def close(self) -> None:
        self._target.close()
