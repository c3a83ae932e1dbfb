"""Long computing pauses after every stretch, and only then."""

from __future__ import annotations

import pytest

from fsstore.engines.file import pace
from fsstore.engines.file.pace import Pace


class Clock:
    """Time that passes when it is told to, and in sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += 0.005
        self.pauses.append(self.now)


def test_it_pauses_after_each_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    step = Pace()
    for _ in range(35):
        clock.now += pace._STRETCH_SECONDS / 10
        step()
    assert len(clock.pauses) == 3
