"""How every verb ends: exit codes, errors of one line, usage, the missing extra."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fsstore as package
from fsstore.engines import engine_for

from .conftest import Run

READING = ["export", "ls", "show", "tail", "stat", "verify"]


def arguments(verb: str, store: object) -> list[object]:
    return [verb, store, "order-1"] if verb == "show" else [verb, store]


def test_version_and_help(fsstore: Run) -> None:
    assert fsstore("--version").out == f"fsstore {package.__version__}\n"
    outcome = fsstore("--help")
    assert outcome.code == 0
    for verb in ["demo", "import", *READING]:
        assert verb in outcome.out


@pytest.mark.parametrize("verb", READING)
def test_a_store_that_is_not_there_is_an_error_and_is_not_made(fsstore: Run, tmp_path: Path, verb: str) -> None:
    outcome = fsstore(*arguments(verb, tmp_path / "nosuch.store"))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"fsstore: there is no store at {tmp_path / 'nosuch.store'}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", READING)
def test_reading_leaves_every_byte_of_the_store_as_it_was(fsstore: Run, store: Path, verb: str) -> None:
    def content() -> dict[str, tuple[bytes, int]]:
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in store.rglob("*") if path.is_file()}

    before = content()
    assert fsstore(*arguments(verb, store)).code == 0
    assert content() == before


@pytest.mark.parametrize("verb", READING)
def test_a_store_is_named_by_url_too(fsstore: Run, store: Path, verb: str) -> None:
    by_path = fsstore(*arguments(verb, store))
    for scheme in ("file://", "FILE:"):
        by_url = fsstore(*arguments(verb, f"{scheme}{store}"))
        assert by_url.code == 0
        assert by_url.out.replace(scheme, "") == by_path.out


@pytest.mark.parametrize(
    "wrong",
    [
        ["ls"],
        ["bogus"],
        ["ls", "a", "b"],
        ["ls", "a", "--nonsense"],
        ["tail", "a", "-n", "many"],
        ["tail", "a", "-n", "-1"],
        ["ls", "nosuch://host/name"],
        ["ls", "file:/a.store#1"],
        ["ls", "file:/a%00.store"],
        ["ls", "file:/a.store?bogus=1"],
        ["ls", "file:/a.store?fold_bytes=true"],
        ["verify", "file:/a.store?bogus=1"],
        ["show", "a", ""],
        ["ls", "a", "--bucket", "x" * 1001],
        ["import", "a"],
    ],
)
def test_wrong_usage_is_code_2(fsstore: Run, wrong: list[str]) -> None:
    outcome = fsstore(*wrong)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: fsstore" in outcome.err


def test_what_is_no_store_is_an_error_of_one_line(fsstore: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    outcome = fsstore("ls", tmp_path / "file")
    assert outcome.code == 1
    assert outcome.err.startswith("fsstore: ")
    assert outcome.err.count("\n") == 1


def test_it_runs_as_a_module(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fsstore", "stat", store, "--json"], capture_output=True, text=True, check=True
    )
    assert '"commits":9' in done.stdout


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_extra_it_says_which_and_is_code_2(tmp_path: Path, library: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{library!r}] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", "fsstore", "ls", "x"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"fsstore: the command line needs {library}, which is not installed; pip install 'fsstore[cli]'\n"
    )


def test_a_closed_pipe_ends_it_quietly(store: Path) -> None:
    """`fsstore export STORE | head -1`, with more to write than a pipe holds."""
    engine = engine_for(store)
    engine.initialize()
    from fsstore.testing.attempts import fill

    for number in range(4):
        fill(engine, f"more-{number}", commits=100, events=10)
    engine.close()
    with subprocess.Popen(
        [sys.executable, "-m", "fsstore", "export", store], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (1, -signal.SIGPIPE)


def in_shell(redirected: str, *arguments: object) -> tuple[int, str]:
    """The exit code, and what was said of errors, of a command whose output is buffered as usual."""
    words = shlex.join(map(str, (sys.executable, "-m", "fsstore", *arguments)))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        f"{words} {redirected}", shell=True, capture_output=True, text=True, check=False, env=environment
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("redirected", "said"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
# One that writes bytes, one that writes text, one that flushes it.
@pytest.mark.parametrize("verb", ["export", "ls", "tail"])
def test_an_output_that_takes_nothing_is_an_error_of_one_line(
    store: Path, verb: str, redirected: str, said: str
) -> None:
    code, errors = in_shell(redirected, *arguments(verb, store))
    assert code == 1
    assert errors.startswith("fsstore: ")
    assert errors.endswith(f"{said}\n")
    assert errors.count("\n") == 1


def test_a_closed_input_is_an_error_of_one_line(tmp_path: Path) -> None:
    code, errors = in_shell("<&-", "import", tmp_path / "s", "-")
    assert (code, errors.count("\n")) == (1, 1)
    assert errors.startswith("fsstore: standard input, line 1: ")


def test_nobody_to_tell_of_errors_keeps_no_verb_from_its_work(store: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    assert in_shell("<&- >&- 2>&-", "export", store, lines) == (0, "")
    assert in_shell("2>&-", "import", tmp_path / "again", lines) == (0, "")
    assert in_shell("2>&-", "verify", tmp_path / "again") == (0, "")
    assert in_shell("2>&-", "copy", store, tmp_path / "copy") == (0, "")
    assert in_shell("2>&-", "ls", tmp_path / "nosuch") == (1, "")


def test_a_library_that_is_needed_to_read_is_named(
    fsstore: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zstandard", reason="pip install 'fsstore[zstd]'")
    wireup = package.Wireup.init().using_file_persistence(tmp_path / "a.store").compress("zstd")
    with wireup.build() as store, store.create_stream("a") as stream:
        stream.add("x" * 1_000)
        stream.commit_changes()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    outcome = fsstore("ls", tmp_path / "a.store")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "fsstore: zstd compression needs the package zstandard: pip install 'fsstore[zstd]'\n"
