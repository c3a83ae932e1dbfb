"""Every version of the format that ever was is read, and gone on with, by this one."""

from __future__ import annotations

import json
from pathlib import Path

import aged_stores
import pytest
import stores

from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.verify import verify
from fsstore.interchange import read_line, write_line
from fsstore.model import Snapshot
from fsstore.testing import first_attempt, next_attempt

KEPT = list(aged_stores.kept())


def test_stores_of_every_version_are_kept() -> None:
    assert aged_stores.versions() == list(range(1, file_headers.FORMAT_VERSION + 1))
    assert {name for version, name in KEPT if version == file_headers.FORMAT_VERSION} == set(aged_stores.MAKERS)


@pytest.mark.parametrize(("version", "name"), KEPT)
def test_a_kept_store_reads_as_it_did_and_reading_changes_nothing(version: int, name: str, tmp_path: Path) -> None:
    path = aged_stores.unpacked(version, name, tmp_path)
    before = stores.tree(path)
    engine = aged_stores.opened(path, name, read_only=True)
    assert aged_stores.content(engine) == aged_stores.expected(version, name)
    engine.close()
    assert list(verify(stores.DISK, str(path))) == []
    assert stores.tree(path) == before


@pytest.mark.parametrize(("version", "name"), KEPT)
def test_a_kept_store_is_written_to_folded_and_read_again(version: int, name: str, tmp_path: Path) -> None:
    path = aged_stores.unpacked(version, name, tmp_path)
    expected = aged_stores.expected(version, name)
    engine = aged_stores.opened(path, name)
    assert aged_stores.content(engine) == expected
    heads = {(one["bucket_id"], one["stream_id"]): one for one in expected["commits"]}
    added = []
    for (bucket, stream), head in heads.items():
        last = list(engine.get_from(bucket, stream))[-1]
        assert (last.stream_revision, last.commit_sequence) == (head["stream_revision"], head["commit_sequence"])
        added.append(engine.commit(next_attempt(last)))
    added.append(engine.commit(first_attempt("new")))
    assert engine.add_snapshot(Snapshot("new", 1, "state"))
    assert [commit.checkpoint_token for commit in added] == [expected["next_checkpoint"] + n for n in range(len(added))]
    engine.close()
    assert list(verify(stores.DISK, str(path))) == []
    again = aged_stores.opened(path, name)
    found = aged_stores.content(again)
    new = [(commit["bucket_id"], commit["stream_id"]) for commit in found["commits"][len(expected["commits"]) :]]
    assert found["commits"][: len(expected["commits"])] == expected["commits"]
    assert new == [*heads, ("default", "new")]
    assert found["snapshots"] == [*expected["snapshots"], ["default", "new", 1, "state"]]
    assert found["undispatched"] == expected["undispatched"] + [commit.checkpoint_token for commit in added]
    again.purge()
    again.close()
    assert list(verify(stores.DISK, str(path))) == []


@pytest.mark.parametrize(("version", "name"), KEPT)
def test_the_interchange_of_then_is_read_and_written_as_it_was(version: int, name: str) -> None:
    for told in aged_stores.expected(version, name)["commits"]:
        attempt = read_line(json.dumps(told))
        assert json.loads(write_line(attempt)) | {"checkpoint_token": told["checkpoint_token"]} == told


def test_the_stores_that_are_kept_hold_every_kind_of_file_and_record(tmp_path: Path) -> None:
    """So that what they show is worth something."""
    closed, killed = (aged_stores.unpacked(1, name, tmp_path) for name in ("closed", "killed"))
    suffixes = {path.suffix for path in (*closed.rglob("*"), *killed.rglob("*")) if path.is_file()}
    assert suffixes >= {".segment", ".snapshots", ".index", ".ids", ".journal", ".checkpoint", ".value", ".lease"}
    assert len(list(killed.glob("journal/*.journal"))) == 2
    assert layout.read_meta(stores.DISK, str(closed)).store_id != bytes(16)
    kinds = {
        header.kind for journal in killed.glob("journal/*.journal") for _, header in stores.records(killed, journal)
    }
    assert kinds == format.KINDS
    engine = aged_stores.opened(killed, "killed")
    assert [path.suffix for path in (killed / "quarantine").iterdir()] == [".torn"]
    engine.close()
