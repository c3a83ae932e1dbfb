"""Imports run one way, and the core needs three packages: the architecture, held by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fsstore

PACKAGE = Path(fsstore.__file__).parent
CORE = {"msgpack", "portalocker", "crc32c", "fsstore"}
# Where a module of the first column may not look.
FORBIDDEN = {
    "errors": {"fsstore"},
    "model": {"fsstore"},
    "engine": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch", "fsstore.serialization"},
    "steps": {"fsstore"},
    "hooks": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "stream": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "store": {"fsstore.engines", "fsstore.wireup"},
    "serialization": {"fsstore.engines", "fsstore.store", "fsstore.stream", "fsstore.wireup", "fsstore.dispatch"},
    "dispatch": {"fsstore.engines", "fsstore.store", "fsstore.wireup"},
    "engines": {"fsstore.store", "fsstore.stream", "fsstore.wireup", "fsstore.dispatch", "fsstore.cli"},
    "wireup": {"fsstore.cli"},
}
# Optional libraries: imported only by these parts.
OPTIONAL = {
    "cli": {"typer", "rich", "click"},
    "demo": {"typer", "rich", "click"},
    "testing": {"hypothesis", "pytest"},
    "engines/mongo": {"pymongo", "bson"},
    "engines/sql": {"sqlalchemy"},
