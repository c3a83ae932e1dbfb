"""Stores to damage, what they hold, and ways to damage them; used by the tests of verify and repair."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import format
from fsstore.engines.file.streams.segments import Stream
from fsstore.model import Commit, Snapshot
from fsstore.testing import fill, next_attempt

Content = dict[tuple[str, str], list[Commit]]
DISK = RealDisk()
STREAMS = {("default", "long"): 40, ("default", "b"): 5, ("default", "c"): 5, ("other", "b"): 3, ("default", "e"): 1}
OPTIONS = {"index_from_bytes": 2048, "background": False}


def build(path: Path, **options: int) -> Content:
    """A store in which everything is folded, closed cleanly."""
    engine = FileEngine(path, **(OPTIONS | options))
    engine.initialize()
    for (bucket, stream), commits in STREAMS.items():
        fill(engine, stream, bucket_id=bucket, commits=commits)
    for stream, revisions in {"long": (2, 10, 80), "b": (4,)}.items():
        for revision in revisions:
            assert engine.add_snapshot(Snapshot(stream, revision, {"at": revision}))
    for commit in list(engine.get_undispatched_commits())[:4]:
        engine.mark_commit_as_dispatched(commit)
    fill(engine, "deleted", commits=2)
    engine.delete_stream("default", "deleted")
    engine.close()
    return content(path)


def build_unfolded(path: Path, aside: Path) -> Content:
    """A store as a killed process leaves it: 20 commits more, in the journal only."""
    build(aside)
    engine = FileEngine(aside, **OPTIONS)
    engine.initialize()
    for number in range(4):
        for bucket, stream in STREAMS:
            last = list(engine.get_from(bucket, stream))[-1]
            engine.commit(next_attempt(last, events=1 + number % 2))
    engine.add_snapshot(Snapshot("c", 11, {"at": 11}))
    shutil.copytree(aside, path)
    engine.close()
    shutil.rmtree(aside)
    return content(path)


def content(path: Path) -> Content:
    """Everything in the store, by stream."""
    engine = FileEngine(path, read_only=True)
    engine.initialize()
    found: Content = {}
    for commit in engine.get_from_checkpoint():
        found.setdefault((commit.bucket_id, commit.stream_id), []).append(commit)
    for (bucket, stream), commits in found.items():
        assert list(engine.get_from(bucket, stream)) == commits
    engine.close()
    return found


def tree(path: Path) -> dict[str, str]:
    """Every file and directory under `path`, with what is in it."""
    return {
        str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest() if one.is_file() else "directory"
        for one in sorted(path.rglob("*"))
    }


# ---- places ----


def file_of(path: Path, stream: str, kind: str, bucket: str = "default") -> Path:
    key = Stream.of(bucket, stream).key.hex()
    return path / "streams" / key[:2] / f"{key}.{kind}"


def journal_of(path: Path) -> Path:
    return max((path / "journal").glob("*.journal"))


def records(path: Path, file: Path) -> list[tuple[int, format.RecordHeader]]:
    """Offset and header of every record that stands in the file where it says."""
    seed = layout.read_meta(DISK, str(path)).seed
    data = file.read_bytes()
    base = int(file.stem, 16) if file.suffix == ".journal" else None
    found, at = [], data.find(format.RECORD_MAGIC)
    while at >= 0:
        header = format.read_header(data, at, seed)
        if header is not None and (header.place if base is None else header.position - base) == at:
            found.append((at, header))
        at = data.find(format.RECORD_MAGIC, at + 1)
    return found


def record(path: Path, file: Path, stream: str, sequence: int, bucket: str = "default") -> tuple[int, int]:
    """Where the stream's commit of that sequence begins and ends in the file."""
    key = Stream.of(bucket, stream).key
    for offset, header in records(path, file):
        if header.key == key and header.kind == format.COMMIT and header.sequence == sequence:
            return offset, offset + header.length_bytes
    raise AssertionError(f"commit {sequence} of {stream} is not in {file}")


# ---- damage ----


def flip(file: Path, offset: int) -> None:
    """One bit of one byte; a negative offset counts from the end."""
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x04
    file.write_bytes(data)


def cut(file: Path, size: int) -> None:
    with open(file, "r+b") as handle:
        handle.truncate(size)


def swap(one: Path, other: Path) -> None:
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)
