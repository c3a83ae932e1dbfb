"""`fsstore verify`: read everything, and see that the two ways of reading agree."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import typer

from fsstore.cli.opening import JsonOption, KeyFileOption, StoreArgument, file_store, is_file_store, reading
from fsstore.cli.output import print_json, progress
from fsstore.cli.payloads import Ciphertext, KeyNotGivenError, NamedKey
from fsstore.dispatch.following import head_token
from fsstore.engine import PersistenceEngine
from fsstore.engines.file import FileEngine
from fsstore.engines.file.verify import verify as verify_files
from fsstore.errors import CorruptionError, EventStoreError, SerializationError, StorageUnavailableError
from fsstore.interchange import write_line
from fsstore.model import Commit


def verify(store: StoreArgument, keys: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """Read every commit by checkpoint and again by stream, and check that both give the same.

    Also that checkpoint tokens ascend, that sequences and revisions have no holes, and whatever the engine can
    check of itself. Exits with 1 when something is wrong. Nothing is repaired. Without --key-file encrypted payloads
    are compared as they are, and not looked into.
    """
    check = _Check(keyed=bool(keys))
    findings = []
    for finding in _findings(store, keys, check):
        findings.append(finding)
        if not as_json:
            print(f"fsstore: {finding}", file=sys.stderr)
    if as_json:
        encrypted = {"encrypted_commits": check.encrypted} if check.encrypted else {}
        print_json({"commits": check.commits, "streams": len(check.streams), **encrypted, "findings": findings})
    elif not findings:
        print(f"{check.commits:,} commits in {len(check.streams):,} streams: nothing wrong")
    else:
        print(f"{check.commits:,} commits in {len(check.streams):,} streams: {len(findings):,} things wrong")
    if check.encrypted and not as_json:
        print(f"{check.encrypted:,} of the payloads are encrypted and were not looked into; --key-file looks into them")
    if findings:
        raise typer.Exit(1)


def _findings(store: str, keys: list[NamedKey] | None, check: _Check) -> Iterator[str]:
    try:
        with reading(store, keys, opaque=True) as engine:
            yield from check.findings(engine)
    except (CorruptionError, StorageUnavailableError) as error:
        if not is_file_store(store):
            raise
        # Too damaged to be opened: what there is in its files can be looked at all the same.
        yield str(error)
        with progress("files", None) as advance:
            disk, path = file_store(store)
            found = verify_files(disk, path, progress=lambda done, total: advance(done, _of(done, total)))
            yield from map(str, found)


def _of(done: int, total: int) -> str:
    return f"{done:,} of {total:,} bytes"


@dataclass(slots=True)
class _Seen:
    """A stream as one way of reading gives it: its head, and a digest over every commit."""

    sequence: int = 0
    revision: int = 0
    token: int = 0
    digest: bytes = field(default=b"", repr=False)

    def add(self, commit: Commit) -> None:
        self.sequence, self.revision = commit.commit_sequence, commit.stream_revision
        self.token = commit.checkpoint_token
        self.digest = blake2b(write_line(commit).encode(), key=self.digest, digest_size=32).digest()


class _Check:
    def __init__(self, *, keyed: bool) -> None:
        self._keyed = keyed
        self._token = 0
        self.commits = self.encrypted = 0
        self.streams: dict[tuple[str, str], _Seen] = {}

    def findings(self, engine: PersistenceEngine) -> Iterator[str]:
        """What is wrong, one line each; the counts are right when this is exhausted."""
        self._engine = engine
        yield from self._own()
        head: int | None = None  # where the end cannot be found, reading says why
        with contextlib.suppress(EventStoreError):
            head = head_token(self._engine)
        with progress("by checkpoint", head) as advance:
            try:
                for commit in self._engine.get_from_checkpoint(0, head):
                    yield from self._next(commit)
                    if self.commits % 512 == 0:
                        advance(commit.checkpoint_token, f"{self.commits:,} commits")
            except EventStoreError as error:
                wrong = not self.commits and isinstance(error, SerializationError)
                if self._keyed and (wrong or isinstance(error.__cause__, KeyNotGivenError)):
                    raise  # the keys are not the store's, or not all of them, which is no damage
                yield f"reading by checkpoint stopped after {self.commits:,} commits: {error}"
                head = self._token  # what comes behind was read in one way only
        with progress("by stream", len(self.streams)) as advance:
            for number, key in enumerate(self.streams, 1):
                yield from self._compare(*key, head)
                advance(number, f"{number:,} streams")

    def _own(self) -> Iterator[str]:
        """What the engine can check of itself."""
        own = getattr(self._engine, "verify", None)
        if own is None:
            return
        try:
            with progress("files", None) as advance:
                options = {}
                if isinstance(self._engine, FileEngine):
                    options["progress"] = lambda done, total: advance(done, _of(done, total))
                yield from map(str, own(**options))
        except EventStoreError as error:
            yield str(error)

    def _next(self, commit: Commit) -> Iterator[str]:
        where = _where(commit.bucket_id, commit.stream_id)
        seen = self.streams.setdefault((commit.bucket_id, commit.stream_id), _Seen())
        if commit.checkpoint_token <= self._token:
            yield f"checkpoint token {commit.checkpoint_token} of {where} comes after {self._token}"
        if commit.commit_sequence != seen.sequence + 1:
            yield f"commit {commit.commit_sequence} of {where} comes after commit {seen.sequence}"
        if any(isinstance(event.body, Ciphertext) for event in commit.events):
            self.encrypted += 1
            # How many events there are cannot be seen.
            follows = commit.stream_revision > seen.revision
        else:
            follows = commit.stream_revision == seen.revision + len(commit.events)
        if not follows:
            yield (
                f"revision {commit.stream_revision} of {where} with {len(commit.events)} events "
                f"comes after revision {seen.revision}"
            )
        self._token = commit.checkpoint_token
        seen.add(commit)
        self.commits += 1

    def _compare(self, bucket_id: str, stream_id: str, head: int | None) -> Iterator[str]:
        expected, found = self.streams[bucket_id, stream_id], _Seen()
        try:
            for commit in self._engine.get_from(bucket_id, stream_id):
                if head is None or commit.checkpoint_token <= head:
                    found.add(commit)
        except EventStoreError as error:
            yield f"{_where(bucket_id, stream_id)} cannot be read: {error}"
            return
        if found != expected and not self._is_deleted(expected.token):
            yield (
                f"{_where(bucket_id, stream_id)} read by itself ends at commit {found.sequence}, revision "
                f"{found.revision}; read by checkpoint at commit {expected.sequence}, revision {expected.revision}"
                + ("; the contents differ" if found.sequence == expected.sequence else "")
            )

    def _is_deleted(self, token: int) -> bool:
        """Whether the commit is in no order any more: somebody deleted its stream after it was read."""
        with contextlib.suppress(EventStoreError):
            return next(iter(self._engine.get_from_checkpoint(token - 1, token)), None) is None
        return False


def _where(bucket_id: str, stream_id: str) -> str:
    return f"stream {stream_id!r} of bucket {bucket_id!r}"
