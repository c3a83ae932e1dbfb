"""How the verbs open the STORE they are given, and the options that several of them share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from fsstore.cli.payloads import NamedKey, payload_serializer
from fsstore.engine import PersistenceEngine
from fsstore.engines import can_open_without_creating, engine_for
from fsstore.engines.file import path_and_options
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.model import checked_id
from fsstore.serialization.encryption import DEFAULT_KEY_ID, KEY_BYTES, Key, Keys

StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help="Path or URL of the store.", show_default=False)]
BucketOption = Annotated[
    str | None, typer.Option("--bucket", "-b", metavar="BUCKET", help="Only this bucket.", show_default="all")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")]


def key_file_option(name: str, what: str) -> Any:
    """An option whose FILE holds a key; it may be repeated, and gives `NamedKey`s."""
    return typer.Option(
        name,
        metavar="[ID=]FILE",
        help=f"{what}: a file of 16, 24 or 32 bytes. ID is the key's id, {DEFAULT_KEY_ID} where none is given; a FILE "
        "with = in its name needs one. May be repeated: the last one encrypts.",
        parser=_named_key,
        callback=_differently_named,
        show_default=False,
    )


def _named_key(given: str) -> NamedKey:
    key_id, named, file = given.partition("=")
    if not named:
        key_id, file = DEFAULT_KEY_ID, given
    try:
        key = Key(Path(file).read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error
    if len(key) not in KEY_BYTES:
        raise typer.BadParameter(f"{file} has {len(key)} bytes; a key has 16, 24 or 32")
    try:
        Keys(key_id, {key_id: key})
    except ValueError as error:
        raise typer.BadParameter(f"{given}: {error}") from error
    return NamedKey(key_id, key)


def _differently_named(keys: Sequence[NamedKey] | None) -> Sequence[NamedKey] | None:
    ids = [key.key_id for key in keys or ()]
    for key_id in ids:
        if ids.count(key_id) > 1:
            raise typer.BadParameter(f"the key id {key_id!r} is given more than once")
    return keys


KEY_FILE = "--key-file"
KeyFileOption = Annotated[list[NamedKey] | None, key_file_option(KEY_FILE, "A key that the store is encrypted with")]


@contextmanager
def reading(store: str, keys: Sequence[NamedKey] | None = None, *, opaque: bool = False) -> Iterator[PersistenceEngine]:
    """The store's engine, open to read: a store that its engine can refuse to create is not, and a file store is not
    written and not locked. With `opaque`, what is encrypted is read without a key as a `Ciphertext`."""
    options = _creation(store, create=False) | ({"read_only": True} if is_file_store(store) else {})
    with _opened(store, options, keys, KEY_FILE, opaque=opaque) as engine:
        yield engine


@contextmanager
def writing(
    store: str,
    keys: Sequence[NamedKey] | None = None,
    *,
    key_option: str = KEY_FILE,
    create: bool = True,
    opaque: bool = False,
) -> Iterator[PersistenceEngine]:
    """The store's engine, open to write; one in a file or an SQL database that is not there is created, or is an
    error. `key_option` is the one that gives its keys; `opaque` as for `reading`."""
    with _opened(store, _creation(store, create=create), keys, key_option, opaque=opaque) as engine:
        yield engine


def is_file_store(store: str) -> bool:
    """Whether STORE is a path or a `file:` URL."""
    return _scheme(store) == "file"


def _scheme(store: str) -> str:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9.+-]+):", store)
    return scheme[1].lower() if scheme else "file"


def _creation(store: str, *, create: bool) -> dict[str, Any]:
    """The option that says so, for the engines that have it."""
    return {"create": create} if can_open_without_creating(_scheme(store)) else {}


def file_store(store: str) -> tuple[RealDisk, str]:
    """The directory that STORE, a path or a `file:` URL, names, and the disk to look at it with; nothing is opened."""
    try:
        path, options = path_and_options(store)
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error), param_hint="STORE") from error
    path = os.path.abspath(path)
    return RealDisk(path, **{name: mode for name, mode in options.items() if name.endswith("_mode")}), path


@contextmanager
def _opened(
    store: str, options: dict[str, Any], keys: Sequence[NamedKey] | None, key_option: str, *, opaque: bool
) -> Iterator[PersistenceEngine]:
    try:
        engine = engine_for(store, serializer=payload_serializer(keys, key_option, opaque=opaque), **options)
    except (ValueError, TypeError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint="STORE") from error
    try:
        engine.initialize()
        yield engine
    finally:
        engine.close()


def checked_name(value: str | None, what: str) -> str | None:
    """A bucket or stream id from the command line; wrong usage when no store could have it."""
    try:
        return None if value is None else checked_id(value, what)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=what.upper()) from error
