"""Small values under names: a file for each, two slots in it. What is kept in them is not known here."""

from __future__ import annotations

import contextlib
from hashlib import blake2b
from typing import Any

from fsstore.engines.file.failures import asked
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import locked
from fsstore.engines.file.values import slots

VALUE = ".value"


def fits(*fields: Any) -> bool:
    """Whether these are a name and its value, as a slot holds them."""
    match fields:
        case [str(), bytes()]:
            return True
    return False


class NamedValues:
    """The values, each in two slots of its own file. A forgotten one leaves an empty file, which nobody can
    be about to write into when it goes."""

    def __init__(self, files: layout.StoreFiles) -> None:
        self._disk = files.disk
        self._directory = f"{files.path}/{layout.DISPATCH}"
        self._seed = files.seed

    def _path(self, name: str) -> str:
        return f"{self._directory}/{file_name(name)}{VALUE}"

    def _read(self, path: str) -> list[Any]:
        """Name and value in the file; nothing when it is missing or damaged."""
        try:
            with locked(self._disk, path, shared=True) as handle:
                return slots.read_newest(self._disk, handle, self._seed, fits)[1]
        except FileNotFoundError:
            return []

    def get(self, name: str) -> bytes | None:
        with asked(f"reading checkpoint {name!r} in {self._directory}"):
            fields = self._read(self._path(name))
        return fields[1] if fields and fields[0] == name else None

    def put(self, name: str, value: bytes) -> None:
        disk, seed = self._disk, self._seed
        what = f"putting checkpoint {name!r} in {self._directory}"
        with asked(what), locked(disk, self._path(name), write=True, create=True) as handle:
            generation = slots.read_newest(disk, handle, seed, fits)[0] + 1
            with asked(what, in_doubt=True):
                slots.write(disk, handle, seed, generation, slots.pack(generation, name, value))

    def delete(self, name: str) -> None:
        with (
            asked(f"deleting checkpoint {name!r} in {self._directory}"),
            contextlib.suppress(FileNotFoundError),
            locked(self._disk, self._path(name), write=True) as handle,
        ):
            self._disk.truncate(handle, 0)

    def names(self) -> list[str]:
        with asked(f"reading the names of checkpoints in {self._directory}"):
            files = (name for name in self._disk.names(self._directory) if name.endswith(VALUE))
            found = (self._read(f"{self._directory}/{name}") for name in files)
            return sorted(fields[0] for fields in found if fields)


def file_name(name: str) -> str:
    """A file's name for any name: what can be written in it of the name, and what tells it from all others."""
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name[:40])
    return f"{readable}.{blake2b(name.encode(), digest_size=16).hexdigest()}"
