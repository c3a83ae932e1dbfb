"""`fsstore copy` out of the stores that C# wrote, into other engines: nothing is lost, dispatch marks included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fsstore
from fsstore.cli.app import app
from fsstore.copying import Summary, copy_store
from fsstore.engine import PersistenceEngine
from fsstore.model import Commit
from fsstore.wireup import Wireup
from tests.neventstore.samples import DATA, KEY

NAMES = sorted(path.stem for path in DATA.glob("*.db") if "binary" not in path.stem)
Content = tuple[list[Commit], list[object], list[object]]


def source(url: str) -> fsstore.EventStore:
    wireup = Wireup.init().using(url)
    return (wireup.encrypt_with(KEY) if "encrypted" in url else wireup).build()


def content(engine: PersistenceEngine) -> Content:
    """Everything in a store but the tokens of its commits, which are its own."""
    commits = list(engine.get_from_checkpoint())
    plain = [
        (each.bucket_id, each.stream_id, each.commit_id, each.commit_stamp, each.headers, each.events)
        for each in commits
    ]
    streams = sorted({(each.bucket_id, each.stream_id) for each in commits})
    undispatched = [each.commit_id for each in engine.get_undispatched_commits()]
    return plain, [engine.get_snapshot(*stream) for stream in streams], undispatched  # type: ignore[return-value]


def copied(url: str, target: str) -> Iterator[Content]:
    with source(url) as one, fsstore.open(target) as other:
        head = list(one.advanced.get_from_checkpoint())[-1].checkpoint_token
        for _ in copy_store(one.advanced, other.advanced, head, Summary()):
            pass
        yield content(one.advanced)
        yield content(other.advanced)


@pytest.mark.parametrize("name", NAMES)
def test_a_store_of_csharp_is_copied_whole(name: str, tmp_path: Path) -> None:
    one, other = copied(f"sqlite:///{DATA}/{name}.db", str(tmp_path / "copy.store"))
    assert one == other
    assert bool(one[2]) == name.startswith("joliver")


@pytest.mark.parametrize("server", ["postgresql", "mysql"])
def test_a_store_of_csharp_on_a_server_is_copied_whole(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    one, other = copied(request.getfixturevalue(f"{server}_store"), f"sqlite:///{tmp_path}/copy.db")
    assert one == other


def test_an_encrypted_store_of_csharp_is_copied_from_the_command_line(tmp_path: Path) -> None:
    url = f"sqlite:///{DATA}/nes10-sqlite-microsoft-deflated-encrypted.db"
    (tmp_path / "key").write_bytes(KEY)
    runner, target = CliRunner(), str(tmp_path / "copy.store")
    without = runner.invoke(app, ["copy", url, target])
    assert without.exit_code != 0
    done = runner.invoke(app, ["copy", url, target, "--key-file", str(tmp_path / "key")])
    assert done.exit_code == 0, done.output
    with source(url) as one, fsstore.open(target) as other:
        assert content(one.advanced) == content(other.advanced)
