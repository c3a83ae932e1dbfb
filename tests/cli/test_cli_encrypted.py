"""Encrypted stores: every verb that reads payloads takes the key, and says what is wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from fsstore import Commit, CommitAttempt, Wireup
from fsstore.dispatch import Parking
from fsstore.engines import engine_for
from fsstore.serialization import EncryptedSerializer, MsgpackSerializer
from tests.neventstore.samples import DATA

from .conftest import Run, stored

pytest.importorskip("cryptography", reason="pip install 'fsstore[encryption]'")

KEY, OTHER_KEY = b"k" * 32, b"o" * 16
READING = [("export",), ("ls",), ("show", "order-1"), ("tail",), ("stat",), ("verify",)]
WITHOUT_KEY = "what is stored is encrypted with the key 'default', which is not given: pass --key-file FILE\n"
WITHOUT_2025 = "what is stored is encrypted with the key '2025', which is not given: pass --key-file 2025=FILE\n"
WRONG_KEY = "what is stored does not authenticate with the keys that are given: they are others, or it is damaged\n"
NEEDLESS_KEY = "what is stored is not encrypted, but a key was given: it is read without one\n"


def made(url: str, attempts: list[CommitAttempt], keys: bytes | Mapping[str, bytes] = KEY) -> None:
    engine = engine_for(url, serializer=EncryptedSerializer(MsgpackSerializer(), keys))
    engine.initialize()
    engine.commit_many(attempts)
    engine.close()


@pytest.fixture
def encrypted(tmp_path: Path, attempts: list[CommitAttempt]) -> Path:
    """What `store` holds, encrypted."""
    made(str(tmp_path / "encrypted.store"), attempts)
    return tmp_path / "encrypted.store"


@pytest.fixture
def rotated(tmp_path: Path, attempts: list[CommitAttempt]) -> Path:
    """The same, the first four commits with an older key than the rest."""
    made(str(tmp_path / "rotated.store"), attempts[:4], {"2024": OTHER_KEY})
    made(str(tmp_path / "rotated.store"), attempts[4:], {"2024": OTHER_KEY, "2025": KEY})
    return tmp_path / "rotated.store"


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, Path]:
    """The option that names the key of `encrypted`."""
    (tmp_path / "key").write_bytes(KEY)
    return "--key-file", tmp_path / "key"


@pytest.fixture
def other_key(tmp_path: Path) -> tuple[str, Path]:
    (tmp_path / "other key").write_bytes(OTHER_KEY)
    return "--key-file", tmp_path / "other key"


@pytest.fixture
def keys(key: tuple[str, Path], other_key: tuple[str, Path]) -> tuple[str, ...]:
    """The options that name the keys of `rotated`."""
    return "--key-file", f"2024={other_key[1]}", "--key-file", f"2025={key[1]}"


@pytest.mark.parametrize("verb", [verb for verb in READING if verb != ("stat",)], ids=lambda verb: verb[0])
def test_with_its_key_it_is_read_as_any_store(
    fsstore: Run, encrypted: Path, store: Path, key: tuple[str, Path], verb: tuple[str, ...]
) -> None:
    outcome = fsstore(verb[0], encrypted, *verb[1:], *key)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == fsstore(verb[0], store, *verb[1:]).out


@pytest.mark.parametrize("verb", [verb for verb in READING if verb != ("stat",)], ids=lambda verb: verb[0])
def test_with_all_its_keys_it_is_read_as_any_store(
    fsstore: Run, rotated: Path, store: Path, keys: tuple[str, ...], verb: tuple[str, ...]
) -> None:
    for options in (keys, keys[2:] + keys[:2]):
        outcome = fsstore(verb[0], rotated, *verb[1:], *options)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out == fsstore(verb[0], store, *verb[1:]).out


def test_stat_counts_with_the_key(
    fsstore: Run, encrypted: Path, key: tuple[str, Path], rotated: Path, keys: tuple[str, ...]
) -> None:
    for path, options in ((encrypted, key), (rotated, keys)):
        (numbers,) = fsstore("stat", path, *options, "--json").json
        assert (numbers["commits"], numbers["events"], numbers["streams"]) == (9, 15, 3)


def test_a_key_file_with_an_equals_sign_in_its_name_is_given_with_its_id(
    fsstore: Run, encrypted: Path, tmp_path: Path
) -> None:
    (tmp_path / "a=b=").write_bytes(KEY)
    assert fsstore("verify", encrypted, "--key-file", f"default={tmp_path}/a=b=").code == 0
    assert fsstore("verify", encrypted, "--key-file", f"{tmp_path}/a=b=").code == 2


@pytest.mark.parametrize("verb", [verb for verb in READING if verb != ("verify",)], ids=lambda verb: verb[0])
def test_without_a_key_it_says_that_one_is_needed(fsstore: Run, encrypted: Path, verb: tuple[str, ...]) -> None:
    outcome = fsstore(verb[0], encrypted, *verb[1:])
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert outcome.err.endswith(WITHOUT_KEY)


@pytest.mark.parametrize("verb", [verb for verb in READING if verb[0] != "verify"], ids=lambda verb: verb[0])
def test_without_a_key_it_says_by_which_id_one_is_needed(
    fsstore: Run, tmp_path: Path, attempts: list[CommitAttempt], verb: tuple[str, ...]
) -> None:
    made(str(tmp_path / "named.store"), attempts, {"2025": KEY})
    assert fsstore(verb[0], tmp_path / "named.store", *verb[1:]).err.endswith(WITHOUT_2025)


@pytest.mark.parametrize("verb", READING, ids=lambda verb: verb[0])
def test_a_key_that_is_missing_among_others_is_an_error_and_no_damage(
    fsstore: Run, rotated: Path, keys: tuple[str, ...], verb: tuple[str, ...]
) -> None:
    outcome = fsstore(verb[0], rotated, *verb[1:], *keys[:2])
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert outcome.err.startswith("fsstore: commit ")
    assert outcome.err.endswith(WITHOUT_2025)


def test_a_key_id_cannot_write_to_the_terminal(fsstore: Run, tmp_path: Path, attempts: list[CommitAttempt]) -> None:
    made(str(tmp_path / "named.store"), attempts, {"a\x1b[2J": KEY})
    assert fsstore("export", tmp_path / "named.store").err.endswith(r": pass --key-file a\x1b[2J=FILE" + "\n")


@pytest.mark.parametrize("verb", READING, ids=lambda verb: verb[0])
def test_a_key_that_is_not_the_stores_is_an_error_and_no_damage(
    fsstore: Run, encrypted: Path, store: Path, other_key: tuple[str, Path], verb: tuple[str, ...]
) -> None:
    for path, message in ((encrypted, WRONG_KEY), (store, NEEDLESS_KEY)):
        outcome = fsstore(verb[0], path, *verb[1:], *other_key)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert outcome.err.startswith("fsstore: commit ")
        assert outcome.err.endswith(message)


@pytest.mark.parametrize("option", ["--key-file", "--to-key-file"])
def test_what_is_no_key_file_is_wrong_usage(fsstore: Run, encrypted: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "long").write_bytes(KEY + b"\n")
    for file, reason in (("long", "has 33 bytes"), ("nosuch", "No such file"), (".", "directory")):
        outcome = fsstore("copy", encrypted, tmp_path / "copy.store", option, tmp_path / file)
        assert (outcome.code, outcome.out) == (2, "")
        assert f"Invalid value for '{option}'" in outcome.err
        assert reason in " ".join(outcome.err.replace("│", " ").split())
    assert not (tmp_path / "copy.store").exists()


@pytest.mark.parametrize("option", ["--key-file", "--to-key-file"])
@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (["", "default="], "'default' is given more than once"),
        (["2025=", "2024=", "2025="], "'2025' is given more than once"),
        (["="], "a key id must have 1 to 255 bytes"),
        (["k" * 256 + "="], "a key id must have 1 to 255 bytes"),
    ],
)
def test_a_key_id_that_is_none_or_given_twice_is_wrong_usage(
    fsstore: Run,
    encrypted: Path,
    key: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    ids: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # a short path, so that the message is not folded within a word
    options = [part for key_id in ids for part in (option, f"{key_id}{key[1].name}")]
    outcome = fsstore("copy", encrypted, "copy.store", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"Invalid value for '{option}'" in outcome.err
    assert reason in " ".join(outcome.err.replace("│", " ").split())
    assert not (tmp_path / "copy.store").exists()


# ---- verify ----


def test_verify_without_a_key_finds_a_sound_store_sound(fsstore: Run, encrypted: Path) -> None:
    outcome = fsstore("verify", encrypted)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "9 commits in 3 streams: nothing wrong\n"
        "9 of the payloads are encrypted and were not looked into; --key-file looks into them\n"
    )
    assert fsstore("verify", encrypted, "--json").json == [
        {"commits": 9, "streams": 3, "encrypted_commits": 9, "findings": []}
    ]


def test_verify_without_a_key_finds_a_flipped_bit(fsstore: Run, encrypted: Path) -> None:
    segment = max(
        (path for path in encrypted.rglob("*") if path.is_file()), key=lambda path: path.read_bytes().count(b"\xc1\x45")
    )
    data = bytearray(segment.read_bytes())
    data[data.index(b"\xc1\x45") + 30] ^= 1
    segment.write_bytes(data)
    outcome = fsstore("verify", encrypted)
    assert outcome.code == 1
    assert "things wrong\n" in outcome.out
    assert f"{segment} at byte" in outcome.err


def test_verify_without_a_key_finds_a_revision_that_goes_back(
    fsstore: Run, tmp_path: Path, attempts: list[CommitAttempt]
) -> None:
    pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    url = f"sqlite:///{tmp_path}/encrypted.db"
    made(url, attempts)
    assert fsstore("verify", url).code == 0
    with closing(sqlite3.connect(tmp_path / "encrypted.db")) as database, database:
        database.execute("UPDATE Commits SET StreamRevision = 2 WHERE CheckpointNumber = 7")
    outcome = fsstore("verify", url)
    assert outcome.code == 1
    assert "revision 2 of stream 'order-0' of bucket 'default' with 1 events comes after revision 3" in outcome.err


@pytest.mark.parametrize("at", [2, 4], ids=["its length", "a letter"])
def test_verify_with_a_key_knows_a_damaged_key_id_from_a_missing_key(
    fsstore: Run, tmp_path: Path, attempts: list[CommitAttempt], key: tuple[str, Path], at: int
) -> None:
    pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    url = f"sqlite:///{tmp_path}/encrypted.db"
    made(url, attempts)
    with closing(sqlite3.connect(tmp_path / "encrypted.db")) as database, database:
        ((payload,),) = database.execute("SELECT Payload FROM Commits WHERE CheckpointNumber = 7").fetchall()
        damaged = bytes([*payload[:at], payload[at] ^ 1, *payload[at + 1 :]])
        database.execute("UPDATE Commits SET Payload = ? WHERE CheckpointNumber = 7", (damaged,))
    outcome = fsstore("verify", url, *key)
    assert outcome.code == 1
    assert outcome.out.startswith("6 commits in ")
    assert "reading by checkpoint stopped after 6 commits" in outcome.err
    assert "was encrypted with the key 'default'" in outcome.err
    assert "not given" not in outcome.err


def test_verify_without_a_key_says_what_an_encrypted_store_of_csharp_needs(fsstore: Run) -> None:
    pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    outcome = fsstore("verify", f"sqlite:///{DATA}/nes10-sqlite-microsoft-deflated-encrypted.db")
    assert outcome.code == 1
    assert "looks encrypted: open the store with encrypt_with(key), or --key-file on the command line" in outcome.err


# ---- writing ----


def test_an_import_is_encrypted_with_the_last_key_as_with_a_mapping(
    fsstore: Run, rotated: Path, tmp_path: Path, lines: list[str], commits: list[Commit], keys: tuple[str, ...]
) -> None:
    new = tmp_path / "new.store"
    assert fsstore("import", new, "-", *keys, stdin="\n".join(lines).encode()).code == 0
    with Wireup.init().using(new).encrypt_with({"2025": KEY}).build() as opened:
        assert list(opened.advanced.get_from_checkpoint()) == commits


def test_a_copy_that_goes_on_says_which_key_the_copy_needs(
    fsstore: Run, store: Path, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    to_keys = ["--to-key-file" if part == "--key-file" else part for part in keys]
    assert fsstore("copy", store, tmp_path / "copy.store", *to_keys).code == 0
    for options in ((), to_keys[:2]):
        outcome = fsstore("copy", store, tmp_path / "copy.store", *options)
        assert (outcome.code, outcome.err.endswith(WITHOUT_2025.replace("--key", "--to-key"))) == (1, True)
    assert fsstore("copy", store, tmp_path / "copy.store", *to_keys[2:]).code == 0


def test_an_import_is_encrypted_with_the_key(
    fsstore: Run, tmp_path: Path, lines: list[str], commits: list[Commit], key: tuple[str, Path]
) -> None:
    new = tmp_path / "new.store"
    for part, done in ((lines[:4], {"stored": 4, "skipped": 0}), (lines, {"stored": 5, "skipped": 4})):
        assert fsstore("import", new, "-", *key, "--json", stdin="\n".join(part).encode()).json == [done]
    assert fsstore("export", new).err.endswith(WITHOUT_KEY)
    with Wireup.init().using(new).encrypt_with(KEY).build() as opened:
        assert list(opened.advanced.get_from_checkpoint()) == commits


def test_an_import_that_would_mix_keys_is_refused(
    fsstore: Run, encrypted: Path, store: Path, lines: list[str], other_key: tuple[str, Path]
) -> None:
    more = lines[0].replace("order-0", "order-9").encode()
    for path, options, message in (
        (encrypted, (), WITHOUT_KEY),
        (encrypted, other_key, WRONG_KEY),
        (store, other_key, NEEDLESS_KEY),
    ):
        outcome = fsstore("import", path, "-", *options, stdin=more)
        assert (outcome.code, outcome.err.endswith(message)) == (1, True)
    assert len(stored(store)) == 9
    assert fsstore("verify", encrypted).out.startswith("9 commits in 3 streams")


def test_a_copy_is_encrypted_with_its_own_key_or_not_at_all(
    fsstore: Run,
    encrypted: Path,
    tmp_path: Path,
    commits: list[Commit],
    key: tuple[str, Path],
    other_key: tuple[str, Path],
) -> None:
    again, plain = tmp_path / "again.store", tmp_path / "plain.store"
    for _ in range(2):  # the second time it reads what is there already
        assert fsstore("copy", encrypted, again, *key, "--to-key-file", other_key[1]).code == 0
    assert fsstore("export", again).err.endswith(WITHOUT_KEY)
    assert fsstore("copy", again, plain, *other_key).code == 0
    assert stored(plain) == commits


# ---- delivery ----


def test_parked_commits_are_listed_and_dropped_with_the_key(
    fsstore: Run, encrypted: Path, commits: list[Commit], key: tuple[str, Path]
) -> None:
    with Wireup.init().using(encrypted).encrypt_with(KEY).build() as opened:
        Parking(opened.advanced).park(commits[1], "the broker is away", 2)
    (parked,) = fsstore("parked", encrypted, *key, "--json").json
    assert (parked["checkpoint_token"], parked["reason"]) == (2, "the broker is away")
    for options in ((), ("--drop", 2)):
        assert fsstore("parked", encrypted, *options).err.endswith(WITHOUT_KEY)
    assert fsstore("parked", encrypted, *key, "--drop", 2).code == 0
    assert fsstore("parked", encrypted, *key).out == ""
    assert fsstore("verify", encrypted, *key).code == 0


def test_subscriptions_need_no_key(fsstore: Run, encrypted: Path) -> None:
    wireup = Wireup.init().using(encrypted).encrypt_with(KEY)
    with wireup.build() as opened, opened.subscribe("audit", timeout_seconds=0) as subscription:
        assert len(list(subscription)) == 9
    assert fsstore("subscriptions", encrypted).out == "           9  audit\n"
    assert fsstore("subscriptions", encrypted, "--reset", "audit", "--to", 3).code == 0
    assert fsstore("subscriptions", encrypted).out == "           3  audit\n"
