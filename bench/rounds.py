"""Taking turns: in every round each contender is measured once, and another one goes first.

On a machine that is shared with others only what was measured in the same round can be compared, so ratios are
made for each round, and the median of them counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.case import Case, more_is_better
from bench.peers import PEERS, NotAvailableError


@dataclass
class Outcome:
    """Everything that was measured of one case: figure → contender → a value for each round."""

    name: str
    title: str
    units: Mapping[str, str]
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def ratio(self, figure: str, one: str, other: str) -> float | None:
        """How many times better `one` was than `other`: the median of the rounds. `None`: not measured."""
        ratios = self.ratios(figure, one, other)
        return statistics.median(ratios) if ratios else None

    def ratios(self, figure: str, one: str, other: str) -> list[float]:
        """The same, of every round."""
        ours, theirs = (self.values.get(figure, {}).get(name, []) for name in (one, other))
        if not more_is_better(self.units[figure]):
            ours, theirs = theirs, ours
        return [mine / your for mine, your in zip(ours, theirs, strict=True)] if ours and theirs else []

    def median(self, figure: str, contender: str) -> float | None:
        values = self.values.get(figure, {}).get(contender)
        return statistics.median(values) if values else None


def run(
    case: Case,
    directory: Path,
    *,
    scale: int,
    rounds: int | None,
    say: Callable[[str], None],
    against: Sequence[str] | None = None,
) -> Outcome:
    """All rounds of one case; with `against` only fsstore's own contenders and those."""
    outcome = Outcome(case.name, case.title, dict(case.units))
    case.prepare(directory, scale)
    try:
        running = [name for name in case.contenders if against is None or name in against or name not in PEERS]
        for number in range(rounds or case.rounds):
            for contender in _rotated(running, number):
                say(f"{case.name}: round {number + 1}, {contender}")
                try:
                    figures = case.measure(contender)
                except NotAvailableError as error:
                    outcome.missing[contender] = str(error)
                    running.remove(contender)
                    continue
                for figure, value in figures.items():
                    outcome.values.setdefault(figure, {}).setdefault(contender, []).append(value)
    finally:
        case.close()
    return outcome


def _rotated(names: Sequence[str], by: int) -> list[str]:
    first = by % len(names)
    return [*names[first:], *names[:first]]
