"""`fsstore ls`, `show`, `stat`: what is there, for people and for programs."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import fsstore as package
from fsstore import Commit, EventMessage, engines
from fsstore.engines import engine_for
from fsstore.interchange import write_line
from fsstore.testing.attempts import first_attempt

from .conftest import Run


def test_ls_lists_every_stream_with_its_head(fsstore: Run, store: Path, commits: list[Commit]) -> None:
    outcome = fsstore("ls", store, "--json")
    assert outcome.code == 0
    assert outcome.json == [
        {
            "bucket_id": bucket_id,
            "stream_id": stream_id,
            "stream_revision": 5,
            "commits": 3,
            "checkpoint_token": token,
            "commit_stamp": "2024-02-29T12:00:02.123456Z",
        }
        for bucket_id, stream_id, token in [("default", "order-0", 7), ("default", "order-1", 8), ("eu", "order-2", 9)]
    ]
    assert fsstore("ls", store).out == (
        "REVISION   COMMITS  LAST COMMIT           BUCKET   STREAM\n"
        "       5         3  2024-02-29T12:00:02Z  default  order-0\n"
        "       5         3  2024-02-29T12:00:02Z  default  order-1\n"
        "       5         3  2024-02-29T12:00:02Z  eu       order-2\n"
    )


def test_ls_of_one_bucket(fsstore: Run, store: Path) -> None:
    assert [row["stream_id"] for row in fsstore("ls", store, "--bucket", "eu", "--json").json] == ["order-2"]
    assert fsstore("ls", store, "--bucket", "nosuch", "--json").out == ""


@pytest.mark.parametrize("verb", ["ls", "stat", "tail", "verify"])
def test_looking_into_a_database_that_is_not_there_does_not_make_one(fsstore: Run, tmp_path: Path, verb: str) -> None:
    outcome = fsstore(verb, f"sqlite:///{tmp_path}/typo.db")
    assert outcome.code != 0
    assert "there is no database" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_looking_into_a_database_without_a_store_does_not_make_one(fsstore: Run, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE other (n INTEGER)")
    before = (tmp_path / "other.db").read_bytes()
    outcome = fsstore("ls", f"sqlite+pysqlite:///{tmp_path}/other.db")
    assert outcome.code != 0
    assert "there is no store in" in outcome.err
    assert (tmp_path / "other.db").read_bytes() == before


def test_ids_cannot_drive_the_terminal(fsstore: Run, tmp_path: Path) -> None:
    with package.open(tmp_path / "a.store") as store:
        store.commit(first_attempt("red\x1b[31m\nline\x00é"))
    for outcome in (fsstore("ls", tmp_path / "a.store"), fsstore("tail", tmp_path / "a.store")):
        assert "red\\x1b[31m\\nline\\x00é" in outcome.out
        assert "\x1b" not in outcome.out


def test_values_cannot_drive_the_terminal(fsstore: Run, tmp_path: Path) -> None:
    with package.open(tmp_path / "a.store") as store:
        store.commit(first_attempt("a", events=[EventMessage("\x9b2J\x7f", {"\u202e": 1})], headers={"\x85": "\x9bm"}))
    for outcome in (fsstore("show", tmp_path / "a.store", "a"), fsstore("tail", tmp_path / "a.store")):
        assert outcome.code == 0
        assert all(char.isprintable() for char in outcome.out.replace("\n", ""))
        assert '"\\x9b2J\\x7f"' in outcome.out


def test_a_path_that_is_no_text_is_shown_all_the_same(fsstore: Run, store: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(store) + b"\xff"))
    store.rename(odd)
    (odd / "control").unlink()
    assert fsstore("verify", odd).code == 1
    assert fsstore("verify", odd, "--json").json[0]["findings"][0].startswith(str(odd / "control"))
    assert fsstore("repair", odd, "--json").json[0]["actions"][0]["path"] == str(odd / "control")
    assert fsstore("stat", odd, "--json").json[0]["store"] == str(odd)


@pytest.mark.parametrize(
    ("verb", "url"),
    [
        ("ls", "postgres://me:sesame@nosuch/db"),
        ("ls", "postgres://me:se/sa@me@nosuch/db"),
        ("ls", "nosuch://host/db?user=me&Password=sesame&x=1"),
        ("ls", "memory://me:sesame@host"),
        ("ls", "file://me:sesame@host/a.store"),
        ("show", "sqlite:///file:{}/a.db?uri=true&password=sesame"),
        ("stat", "sqlite:///file:{}/a.db?uri=true&password=sesame"),
        ("ls", "sqlite:///file:{}/none.db?uri=true&password=sesame"),
    ],
)
def test_passwords_of_urls_are_not_shown(
    fsstore: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, url: str
) -> None:
    pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    monkeypatch.setenv("COLUMNS", "200")
    package.open(f"sqlite:///{tmp_path}/a.db").close()
    outcome = fsstore(verb, url.format(tmp_path), *(["no such stream"] if verb == "show" else []))
    assert outcome.code == (0 if verb == "stat" else 1 if "sqlite" in url else 2)
    shown = outcome.out + outcome.err
    assert "***" in shown
    assert "sesame" not in shown
    assert "sa@me" not in shown


def test_show_prints_the_commits_of_a_stream(fsstore: Run, store: Path, commits: list[Commit]) -> None:
    of_stream = [commit for commit in commits if commit.stream_id == "order-1"]
    outcome = fsstore("show", store, "order-1", "--json")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [write_line(commit) for commit in of_stream]
    text = fsstore("show", store, "order-1").out
    assert text.startswith(f"2  default  order-1  commit 1  2024-02-29T12:00:00Z  {of_stream[0].commit_id}\n")
    assert '\n     5  {"stream":"order-1","revision":5}  {"number":2}\n' in text


def test_show_a_range_and_another_bucket(fsstore: Run, store: Path) -> None:
    rows = fsstore("show", store, "order-2", "-b", "eu", "--from", 2, "--to", 3, "--json").json
    assert [row["commit_sequence"] for row in rows] == [2]


def test_show_of_a_stream_that_is_not_there(fsstore: Run, store: Path) -> None:
    outcome = fsstore("show", store, "order-2")
    assert (outcome.code, outcome.out) == (1, "")
    assert "stream 'order-2' of bucket 'default' has no commits" in outcome.err
    assert "from revision 9 to its end" in fsstore("show", store, "order-1", "--from", 9).err


def test_stat_counts(fsstore: Run, store: Path) -> None:
    (numbers,) = fsstore("stat", store, "--json").json
    own = numbers.pop("engine")
    assert numbers == {
        "store": str(store),
        "commits": 9,
        "events": 15,
        "streams": 3,
        "buckets": 2,
        "head_checkpoint_token": 9,
        "undispatched_commits": 9,
    }
    assert own["path"] == str(store)
    text = fsstore("stat", store).out
    assert "commits                9\n" in text
    assert "undispatched commits   9\n" in text


def test_an_empty_store_is_no_error(fsstore: Run) -> None:
    assert json.loads(fsstore("stat", "memory:", "--json").out)["commits"] == 0
    assert fsstore("ls", "memory:", "--json").out == ""
    assert fsstore("tail", "memory:", "--json").out == ""
    assert fsstore("verify", "memory:").out == "0 commits in 0 streams: nothing wrong\n"


class Registered:
    """An engine that another package registers; its factory names the option, or does not."""

    name = "elsewhere"

    def __init__(self, *, can_refuse: bool) -> None:
        self.opened: list[dict[str, Any]] = []
        self._can_refuse = can_refuse

    def load(self) -> Any:
        def with_option(url: str, *, serializer: Any = None, create: bool = True) -> Any:
            self.opened.append({"create": create})
            return engine_for("memory:")

        def without(url: str, *, serializer: Any = None) -> Any:
            self.opened.append({})
            return engine_for("memory:")

        return with_option if self._can_refuse else without


@pytest.mark.parametrize("can_refuse", [True, False])
def test_an_engine_of_another_package_is_asked_not_to_make_a_store(
    fsstore: Run, monkeypatch: pytest.MonkeyPatch, can_refuse: bool
) -> None:
    registered = Registered(can_refuse=can_refuse)
    monkeypatch.setattr(engines, "_registered", lambda: [registered])
    for verb in ("ls", "tail", "stat"):
        assert fsstore(verb, "elsewhere://somewhere").code == 0, verb
    assert registered.opened == [{"create": False} if can_refuse else {}] * 3
