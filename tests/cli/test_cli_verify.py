"""`fsstore verify`: each disagreement is found, and is exit code 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fsstore import Commit, CorruptionError, EventMessage
from fsstore.cli import opening
from fsstore.engines import engine_for
from fsstore.engines.memory import MemoryEngine

from .conftest import Run


def test_a_good_store(fsstore: Run, store: Path) -> None:
    outcome = fsstore("verify", store)
    assert (outcome.code, outcome.out, outcome.err) == (0, "9 commits in 3 streams: nothing wrong\n", "")
    assert fsstore("verify", store, "--json").json == [{"commits": 9, "streams": 3, "findings": []}]


class Wrong(MemoryEngine):
    """A memory engine whose answers are bent on the way out."""

    by_checkpoint: Callable[[Iterator[Commit]], Iterator[Commit]] = staticmethod(lambda commits: commits)
    by_stream: Callable[[Iterator[Commit]], Iterator[Commit]] = staticmethod(lambda commits: commits)

    def get_from_checkpoint(self, *arguments: Any, **options: Any) -> Iterator[Commit]:
        return self.by_checkpoint(super().get_from_checkpoint(*arguments, **options))

    def get_from(self, *arguments: Any, **options: Any) -> Iterator[Commit]:
        return self.by_stream(super().get_from(*arguments, **options))


def without_the_second(commits: Iterator[Commit]) -> Iterator[Commit]:
    return (commit for commit in commits if commit.commit_sequence != 2)


def with_tokens_of_one(commits: Iterator[Commit]) -> Iterator[Commit]:
    return (replace(commit, checkpoint_token=min(commit.checkpoint_token, 4)) for commit in commits)


def with_another_body(commits: Iterator[Commit]) -> Iterator[Commit]:
    return (replace(commit, events=(EventMessage("other"),) * len(commit.events)) for commit in commits)


def with_fewer_events(commits: Iterator[Commit]) -> Iterator[Commit]:
    return (replace(commit, events=commit.events[:1]) for commit in commits)


def damaged(commits: Iterator[Commit]) -> Iterator[Commit]:
    yield from islice(commits, 1)
    raise CorruptionError("a record is damaged")


@pytest.mark.parametrize(
    ("way", "bend", "finding"),
    [
        ("by_checkpoint", without_the_second, "commit 3 of stream 'order-0' of bucket 'default' comes after commit 1"),
        ("by_checkpoint", with_fewer_events, "revision 3 of stream 'order-0' of bucket 'default' with 1 events"),
        ("by_checkpoint", damaged, "reading by checkpoint stopped after 1 commits: a record is damaged"),
        (
            "by_checkpoint",
            with_tokens_of_one,
            "checkpoint token 4 of stream 'order-1' of bucket 'default' comes after 4",
        ),
        ("by_stream", without_the_second, "stream 'order-0' of bucket 'default' read by itself ends at commit 3"),
        ("by_stream", with_another_body, "the contents differ"),
        ("by_stream", damaged, "stream 'order-0' of bucket 'default' cannot be read: a record is damaged"),
    ],
)
def test_what_disagrees_is_found(
    fsstore: Run, attempts: list[Any], monkeypatch: pytest.MonkeyPatch, way: str, bend: Any, finding: str
) -> None:
    engine = Wrong()
    engine.commit_many(attempts)
    monkeypatch.setattr(engine, way, bend)
    monkeypatch.setattr(engine, "close", lambda: None)
    monkeypatch.setattr(opening, "engine_for", lambda *_, **__: engine)
    outcome = fsstore("verify", "memory:")
    assert outcome.code == 1
    assert finding in outcome.err
    assert "things wrong" in outcome.out
    (result,) = fsstore("verify", "memory:", "--json").json
    assert any(finding in each for each in result["findings"])


def test_what_reading_by_checkpoint_did_not_come_to_is_not_called_missing(
    fsstore: Run, attempts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Wrong()
    engine.commit_many(attempts)
    monkeypatch.setattr(engine, "by_checkpoint", damaged)
    monkeypatch.setattr(engine, "close", lambda: None)
    monkeypatch.setattr(opening, "engine_for", lambda *_, **__: engine)
    (result,) = fsstore("verify", "memory:", "--json").json
    assert result["findings"] == ["reading by checkpoint stopped after 1 commits: a record is damaged"]


def test_a_stream_that_is_deleted_meanwhile_is_no_damage(
    fsstore: Run, attempts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Wrong()
    engine.commit_many(attempts)

    def by_stream(commits: Iterator[Commit]) -> Iterator[Commit]:
        engine.delete_stream("default", "order-1")
        return commits

    monkeypatch.setattr(engine, "by_stream", by_stream)
    monkeypatch.setattr(opening, "engine_for", lambda *_, **__: engine)
    outcome = fsstore("verify", "memory:")
    assert (outcome.code, outcome.err) == (0, "")


def test_what_the_engine_finds_in_itself_is_told(fsstore: Run, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_for(store, read_only=True)
    monkeypatch.setattr(type(engine), "verify", lambda self, **_: iter(["a segment is short"]), raising=False)
    outcome = fsstore("verify", store)
    assert (outcome.code, outcome.err) == (1, "fsstore: a segment is short\n")


def test_a_store_that_cannot_be_opened_is_verified_all_the_same(fsstore: Run, store: Path) -> None:
    (store / "commits.index").unlink()
    (store / "heads.index").write_bytes(b"nothing")
    outcome = fsstore("verify", store)
    assert outcome.code == 1
    assert "commits.index at byte 0: an index is missing" in outcome.err
    assert "heads.index at byte 0: an index is damaged" in outcome.err
