"""The examples of docs/dispatch.md run, one after the other, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "dispatch.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = list(re.finditer(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    assert len(examples) > 5
    names: dict[str, Any] = {}
    for example in examples:
        line = PAGE.read_text()[: example.start(1)].count("\n")
        exec(compile("\n" * line + example[1], str(PAGE), "exec"), names)
