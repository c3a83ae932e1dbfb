"""JSON text as both of C#'s serializers write it: read without losing a digit, and written to the same byte."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

from fsstore.errors import SerializationError
from fsstore.serialization.neventstore.scalars import number_from_text, text_of_double

BOM = b"\xef\xbb\xbf"
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\"}
_NEWTONSOFT_ESCAPED = re.compile('[\x00-\x1f"\\\\\x85\u2028\u2029]')
# System.Text.Json also escapes what could end a text inside of HTML, and everything that is not ASCII.
_SYSTEM_ESCAPED = re.compile("[^ -~]|[\"\\\\<>&'+`]")
_MOST_DECIMAL_PLACES = 28


def parse(data: bytes) -> Any:
    """The stored tree: integers exact, fractions as `number_from_text` has them. `ValueError` for anything else."""
    try:
        return json.loads(data.removeprefix(BOM).decode("utf-8"), parse_float=number_from_text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deep") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from error


def newtonsoft(tree: Any) -> bytes:
    """`tree` as Newtonsoft.Json writes it to a UTF-8 stream: the byte order mark first."""
    return BOM + _written(tree, _newtonsoft_text, _newtonsoft_number).encode("utf-8")


def system(tree: Any) -> bytes:
    """`tree` as System.Text.Json writes it."""
    return _written(tree, _system_text, _system_number).encode("ascii")


def _written(tree: Any, text: Any, number: Any) -> str:
    if tree is None:
        return "null"
    if isinstance(tree, bool):
        return "true" if tree else "false"
    if isinstance(tree, str):
        return str(text(tree))
    if isinstance(tree, dict):
        return "{" + ",".join(f"{text(key)}:{_written(each, text, number)}" for key, each in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(_written(each, text, number) for each in tree) + "]"
    return str(tree) if isinstance(tree, int) else str(number(tree))


def _newtonsoft_text(text: str) -> str:
    escaped = _NEWTONSOFT_ESCAPED.sub(
        lambda found: '\\"' if found[0] == '"' else _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text
    )
    return f'"{escaped}"'


def _system_text(text: str) -> str:
    return f'"{_SYSTEM_ESCAPED.sub(_system_escape, text)}"'


def _system_escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02X}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def _newtonsoft_number(number: float | Decimal) -> str:
    """A fraction always shows that it is one: `5.0`."""
    if not _is_finite(number):
        return f'"{text_of_double(float(number))}"'
    text = text_of_double(number) if isinstance(number, float) else _decimal(number)
    return text if set(text) & set(".E") else text + ".0"


def _system_number(number: float | Decimal) -> str:
    if not _is_finite(number):
        raise SerializationError(f"System.Text.Json cannot write {number}")
    return text_of_double(number).removesuffix(".0") if isinstance(number, float) else _decimal(number)


def _is_finite(number: float | Decimal) -> bool:
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)


def _decimal(number: Decimal) -> str:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return f"{number:f}" if -_MOST_DECIMAL_PLACES <= exponent <= 0 else str(number)
