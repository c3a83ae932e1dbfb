"""What the sample's events mean: the history of a file, folded into the file as it is now.

A stream is the history of one path. `FileAdded` and `FileModified` carry mode and blob, `FileDeleted` ends the
file until it is added again, `LinesChanged` is for statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fsstore.model import Commit, EventMessage

File = tuple[str, str]


def fold(file: File | None, events: Iterable[EventMessage]) -> File | None:
    """The file, `(mode, blob)`, after `events`; `None` while it does not exist."""
    for event in events:
        body: dict[str, Any] = event.body
        match body["type"]:
            case "FileAdded" | "FileModified":
                file = (body["mode"], body["blob"])
            case "FileDeleted":
                file = None
            case "LinesChanged":
                pass
            case unknown:
                raise ValueError(f"the history has an event of an unknown type: {unknown}")
    return file


class Tree:
    """A projection: the files that are alive, kept up to date by the commits dispatched to it."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.commits = 0

    def dispatch(self, commit: Commit) -> None:
        """Apply one commit; applying it again changes nothing."""
        file = fold(self.files.get(commit.stream_id), commit.events)
        if file is None:
            self.files.pop(commit.stream_id, None)
        else:
            self.files[commit.stream_id] = file
        self.commits += 1

    def close(self) -> None:
        """Nothing is held."""
