"""The benchmarks run, with tiny amounts, so that they do not rot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = sorted((Path(__file__).parents[1] / "bench").glob("*.py"))


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.stem)
def test_it_runs(bench: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, bench, "--quick", tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for case in ("single commits", "8 threads", "bulk by 100", "commits read back"):
        assert case in done.stdout
    assert list(tmp_path.iterdir()) == []
