"""What an engine under test can do beyond the common promises, declared instead of guessed.

A test that needs more than the engine declares is skipped under a reason that names the capability; other
tests check that what is declared, or denied, is true. This module knows no engine and no test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """`durable`: what was stored is there when the same place is opened again after `close()`.

    `shared`: several engines may be open on one place at once and see each other's changes.
    `delivery`: it is a `DeliveryEngine` too.
    `record_limit_bytes`: the size above which the engine, as the suite opens it, refuses a commit with
    `ValueError`; `None` when it has no limit. Let it be small (but at least 2 MiB) to keep the test quick.
    """

    durable: bool = True
    shared: bool = False
    delivery: bool = False
    record_limit_bytes: int | None = None


def needs(capability: str) -> Callable[[Test], Test]:
    """Skip the decorated test, saying why, when the suite's `capabilities` lack `capability`."""

    def decorate(test: Test) -> Test:
        @wraps(test)
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            declared = getattr(self.capabilities, capability)
            if not declared:
                pytest.skip(f"{type(self).__name__} declares the capability {capability}={declared}")
            return test(self, *args, **kwargs)

        return run  # type: ignore[return-value]

    return decorate
