"""A process that is killed between any two disk calls leaves a store that all others simply go on with.

A forked child does one thing on a disk that kills it, with SIGKILL, right before the nth call that changes
something, for every n until it lives through it. Another engine has the store open all the time.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk, Words
from fsstore.engines.file.verify import verify
from fsstore.model import Commit, EventMessage, Snapshot
from fsstore.testing import fill, first_attempt, next_attempt

# Small files, so that rolling and recycling happen; no thread, so that the nth call is always the same.
OPTIONS: dict[str, Any] = {"journal_bytes": 8192, "background": False}
FORGOTTEN = {("default", "deleted"), ("purged", "one"), ("purged", "two")}
_CHANGING = ("write", "truncate", "flush", "flush_directory", "flush_file_system", "rename", "unlink", "lock", "unlock")


class KillingDisk(RealDisk):
    """The real disk; kills its process before the nth call that others can notice."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1
        for name in _CHANGING:
            setattr(self, name, self._counted(getattr(self, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.count()
            return call(*args, **options)

        return counted

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def map_words(self, handle: int, count: int, *, write: bool) -> Words:
        return CountedWords(super().map_words(handle, count, write=write), self)


class CountedWords:
    def __init__(self, words: Words, disk: KillingDisk) -> None:
        self._words = words
        self._disk = disk

    def __getitem__(self, index: int, /) -> int:
        return self._words[index]

    def __setitem__(self, index: int, value: int, /) -> None:
        self._disk.count()
        self._words[index] = value

    def release(self) -> None:
        self._words.release()


Acknowledge = Callable[[Commit], None]


def commit_many(engine: FileEngine, acknowledge: Acknowledge) -> None:
    first = first_attempt("child")
    for commit in engine.commit_many([first, next_attempt(first), first_attempt("other child")]):
        acknowledge(commit)


def commit_over_a_border(engine: FileEngine, acknowledge: Acknowledge) -> None:
    acknowledge(engine.commit(first_attempt("child", events=[EventMessage(b"x" * 7000)])))


def forget_and_fold(engine: FileEngine, acknowledge: Acknowledge) -> None:
    engine.delete_stream("default", "deleted")
    engine.purge("purged")
    engine.fold()


def snapshot(engine: FileEngine, acknowledge: Acknowledge) -> None:
    assert engine.add_snapshot(Snapshot("kept", 2, {"n": 1}))


WORKLOADS = [commit_many, commit_over_a_border, forget_and_fold, snapshot]


def opened(path: Path, **options: Any) -> FileEngine:
    engine = FileEngine(path, **(OPTIONS | options))
    engine.initialize()
    return engine


def child(path: Path, work: Callable[[FileEngine, Acknowledge], None], kill_at: int, *, opening: bool) -> list[int]:
    """What a child that was killed at that call had acknowledged; raises when it failed otherwise."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        status = 1
        try:
            disk = KillingDisk()
            if opening:
                disk.left = kill_at
            engine = opened(path, disk=disk)
            if not opening:
                disk.left = kill_at
            work(engine, lambda commit: _say(writing, commit))
            if not opening:
                disk.left = -1
            engine.close()
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    if not code:
        raise SurvivedError
    return [int.from_bytes(said[at : at + 8], "big") for at in range(0, len(said), 8)]


class SurvivedError(Exception):
    """The work was done before the call at which the child should have been killed."""


def _say(pipe: int, commit: Commit) -> None:
    os.write(pipe, commit.checkpoint_token.to_bytes(8, "big"))


def check(engine: FileEngine, acknowledged: list[int], expected: list[Commit]) -> list[Commit]:
    """Nothing of what was acknowledged is missing, tokens have no holes but deleted ones, streams agree."""
    found = list(engine.get_from_checkpoint())
    tokens = [commit.checkpoint_token for commit in found]
    assert tokens == sorted(set(tokens))
    assert set(acknowledged) <= set(tokens)
    gone = [commit for commit in expected if commit not in found]
    assert {(commit.bucket_id, commit.stream_id) for commit in gone} <= FORGOTTEN
    assert set(range(1, tokens[-1] + 1)) - set(tokens) == {commit.checkpoint_token for commit in gone}
    for bucket_id, stream_id in {(commit.bucket_id, commit.stream_id) for commit in found}:
        stream = list(engine.get_from(bucket_id, stream_id))
        assert stream == [commit for commit in found if (commit.bucket_id, commit.stream_id) == (bucket_id, stream_id)]
        assert [commit.commit_sequence for commit in stream] == list(range(1, len(stream) + 1))
    return found


def begun(path: Path) -> tuple[FileEngine, list[Commit]]:
    other = opened(path)
    expected = fill(other, "kept", commits=3) + fill(other, "deleted", commits=2)
    for stream in ("one", "two"):
        expected += fill(other, stream, bucket_id="purged", commits=1)
    other.fold()
    expected += fill(other, "late", commits=2)
    return other, expected


def gone_on(path: Path, other: FileEngine, acknowledged: list[int], expected: list[Commit]) -> None:
    """Others commit, read, fold, close, and open the store again."""
    check(other, acknowledged, expected)
    # As long as what the child wrote, and then shorter: what is left of the child must not be taken for more.
    expected = [*expected, other.commit(first_attempt("after"))]
    seen = check(other, acknowledged, expected)
    assert seen[-1] == expected[-1]
    reader = opened(path, read_only=True)
    assert check(reader, acknowledged, expected) == seen
    third = opened(path)
    assert check(third, acknowledged, expected) == seen
    expected.append(third.commit(first_attempt("third", events=[EventMessage(1)])))
    seen = check(other, acknowledged, expected)
    assert check(reader, acknowledged, expected) == seen
    copied = crashed_copy(path)
    third.close()
    other.close()
    assert list(verify(RealDisk(), str(path))) == []
    for one in (path, copied):
        again = opened(one)
        assert check(again, acknowledged, expected) == seen
        again.close()
        assert list(verify(RealDisk(), str(one))) == []
    assert check(reader, acknowledged, expected) == seen
    reader.close()


def crashed_copy(path: Path) -> Path:
    """The store as it would be if all processes were killed now."""
    return Path(shutil.copytree(path, path.with_name(f"{path.name} crashed")))


@pytest.mark.parametrize("work", WORKLOADS, ids=lambda work: work.__name__)
def test_a_writer_killed_at_any_call_is_gone_on_from(tmp_path: Path, work: Callable[..., None]) -> None:
    for kill_at in range(1, 1000):
        path = tmp_path / f"{kill_at}.store"
        other, expected = begun(path)
        try:
            acknowledged = child(path, work, kill_at, opening=False)
        except SurvivedError:
            assert kill_at > 5
            break
        gone_on(path, other, acknowledged, expected)
    else:
        raise AssertionError("the child never lived through its work")


def test_a_process_killed_at_any_call_of_opening_recovering_and_closing_is_gone_on_from(tmp_path: Path) -> None:
    unclean = tmp_path / "unclean.store"
    other, expected = begun(tmp_path / "first.store")
    other.commit(first_attempt("torn"))
    os.rename(crashed_copy(tmp_path / "first.store"), unclean)
    other.close()
    journal = max((unclean / "journal").glob("*.journal"))
    data = bytearray(journal.read_bytes())
    data[data.rindex(b"torn")] ^= 1
    journal.write_bytes(data)
    for kill_at in range(1, 1000):
        path = Path(shutil.copytree(unclean, tmp_path / f"{kill_at}.store"))
        (path / "control").unlink()
        try:
            child(path, lambda engine, _: None, kill_at, opening=True)
        except SurvivedError:
            assert kill_at > 20
            break
        gone_on(path, opened(path), [], expected)
    else:
        raise AssertionError("the child never lived through its work")


def test_making_a_store_killed_at_any_call_is_gone_on_from(tmp_path: Path) -> None:
    for kill_at in range(1, 1000):
        path = tmp_path / f"{kill_at}.store"
        try:
            child(path, lambda engine, _: None, kill_at, opening=True)
        except SurvivedError:
            assert kill_at > 20
            break
        engine = opened(path)
        assert list(engine.get_from_checkpoint()) == []
        assert engine.commit(first_attempt("a")).checkpoint_token == 1
        engine.close()
        assert list(verify(RealDisk(), str(path))) == []
    else:
        raise AssertionError("the child never lived through its work")
