"""The outcome in writing: a table to read, JSON to keep, and the generated part of `docs/performance.md`."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.chart import chart
from bench.peers import TITLES
from bench.rounds import Outcome
from bench.targets import judged
from fsstore import __version__

_PACKAGES = ("msgspec", "lmdb", "rocksdict", "eventsourcing", "umadb")
_BEGIN, _END = "<!-- bench: begin -->", "<!-- bench: end -->"


@dataclass(frozen=True)
class Report:
    """One run."""

    measured: str
    machine: dict[str, str]
    quick: bool
    outcomes: list[Outcome]

    @classmethod
    def of(cls, outcomes: list[Outcome], directory: Path, *, quick: bool) -> Report:
        return cls(f"{datetime.now(UTC):%Y-%m-%d}", _machine(directory), quick, outcomes)

    @classmethod
    def load(cls, path: Path) -> Report:
        data = json.loads(path.read_text())
        return cls(
            data["measured"], data["machine"], data["quick"], [Outcome(**one) for one in _plain(data["outcomes"])]
        )

    def save(self, path: Path) -> None:
        """Values of every round, medians, ratios of fsstore to each, and the targets."""
        data: dict[str, Any] = asdict(self)
        for written, outcome in zip(data["outcomes"], self.outcomes, strict=True):
            written["summary"] = [row.as_dict() for row in rows(outcome)]
        data["targets"] = [
            {
                "case": target.case,
                "figure": target.figure,
                "contender": target.contender,
                "wanted": target.wanted(outcome.units[target.figure]),
                "reached": value,
                "met": target.met(value),
            }
            for target, outcome, value in judged(self.outcomes)
        ]
        path.write_text(json.dumps(data, indent=1) + "\n")

    def write_docs(self, directory: Path) -> None:
        """The chart, and the part of performance.md between its two marks."""
        page = directory / "performance.md"
        before, _, rest = page.read_text().partition(_BEGIN)
        _, _, after = rest.partition(_END)
        page.write_text(f"{before}{_BEGIN}\n\n{self._markdown()}\n{_END}{after}")
        (directory / "performance.svg").write_text(chart(self.outcomes, self.measured))

    def _markdown(self) -> str:
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        note = " Tiny amounts, one round: these figures mean nothing." if self.quick else ""
        lines = [f"Measured on {self.measured}: {machine}.{note}", ""]
        lines += ["![fsstore compared with each peer](performance.svg)", ""]
        lines += ["| target | wanted | reached | |", "|---|---|---|---|"]
        for target, outcome, value in judged(self.outcomes):
            unit = outcome.units[target.figure]
            what = outcome.title if target.figure in ("durable", "load", "read", "open", "disk") else target.figure
            what = what if what == outcome.title else f"{outcome.title}: {what}"
            if target.contender != "fsstore":
                what += f", {TITLES[target.contender]}"
            met = "met" if target.met(value) else "**missed**"
            lines.append(f"| {what} | {target.wanted(unit)} | {target.shown(value, unit)} | {met} |")
        lines += [
            "",
            "| what | contender | median | lowest | highest | fsstore is … times as good |",
            "|---|---|---|---|---|---|",
        ]
        for outcome in self.outcomes:
            for row in rows(outcome):
                ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
                lines.append(
                    f"| {outcome.title}, {row.figure} | {TITLES[row.contender]} | {number(row.median)} {row.unit} "
                    f"| {number(row.lowest)} | {number(row.highest)} | {ratio} |"
                )
            for contender, why in outcome.missing.items():
                lines.append(f"| {outcome.title} | {TITLES[contender]} | not available: {why} | | | |")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Row:
    """One contender in one figure of one case."""

    figure: str
    unit: str
    contender: str
    median: float
    lowest: float
    highest: float
    ratio: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows(outcome: Outcome) -> Iterator[Row]:
    """The table of one case; the ratio says how many times as good as the contender fsstore was."""
    for figure, unit in outcome.units.items():
        for contender, values in outcome.values.get(figure, {}).items():
            ratio = outcome.ratio(figure, "fsstore", contender) if contender != "fsstore" else None
            median = outcome.median(figure, contender)
            assert median is not None
            yield Row(figure, unit, contender, median, min(values), max(values), ratio)


def table(outcome: Outcome) -> str:
    """One case for the terminal."""
    lines = [outcome.title]
    for row in rows(outcome):
        ratio = f"{row.ratio:8.2f}" if row.ratio is not None else " " * 8
        lines.append(
            f"  {row.figure:<10}{TITLES[row.contender]:<30}{number(row.median):>12} {row.unit:<12}{ratio}"
            f"   {number(row.lowest)} to {number(row.highest)}"
        )
    lines += [f"  {TITLES[name]}: not available: {why}" for name, why in outcome.missing.items()]
    return "\n".join(lines)


def verdicts(outcomes: Iterable[Outcome]) -> str:
    """The targets for the terminal."""
    lines = ["targets"]
    for target, outcome, value in judged(outcomes):
        unit = outcome.units[target.figure]
        met = "met   " if target.met(value) else "MISSED"
        name = f"{target.case}, {target.figure}" + ("" if target.contender == "fsstore" else f", {target.contender}")
        lines.append(f"  {met} {name:<40}{target.shown(value, unit):>14}   wanted {target.wanted(unit)}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count, and no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _machine(directory: Path) -> dict[str, str]:
    found = {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file system": _file_system(directory),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "fsstore": __version__,
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the mount that holds the directory."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    for line in mounts:
        _, place, each, *_ = line.split()
        if directory.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, each
    return kind


def _plain(outcomes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in outcomes:
        yield {name: value for name, value in one.items() if name != "summary"}
