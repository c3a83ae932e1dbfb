"""What fsstore is meant to reach, each as a ratio within one run, or as a limit where nothing is compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.peers import TITLES
from bench.rounds import Outcome


@dataclass(frozen=True)
class Target:
    """`contender` is to be at least `at_least` times as good as `against`, or its figure at most `at_most` above it.

    Good is a rate that is higher or a time that is lower. "At most 1.2 times as slow" is at least 1/1.2 as good.
    Without `against` the figure itself counts.
    """

    case: str
    figure: str
    against: str | None
    at_least: float | None = None
    at_most: float | None = None
    contender: str = "fsstore"

    def reached(self, outcome: Outcome) -> float | None:
        """The ratio, or the figure; `None` when it was not measured."""
        own = outcome.median(self.figure, self.contender)
        if self.against is None or own is None:
            return own
        if self.at_most is None:
            return outcome.ratio(self.figure, self.contender, self.against)
        other = outcome.median(self.figure, self.against)
        return None if other is None else own - other

    def met(self, value: float) -> bool:
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is None or value >= self.at_least

    def wanted(self, unit: str) -> str:
        """The target in words."""
        other = TITLES.get(self.against, self.against) if self.against else None
        if self.at_most is not None:
            return f"at most {self.at_most:g} {unit}" + (f" above {other}" if other else "")
        return f"{self.at_least:.3g} times {other}" if other else f"{self.at_least:g}"

    def shown(self, value: float, unit: str) -> str:
        """What was reached, in words."""
        return f"{value:.1f} {unit}" if self.at_most is not None else f"{value:.2f}"


TARGETS = (
    Target("single", "durable", "sqlite", 1.3),
    Target("single", "durable", "floor", 0.85),
    Target("single-new-streams", "durable", "sqlite", 1.25),
    Target("hundred", "durable", "sqlite", 2.2),
    Target("hundred", "durable", "rocksdb", 1.4),
    Target("bulk", "settled", "sqlite", 2.0),
    Target("bulk-new-streams", "settled", "sqlite", 0.5),
    Target("bulk-new-streams", "durable", "sqlite", 1.5),
    Target("threads", "durable", "sqlite", 3.0),
    Target("threads", "fairness", None, 0.8),
    Target("processes", "durable", "sqlite", 3.0),
    Target("processes", "fairness", None, 0.8),
    Target("tasks-64", "durable", "sqlite", 8.0),
    Target("tasks-64", "idle-lag", None, at_most=5),
    Target("tasks-64", "busy-lag", None, at_most=5),
    Target("tasks-512", "durable", "sqlite", 12.0),
    Target("tasks-512", "idle-lag", None, at_most=5),
    Target("tasks-512", "busy-lag", None, at_most=5),
    Target("load-10", "load", "sqlite", 0.9),
    Target("load-1000", "load", "sqlite", 1.5),
    Target("load-100000", "load", "sqlite", 1.5),
    Target("order-folded", "read", "sqlite", 1.2),
    Target("order-unfolded", "read", "sqlite", 1.2),
    Target("beside-a-fold", "p99", "floor", 1 / 3),
    Target("open", "open", None, at_most=5, contender="clean"),
    Target("open", "open", None, at_most=250, contender="killed"),
    Target("growing", "commit", "empty", 1 / 1.2, contender="long-stream"),
    Target("growing", "commit", "empty", 1 / 1.2, contender="many-streams"),
    Target("growing", "memory", "empty", at_most=64, contender="long-stream"),
    Target("growing", "memory", "empty", at_most=64, contender="many-streams"),
    Target("space", "disk", "packed", 1 / 1.25),
)


def judged(outcomes: Iterable[Outcome]) -> list[tuple[Target, Outcome, float]]:
    """The targets whose cases were measured, with what was reached."""
    by_name = {outcome.name: outcome for outcome in outcomes}
    found = []
    for target in TARGETS:
        outcome = by_name.get(target.case)
        value = target.reached(outcome) if outcome is not None else None
        if outcome is not None and value is not None:
            found.append((target, outcome, value))
    return found
