"""Stores over the engines that need no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsstore import EventStore, Wireup

MakeStore = Callable[[Wireup | None], EventStore]


@pytest.fixture(params=["memory", "file"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    return "memory:" if request.param == "memory" else tmp_path / "some.store"


@pytest.fixture
def wireup(target: str | Path) -> Wireup:
    return Wireup.init().using(target)


@pytest.fixture
def store(wireup: Wireup) -> Iterator[EventStore]:
    with wireup.build() as opened:
        yield opened
