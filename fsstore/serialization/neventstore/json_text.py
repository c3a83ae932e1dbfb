"""JSON as both of C#'s serializers write it, read without losing a digit."""

from __future__ import annotations

import json
from typing import Any

from fsstore.serialization.neventstore.scalars import number_from_text

BOM = b"\xef\xbb\xbf"


def parse(data: bytes) -> Any:
    """The stored tree: integers exact, fractions as `number_from_text` has them. `ValueError` for anything else."""
    try:
        return json.loads(data.removeprefix(BOM).decode("utf-8"), parse_float=number_from_text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deep") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error
