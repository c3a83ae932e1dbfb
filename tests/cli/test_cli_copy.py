"""`fsstore copy`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Run
from fsstore.engines import engine_for
from fsstore.testing.attempts import fill

pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")


def test_copying_to_sqlite_and_back(fsstore: Run, store: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/copy.db"
    one = fsstore("copy", store, database, "--json")
    other = fsstore("copy", database, tmp_path / "back.store", "--json")
    assert one.code == other.code == 0
    assert one.json == other.json
    assert one.json[0]["commits"] > 0
    assert fsstore("export", store).out == fsstore("export", tmp_path / "back.store").out


def test_a_target_that_is_no_copy_is_refused(fsstore: Run, store: Path, tmp_path: Path) -> None:
    other = engine_for(tmp_path / "other.store")
    other.initialize()
    fill(other, "something else")
    other.close()
    outcome = fsstore("copy", store, tmp_path / "other.store")
    assert outcome.code == 1
    assert "copy into an empty store" in outcome.err
