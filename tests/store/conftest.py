"""Stores over the engines that need no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsstore import EventStore, Wireup

MakeStore = Callable[[Wireup | None], EventStore]


@pytest.fixture(params=["memory", "file"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    return {"memory": "memory:", "file": tmp_path / "some.store", "sqlite": f"sqlite:///{tmp_path}/some.db"}[
        request.param
    ]


@pytest.fixture
def wireup(target: str | Path) -> Wireup:
    return Wireup.init().using(target)


@pytest.fixture
def store(wireup: Wireup) -> Iterator[EventStore]:
    with wireup.build() as opened:
        yield opened


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[EventStore]:
    with Wireup.init().using(tmp_path / "s").build() as opened:
        yield opened
