"""Options that are passed on as keywords, and what is said of one that nobody has. Knows nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable


def keywords_of(called: Callable[..., object]) -> set[str]:
    """What can be given to it by keyword only."""
    parameters = inspect.signature(called).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def check_options(of: str, given: Iterable[str], known: Iterable[str]) -> None:
    """`TypeError` for the first of `given` that is not among the `known` ones; `of` is whose options they are."""
    known = sorted(known)
    for option in sorted(set(given) - set(known)):
        raise no_option(of, option, known)


def no_option(of: str, option: str, known: Iterable[str]) -> TypeError:
    """The error for an option that `of` does not have."""
    *names, last = known or ["none"]
    return TypeError(f"{of} has no option {option!r}; it has {', '.join(names)}{' and ' if names else ''}{last}")
