"""Small stores that many tests look at or damage, each time a copy: folded, or as a killed process leaves them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import stores


@pytest.fixture
def quiet() -> Iterator[None]:
    """What is logged of damaged stores is of no use where there are very many."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def folded_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folded") / "a.store"
    stores.build(path)
    return path


@pytest.fixture(scope="session")
def unfolded_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unfolded") / "a.store"
    stores.build_unfolded(path, path.with_name("aside"))
    return path


@pytest.fixture
def folded(folded_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folded_store, tmp_path / "a.store"))


@pytest.fixture
def unfolded(unfolded_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unfolded_store, tmp_path / "a.store"))
