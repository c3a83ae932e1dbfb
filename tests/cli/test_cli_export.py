"""`fsstore export`: what is exported can be imported, and is the same."""

from __future__ import annotations

import enum
import gzip
import json
import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

import fsstore as package
from fsstore import Commit, EventMessage, TypeName, Wireup
from fsstore.interchange import write_line
from fsstore.testing.attempts import first_attempt
from fsstore.testing.strategies import EXAMPLE_VALUES

from .conftest import Run, stored


def test_lines_in_checkpoint_order_with_their_tokens(fsstore: Run, store: Path, commits: list[Commit]) -> None:
    outcome = fsstore("export", store)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [write_line(commit) for commit in commits]
    assert [line["checkpoint_token"] for line in outcome.json] == list(range(1, 10))


@pytest.mark.parametrize("name", ["out.ndjson", "out.ndjson.gz"])
def test_into_a_file(fsstore: Run, tmp_path: Path, store: Path, commits: list[Commit], name: str) -> None:
    outcome = fsstore("export", store, tmp_path / name)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    data = (tmp_path / name).read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    assert text.decode().splitlines() == [write_line(commit) for commit in commits]
    assert {path.name for path in tmp_path.iterdir()} == {name, "orders.store"}


def test_a_part(fsstore: Run, store: Path, commits: list[Commit]) -> None:
    assert fsstore("export", store, "--after", 7).json == [json.loads(write_line(commit)) for commit in commits[7:]]
    assert [line["stream_id"] for line in fsstore("export", store, "-b", "eu").json] == ["order-2"] * 3
    assert fsstore("export", store, "-b", "nosuch").out == ""


def test_every_kind_of_value_survives_export_and_import(fsstore: Run, tmp_path: Path) -> None:
    values = [value for value in EXAMPLE_VALUES if value is not None]
    events = [EventMessage(value, {"again": value}) for value in values]
    with package.open(tmp_path / "a.store") as store:
        store.commit(first_attempt("all", events=events))
    assert fsstore("export", tmp_path / "a.store", tmp_path / "a.ndjson").code == 0
    assert fsstore("import", tmp_path / "b.store", tmp_path / "a.ndjson").code == 0
    assert repr(stored(tmp_path / "b.store")) == repr(stored(tmp_path / "a.store"))


@dataclass
class Placed:
    """An event of an application that the command line has never heard of."""

    total: Decimal


def test_registered_types_and_compression_of_an_application_survive(fsstore: Run, tmp_path: Path) -> None:
    def wireup(name: str) -> Wireup:
        return Wireup.init().using_file_persistence(tmp_path / name).register_types(TypeName(Placed, "orders.Placed"))

    events = [Placed(Decimal(number)) for number in range(50)]
    with wireup("a.store").compress().build() as store:
        stream = store.create_stream("order")
        for event in events:
            stream.add(event)
        stream.commit_changes()
    exported = fsstore("export", tmp_path / "a.store", tmp_path / "a.ndjson")
    assert exported.code == 0, exported.err
    assert fsstore("import", tmp_path / "b.store", tmp_path / "a.ndjson").code == 0
    with wireup("b.store").build() as store:
        assert [event.body for event in store.open_stream("order").committed_events] == events


def test_a_failing_export_leaves_an_older_file_as_it_was(fsstore: Run, tmp_path: Path) -> None:
    (tmp_path / "out.ndjson").write_text("older")
    with Wireup.init().using_file_persistence(tmp_path / "a.store").encrypt_with(b"k" * 32).build() as store:
        store.commit(first_attempt("secret"))
    outcome = fsstore("export", tmp_path / "a.store", tmp_path / "out.ndjson")
    assert outcome.code == 1
    assert "encrypted" in outcome.err
    assert (tmp_path / "out.ndjson").read_text() == "older"
    assert {path.name for path in tmp_path.iterdir()} == {"out.ndjson", "a.store"}


def test_a_link_stays_one_and_the_file_behind_it_is_written(
    fsstore: Run, tmp_path: Path, store: Path, commits: list[Commit]
) -> None:
    """As /dev/stdout may be one."""
    (tmp_path / "real.ndjson").write_text("older")
    (tmp_path / "link.ndjson").symlink_to("real.ndjson")
    assert fsstore("export", store, tmp_path / "link.ndjson").code == 0
    assert (tmp_path / "link.ndjson").is_symlink()
    assert (tmp_path / "real.ndjson").read_text().splitlines() == [write_line(commit) for commit in commits]


class Currency(enum.Enum):
    """As applications have them for keys."""

    EURO = "EUR"
    POUND = "GBP"


@dataclass(frozen=True)
class Place:
    row: int
    near: list[int]

    def __hash__(self) -> int:
        return self.row


def test_objects_that_are_keys_survive(fsstore: Run, tmp_path: Path) -> None:
    body = {"prices": {Currency.EURO: 1, Currency.POUND: 2}, "seats": {Place(1, [2]): "Ada", Place(1, [3]): "Bob"}}

    def wireup(name: str) -> Wireup:
        return Wireup.init().using_file_persistence(tmp_path / name).register_types(Currency, Place)

    with wireup("a.store").build() as store, store.create_stream("order") as stream:
        stream.add(body)
        stream.commit_changes()
    exported = fsstore("export", tmp_path / "a.store", tmp_path / "a.ndjson")
    assert exported.code == 0, exported.err
    assert fsstore("verify", tmp_path / "a.store").code == 0
    assert fsstore("import", tmp_path / "b.store", tmp_path / "a.ndjson").code == 0
    assert fsstore("copy", tmp_path / "b.store", tmp_path / "c.store").code == 0
    with wireup("c.store").build() as store:
        assert [event.body for event in store.open_stream("order").committed_events] == [body]


def test_what_a_killed_export_left_is_in_nobodys_way(fsstore: Run, tmp_path: Path, store: Path) -> None:
    """In a container a process gets the same number again and again."""
    left = tmp_path / f"out.ndjson.{os.getpid()}.partial"
    left.write_text("left")
    assert fsstore("export", store, tmp_path / "out.ndjson").code == 0
    assert left.read_text() == "left"
