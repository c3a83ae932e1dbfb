"""The package brings its types: what a user writes by the documentation needs no cast and no ignoring."""

from __future__ import annotations

from pathlib import Path

import pytest

import fsstore

mypy = pytest.importorskip("mypy.api")


def test_a_users_program_types_under_mypy_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Path(fsstore.__file__).parent / "py.typed").exists()
    monkeypatch.setenv("MYPYPATH", str(Path(fsstore.__file__).parents[1]))
    program = Path(__file__).with_name("typed_program.py")
    cache = Path(__file__).parents[1] / ".mypy_cache"  # where checking the package has left what is the same here
    out, errors, _ = mypy.run(["--strict", "--config-file=", f"--cache-dir={cache}", str(program)])
    assert "Success" in out, out + errors
