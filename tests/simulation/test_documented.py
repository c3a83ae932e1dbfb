"""The example in docs/durability-testing.md runs, and fails when the engine loses something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from fsstore.testing import SimulatedDisk

PAGE = Path(__file__).parents[2] / "docs" / "durability-testing.md"


def example() -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_the_example_passes() -> None:
    example()["test_no_order_that_a_customer_knows_of_is_lost"]()


def test_the_example_notices_a_disk_that_flushes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDisk, "flush", lambda self, handle: None)
    before = settings.get_current_profile_name()
    settings.register_profile("no shrinking", settings.default, phases=[Phase.generate], database=None)
    settings.load_profile("no shrinking")
    try:
        test = example()["test_no_order_that_a_customer_knows_of_is_lost"]
    finally:
        settings.load_profile(before)
    with pytest.raises(Exception):  # noqa: B017, PT011 (lost commits or a store that is none any more)
        test()
