"""Four processes commit and deliver while the delivering one is killed; the short form of `bench/delivery.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench" / "delivery.py"


def measured(*arguments: object) -> dict[str, object]:
    command = [sys.executable, BENCH, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_every_commit_is_delivered_in_order_whoever_is_killed(tmp_path: Path) -> None:
    result = measured("kill", tmp_path, "--seconds", 3, "--every-seconds", 0.7)
    assert result["never_delivered"] == 0
    assert result["first_deliveries_in_order"] is True
    assert result["killed"]
    assert result["stored_commits"]


def test_the_other_measurements_run(tmp_path: Path) -> None:
    assert measured("latency", tmp_path / "latency", "--commits", 5)["commits"] == 5
    assert measured("catch-up", tmp_path / "catch-up", "--commits", 300)["commits"] == 300
    assert "cpu_percent_of_a_core" in measured("idle", tmp_path / "idle", "--seconds", 0.1)
