"""Reading in checkpoint order: how much is taken into memory, and what others do while a page is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fsstore import EventMessage
from fsstore.engines.file import FileEngine
from fsstore.engines.file.streams.segments import Segments
from fsstore.testing import first_attempt


def opened(path: Path) -> FileEngine:
    engine = FileEngine(path, background=False, durability="os")
    engine.initialize()
    return engine


def test_a_page_of_large_commits_has_fewer_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = opened(tmp_path / "a.store")
    body = bytes(1 << 20)
    attempts = [first_attempt(f"s{number}", events=[EventMessage(body)]) for number in range(40)]
    committed = engine.commit_many(attempts)
    engine.fold()
    read_at, in_memory, most = Segments.read_at, 0, 0

    def counted(self: Segments, key: bytes, place: int, length_bytes: int) -> bytes:
        nonlocal in_memory, most
        in_memory += length_bytes
        most = max(most, in_memory)
        return read_at(self, key, place, length_bytes)

    monkeypatch.setattr(Segments, "read_at", counted)
    for commit, expected in zip(engine.get_from_checkpoint(), committed, strict=True):
        assert commit == expected
        in_memory = 0
    assert len(body) <= most < 18 * len(body)
    engine.close()


def test_streams_that_are_deleted_faster_than_a_page_is_read_are_no_damage(tmp_path: Path) -> None:
    other, engine = opened(tmp_path / "a.store"), opened(tmp_path / "a.store")
    committed = other.commit_many([first_attempt(f"s{number}") for number in range(200)])
    other.fold()
    going = [commit.stream_id for commit in committed[100:]]
    segments = engine.opened().view.segments
    read_at, reads = segments.read_at, 0

    def delete_meanwhile(*arguments: Any) -> bytes:
        nonlocal reads
        reads += 1
        if going and reads % 50 == 0:
            other.delete_stream("default", going.pop())
            other.fold()
        return read_at(*arguments)

    segments.read_at = delete_meanwhile  # type: ignore[method-assign]
    found = list(engine.get_from_checkpoint())
    assert found[:100] == committed[:100]
    assert len(going) < 92, "more went than there are looks without progress"
    assert {commit.stream_id for commit in found[100:]} >= set(going)
    for one in (other, engine):
        one.close()
