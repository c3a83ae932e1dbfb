"""The demonstration runs without a terminal, and would notice if something were wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsstore import Commit, EventMessage
from fsstore.demo import program, sample
from fsstore.demo.folding import Tree, fold
from fsstore.testing.attempts import first_attempt, next_attempt


def test_it_runs_and_leaves_a_store_to_look_at(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "fsstore", "demo", place],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "TERM"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "7,075 commits, each flushed to the device and dispatched",
        "208 files alive, the tree of the repository has 208",
        "none of the acknowledged is missing",
        "both stores hold the same commits in the same order",
        f"fsstore ls {place / 'repository.store'}",
    ):
        assert words in done.stdout
    again = subprocess.run([sys.executable, "-m", "fsstore", "demo", place], capture_output=True, check=False)
    assert again.returncode == 2, "a directory with something in it must not be used"


def test_a_wrong_tree_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = sample.tree() | {"README.md": ("100644", "0" * 40)}
    short = [numbered for numbered, _ in zip(sample.history(), range(50), strict=False)]
    monkeypatch.setattr(program, "COMMITS", 50)
    monkeypatch.setattr(program, "history", lambda: iter(short))
    monkeypatch.setattr(program, "tree", lambda: tree)
    assert not program.run(tmp_path / "demo")
    assert "FAILED: the projection is not the repository's tree" in capsys.readouterr().err


def test_a_file_is_folded_from_its_events() -> None:
    added, modified = (
        {"type": "FileAdded", "mode": "a", "blob": "1"},
        {"type": "FileModified", "mode": "b", "blob": "2"},
    )
    lines, deleted = {"type": "LinesChanged", "added": 1, "deleted": 2}, {"type": "FileDeleted"}
    for bodies, file in [
        ([added, lines], ("a", "1")),
        ([added, lines, modified, lines], ("b", "2")),
        ([added, deleted], None),
        ([added, deleted, added], ("a", "1")),
    ]:
        assert fold(None, map(EventMessage, bodies)) == file
    with pytest.raises(ValueError, match="FileRenamed"):
        fold(None, [EventMessage({"type": "FileRenamed"})])


def test_dispatching_twice_changes_nothing() -> None:
    tree = Tree()
    one = first_attempt("a", events=[EventMessage({"type": "FileAdded", "mode": "m", "blob": "1"})])
    other = next_attempt(one, events=[EventMessage({"type": "FileDeleted"})])
    tree.dispatch(Commit.of(one, 1))
    tree.dispatch(Commit.of(one, 1))
    assert tree.files == {"a": ("m", "1")}
    tree.dispatch(Commit.of(other, 2))
    tree.dispatch(Commit.of(other, 2))
    assert tree.files == {}
