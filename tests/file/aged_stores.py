"""Stores as each version of the format wrote them, with what is in them: every later version must read the same.

`data/format-<version>/<name>.tar.gz` is a store, `<name>.json` beside it what it holds. They are made once, when a
version of the format is new (`tools/format-stores`), and never changed. Whoever adds something to the format adds it to
the makers below.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import stores

from fsstore.engines.file import FileEngine
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.processes.control import TAIL, Control
from fsstore.interchange import write_line, write_value
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot
from fsstore.serialization import CompressedSerializer, EncryptedSerializer, MsgpackSerializer, Serializer
from fsstore.serialization.unregistered import AnyTypes, stored_object
from fsstore.testing import first_attempt, next_attempt

DATA = Path(__file__).parent / "data"
OPTIONS: dict[str, Any] = {"background": False, "index_from_bytes": 2048, "journal_bytes": 4096}
KEY = bytes(range(32))
VALUES: dict[Any, Any] = {
    "text": "naïve 流 \N{GRINNING FACE}",
    "numbers": [0, -1, 2**64 - 1, -(2**80), 0.1, float("inf"), True, None],
    "bytes": b"\x00\xff",
    "times": [datetime(2024, 2, 29, 1, 2, 3, 4, UTC), datetime(1, 1, 2, tzinfo=timezone(timedelta(hours=-3)))],
    "day": date(9999, 12, 31),
    "id": UUID(int=7),
    "price": Decimal("1.50"),
    "tuple": (1, ("two",)),
    "keys": {1: "one", b"2": "two"},
    "object": stored_object("OrderPlaced", {"total": Decimal(3), "lines": [1, 2]}),
}


def serializer(name: str) -> Serializer:
    plain = MsgpackSerializer(AnyTypes())
    return EncryptedSerializer(CompressedSerializer(plain), {"k1": KEY}) if name == "wrapped" else plain


def opened(path: Path, name: str, **options: Any) -> FileEngine:
    engine = FileEngine(path, serializer=serializer(name), **(OPTIONS | options))
    engine.initialize()
    return engine


def versions() -> list[int]:
    return sorted(int(directory.name.partition("-")[2]) for directory in DATA.glob("format-*"))


def kept() -> Iterator[tuple[int, str]]:
    """The version and name of every store that is kept."""
    for version in versions():
        for archive in sorted((DATA / f"format-{version}").glob("*.tar.gz")):
            yield version, archive.name.partition(".")[0]


def unpacked(version: int, name: str, path: Path) -> Path:
    with tarfile.open(DATA / f"format-{version}" / f"{name}.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 brought it
        archive.extractall(path)
    return path / f"{name}.store"


def expected(version: int, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"format-{version}" / f"{name}.json").read_text())
    return found


def content(engine: FileEngine) -> dict[str, Any]:
    """Everything that the engine answers, as JSON has it. Reading by stream must agree with reading in order."""
    commits = list(engine.get_from_checkpoint())
    streams = dict.fromkeys((commit.bucket_id, commit.stream_id) for commit in commits)
    snapshots = []
    for stream in streams:
        of_stream = [commit for commit in commits if (commit.bucket_id, commit.stream_id) == stream]
        assert list(map(write_line, engine.get_from(*stream))) == list(map(write_line, of_stream))
        assert list(engine.get_from(*stream, of_stream[-1].stream_revision))[-1].commit_id == of_stream[-1].commit_id
        found = (engine.get_snapshot(*stream, revision) for revision in range(of_stream[-1].stream_revision + 1))
        for revision, one in {one.stream_revision: one for one in found if one is not None}.items():
            snapshots.append([*stream, revision, json.loads(write_value(one.payload))])
    return {
        "commits": [json.loads(write_line(commit)) for commit in commits],
        "snapshots": snapshots,
        "undispatched": [commit.checkpoint_token for commit in engine.get_undispatched_commits()],
        "values": {name: (engine.get_checkpoint(name) or b"").hex() for name in engine.get_checkpoint_names()},
        "next_checkpoint": engine.stat()["last_checkpoint"] + 1,
    }


# ---- making them ----


class _Writing:
    """Commits with ids and times that are the same whenever they are made."""

    def __init__(self, engine: FileEngine) -> None:
        self.engine = engine
        self._made = 0

    def attempt(self, stream: str, bucket: str, previous: Commit | None, body: Any) -> CommitAttempt:
        self._made += 1
        events = [EventMessage(body, {"number": self._made}), EventMessage("another")]
        options: dict[str, Any] = {"events": events, "commit_id": UUID(int=self._made), "headers": {"by": "maker"}}
        if previous is None:
            return first_attempt(stream, bucket_id=bucket, **options)
        return next_attempt(previous, **options)

    def commit(self, stream: str, *, bucket: str = "default", count: int = 1, body: Any = "text") -> Commit:
        last = next(iter(list(self.engine.get_from(bucket, stream))[-1:]), None)
        self._made = max(self._made, self.engine.stat()["last_checkpoint"])
        for _ in range(count):
            last = self.engine.commit(self.attempt(stream, bucket, last, body))
        assert last is not None
        return last

    def batch(self, *streams: str) -> None:
        self.engine.commit_many([self.attempt(stream, "default", None, "in a batch") for stream in streams])


def _make_closed(path: Path) -> None:
    """Everything folded: a long stream with its indexes, snapshots, deletions, buckets, marks, values, a lease."""
    engine = opened(path, "closed")
    writing = _Writing(engine)
    writing.commit("long", count=40)
    writing.commit("values", body=VALUES)
    writing.commit("流 / ..\\", bucket="bücket", count=2)
    writing.commit("one", bucket="third", count=2)
    writing.commit("deleted", count=3)
    writing.commit("one", bucket="purged")
    writing.commit("two", bucket="purged")
    for stream, revision in (("long", 2), ("long", 80), ("values", 1)):
        assert engine.add_snapshot(Snapshot(stream, revision, {"at": revision, "state": VALUES}))
    engine.fold()
    engine.delete_stream("default", "deleted")
    engine.purge("purged")
    writing.commit("two", bucket="purged")
    writing.batch("batch one", "batch two", "batch three")
    for commit in list(engine.get_from_checkpoint()):
        if commit.checkpoint_token in (1, 2, 3, 6, 7, 20):
            engine.mark_commit_as_dispatched(commit)
    engine.put_checkpoint("reader of commits, número 1", b"\x00\x01")
    engine.put_checkpoint("forgotten", b"1")
    engine.delete_checkpoint("forgotten")
    lease = engine.acquire_lease("reader", 1)
    assert lease is not None
    engine.release_lease(lease)
    engine.close()


def _make_killed(path: Path) -> None:
    """As a killed process leaves it: some of it only in the journal, a deletion and a purge too, and a torn tail."""
    aside = path.with_name("aside")
    _make_closed(aside)
    engine = opened(aside, "killed")
    writing = _Writing(engine)
    writing.commit("long", count=25)
    engine.delete_stream("default", "batch two")
    engine.purge("third")
    writing.commit("two", bucket="third")
    writing.commit("batch two")
    assert engine.add_snapshot(Snapshot("long", 100, "unfolded"))
    writing.batch("last one", "last two")
    shutil.copytree(aside, path)
    engine.close()
    shutil.rmtree(aside)
    _tear(path)


def _tear(path: Path) -> None:
    """The beginning of a record behind the tail, as a process that was killed while it wrote leaves it."""
    meta = layout.read_meta(stores.DISK, str(path))
    control = Control(stores.DISK, str(path / "control"), meta.store_id, write=False)
    tail = control.get(TAIL)
    control.close()
    journal = max(journal for journal in path.glob("journal/*.journal") if int(journal.stem, 16) <= tail)
    header = format.RecordHeader(0, format.PURGE, 0, 0, tail, 0, 0, format.NO_KEY, 0, 0, 0, format.NO_ID, 0, 1, 9)
    with open(journal, "r+b") as file:
        file.seek(tail - int(journal.stem, 16))
        file.write(format.pack_header(header, meta.seed) + b"torn")


def _make_wrapped(path: Path) -> None:
    """Payloads that are compressed, then encrypted."""
    engine = opened(path, "wrapped")
    writing = _Writing(engine)
    writing.commit("a", body="long text " * 100, count=2)
    writing.commit("b", body=VALUES)
    assert engine.add_snapshot(Snapshot("a", 2, "long text " * 100))
    engine.close()


MAKERS: dict[str, Callable[[Path], None]] = {"closed": _make_closed, "killed": _make_killed, "wrapped": _make_wrapped}


def make(version: int = file_headers.FORMAT_VERSION) -> Path:
    """The stores of the present version, which must not have any yet."""
    directory = DATA / f"format-{version}"
    directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as made:
        for name, make_one in MAKERS.items():
            path = Path(made) / f"{name}.store"
            make_one(path)
            (directory / f"{name}.tar.gz").write_bytes(_packed(path))
            engine = opened(path, name)
            (directory / f"{name}.json").write_text(_text(content(engine)))
            engine.close()
    return directory


def _text(found: dict[str, Any]) -> str:
    """As JSON, a line for each commit and snapshot."""
    parts = []
    for name, value in found.items():
        lines = [json.dumps(one, ensure_ascii=False) for one in value] if isinstance(value, list) else []
        text = "[\n" + ",\n".join(lines) + "\n]" if lines else json.dumps(value, ensure_ascii=False)
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _packed(path: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for one in (path, *sorted(path.rglob("*"))):
            info = archive.gettarinfo(one, str(one.relative_to(path.parent)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 0
            if one.is_file():
                with open(one, "rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
    return gzip.compress(packed.getvalue(), mtime=0)


if __name__ == "__main__":
    try:
        print(make())
    except FileExistsError as error:
        sys.exit(f"{error.filename} is there already: what a version of the format wrote is never made again")
