"""`fsstore import`: there once, whole, in order, or a line number and a reason."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from fsstore import Commit

from .conftest import Run, stored


def write(path: Path, lines: list[str]) -> Path:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["history.ndjson", "history.ndjson.gz", "-"])
def test_the_lines_are_stored_in_order(
    fsstore: Run, tmp_path: Path, lines: list[str], commits: list[Commit], name: str
) -> None:
    if name == "-":
        outcome = fsstore("import", tmp_path / "new.store", "-", stdin="\n".join(lines).encode())
    else:
        outcome = fsstore("import", tmp_path / "new.store", write(tmp_path / name, lines))
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert stored(tmp_path / "new.store") == commits


@pytest.mark.parametrize("already", [0, 4, 9])
def test_it_goes_on_where_it_stopped(
    fsstore: Run, tmp_path: Path, lines: list[str], commits: list[Commit], already: int
) -> None:
    store = tmp_path / "new.store"
    assert fsstore("import", store, write(tmp_path / "part.ndjson", lines[:already])).code == 0
    outcome = fsstore("import", store, write(tmp_path / "all.ndjson", lines), "--json")
    assert (outcome.code, outcome.json) == (0, [{"stored": 9 - already, "skipped": already}])
    assert stored(store) == commits


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("not json", "this is not JSON"),
        ('{"stream_id": "order-1"}', "is missing"),
        ("gap", "order-2"),
        ("changed", "is there already with other content; different: events"),
    ],
)
def test_a_bad_line_stops_it_and_nothing_after_it_is_stored(
    fsstore: Run, tmp_path: Path, lines: list[str], commits: list[Commit], bad: str, reason: str
) -> None:
    if bad == "gap":
        bad = lines[8]
    elif bad == "changed":
        bad = json.dumps(json.loads(lines[1]) | {"events": [{"body": "changed"}]})
    file = write(tmp_path / "bad.ndjson", [*lines[:5], bad, *lines[5:]])
    outcome = fsstore("import", tmp_path / "new.store", file)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"fsstore: {file}, line 6: ")
    assert reason in outcome.err
    assert "(5 stored and 0 skipped before it, nothing after it)" in outcome.err
    assert outcome.err.count("\n") == 1
    assert stored(tmp_path / "new.store") == commits[:5]


def test_a_file_that_is_not_there_makes_no_store(fsstore: Run, tmp_path: Path) -> None:
    outcome = fsstore("import", tmp_path / "new.store", tmp_path / "nosuch")
    assert (outcome.code, outcome.err) == (1, f"fsstore: {tmp_path / 'nosuch'}: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_lines_come_out_of_a_pipe_too(fsstore: Run, tmp_path: Path, lines: list[str], commits: list[Commit]) -> None:
    """`fsstore import STORE <(…)`."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=write, args=(tmp_path / "pipe", lines))
    writer.start()
    outcome = fsstore("import", tmp_path / "new.store", tmp_path / "pipe")
    writer.join()
    assert (outcome.code, outcome.err) == (0, "")
    assert stored(tmp_path / "new.store") == commits


def test_a_line_may_be_as_long_as_it_is_said(fsstore: Run, tmp_path: Path, lines: list[str]) -> None:
    file = write(tmp_path / "lines", lines)
    longest = max(len(line.encode()) for line in lines) + 1
    refused = fsstore("import", tmp_path / "a.store", file, "--max-line-bytes", longest - 1)
    assert (refused.code, refused.err.count("--max-line-bytes")) == (1, 1)
    assert fsstore("import", tmp_path / "a.store", file, "--max-line-bytes", longest).code == 0
