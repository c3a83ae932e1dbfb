"""`fsstore repair`: a dry run unless `--yes`; what is lost is said before and after."""

from __future__ import annotations

from pathlib import Path

from fsstore.engines import engine_for

from .conftest import Run, stored


def flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)


def a_segment(store: Path) -> Path:
    return min((store / "streams").rglob("*.segment"))


def lose_the_last_commit(store: Path) -> None:
    """A bit of it, in its segment and in the journal, which would give it back."""
    last = a_segment(store).read_bytes()[-60:]
    flip(a_segment(store), -1)
    for journal in (store / "journal").iterdir():
        if last in journal.read_bytes():
            flip(journal, journal.read_bytes().index(last))


def test_a_good_store_needs_nothing(fsstore: Run, store: Path) -> None:
    outcome = fsstore("repair", store, "--yes")
    assert (outcome.code, outcome.out) == (0, "nothing to repair\n")
    assert fsstore("repair", store, "--json").json == [{"done": False, "actions": []}]


def test_a_dry_run_says_what_would_be_lost_and_changes_nothing(fsstore: Run, store: Path) -> None:
    lose_the_last_commit(store)
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    outcome = fsstore("repair", store)
    assert outcome.code == 1
    assert "LOST: commit 3 of stream" in outcome.out
    assert "nothing was changed; 1 of" in outcome.out
    assert {file: file.read_bytes() for file in store.rglob("*") if file.is_file()} == before


def test_what_is_whole_is_kept_and_what_was_damaged_is_set_aside(fsstore: Run, store: Path) -> None:
    whole, segment = stored(store), a_segment(store)
    lose_the_last_commit(store)
    damaged = segment.read_bytes()
    outcome = fsstore("repair", store, "--yes", "--json")
    assert outcome.code == 0
    (result,) = outcome.json
    assert result["done"]
    assert [step["lost"][:20] for step in result["actions"] if step["lost"]] == ["commit 3 of stream '"]
    assert damaged in [file.read_bytes() for file in (store / "quarantine").iterdir()]
    assert fsstore("verify", store).code == 0
    assert len(stored(store)) == len(whole) - 1
    assert all(commit in whole for commit in stored(store))


def test_a_store_that_is_open_is_not_touched(fsstore: Run, store: Path) -> None:
    engine = engine_for(store)
    engine.initialize()
    outcome = fsstore("repair", store)
    assert (outcome.code, outcome.err) == (1, f"fsstore: {store} is open; close it in every process, then repair it\n")
    engine.close()


def test_only_file_stores_can_be_repaired(fsstore: Run) -> None:
    outcome = fsstore("repair", "memory:")
    assert outcome.code == 2
    assert "only file stores can be repaired" in outcome.err
