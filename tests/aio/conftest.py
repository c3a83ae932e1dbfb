"""Stores for tasks, under asyncio and under trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import fsstore
from fsstore import AsyncEventStore


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[AsyncEventStore]:
    target = "memory:" if request.param == "memory" else str(tmp_path / "a.store")
    async with fsstore.open_async(target) as opened:
        yield opened
