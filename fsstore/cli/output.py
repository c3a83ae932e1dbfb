"""How the verbs print: JSON lines as UTF-8 bytes, text for people, progress on a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fsstore.interchange import write_line, write_value
from fsstore.model import Commit


def print_json(value: dict[str, Any]) -> None:
    """One object on one line."""
    print_line(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def print_line(line: str) -> None:
    """A line in UTF-8, whatever the terminal's encoding, so that programs can rely on it."""
    sys.stdout.flush()
    # A byte of a path that is no text stands in it as half of a surrogate pair; the escape is that of JSON.
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def printable(text: str) -> str:
    """`text` with every character escaped that could move the cursor or break the line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def print_commit(commit: Commit, *, as_json: bool) -> None:
    """A commit as an interchange line, or as a few lines for people."""
    if as_json:
        print_line(write_line(commit))
        return
    first = commit.stream_revision - len(commit.events) + 1
    stamp = commit.commit_stamp.isoformat(timespec="seconds").replace("+00:00", "Z")
    print(
        f"{commit.checkpoint_token}  {printable(commit.bucket_id)}  {printable(commit.stream_id)}  "
        f"commit {commit.commit_sequence}  {stamp}  {commit.commit_id}"
    )
    if commit.headers:
        print(f"      headers {printable(write_value(commit.headers))}")
    for revision, event in enumerate(commit.events, first):
        headers = f"  {printable(write_value(event.headers))}" if event.headers else ""
        print(f"{revision:>6}  {printable(write_value(event.body))}{headers}")


Advance = Callable[[int, str], None]


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Advance]:
    """A bar on standard error while the block runs, when that is a terminal; otherwise nothing at all.

    Call what it gives with how far the work has come, of `total`, and a few words.
    """
    if not sys.stderr.isatty():
        yield lambda completed, words: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, words="")
        yield lambda completed, words: bar.update(task, completed=completed, words=words)


def note(text: str) -> None:
    """A remark for a person at a terminal; nobody else gets it."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
