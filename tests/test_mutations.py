"""The deliberate bugs under `tests/mutations` still apply. `tools/mutations` shows what kills each."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATCHES = sorted((ROOT / "tests" / "mutations").glob("*.patch"))


def test_there_are_enough() -> None:
    assert len(PATCHES) >= 10


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed: apt-get install patch")
@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_it_applies(patch: Path) -> None:
    command = ["patch", "--dry-run", "--strip", "1", "--fuzz", "0", "--directory", str(ROOT), "--input", str(patch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: make it anew against the code as it is"
