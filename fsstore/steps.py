"""What is done, in which order, apart from who waits for it: the store's rules are written once as steps.

A rule is a generator: it yields the calls that it needs made and goes on with their results. `run` makes them in
the caller's thread; `run_async` makes the same ones and awaits what is awaitable. This module knows no rule.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """Call `function` with the arguments; its result comes back, its error is raised where it was yielded."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Each:
    """Give every item of `iterator` to `take`, until that returns true."""

    iterator: Iterator[Any] | AsyncIterator[Any]
    take: Callable[[Any], Any]


Steps = Generator[Call | Each, Any, T]


def all_of(functions: Iterable[Callable[..., Any]]) -> Steps[None]:
    """Call every function, whatever fails. Then the first error is raised, with the others as notes."""
    errors: list[BaseException] = []
    for function in functions:
        try:
            yield Call(function)
        except GeneratorExit:  # who carries it out was interrupted, and does not go on
            raise
        except BaseException as error:
            errors.append(error)
    if errors:
        # An interruption or a cancellation must not get lost behind an error.
        first = min(errors, key=lambda each: isinstance(each, Exception))
        for other in errors:
            if other is not first:
                first.add_note(f"also failed: {type(other).__name__}: {other}")
        raise first


def run(steps: Steps[T]) -> T:
    """Carry out all steps here and now."""
    answer, error = None, None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer, error = None, None
        try:
            if isinstance(step, Call):
                answer = answered(step.function, *step.arguments)
            else:
                _give(step)
        except BaseException as raised:  # raised again by the rule, which may know what to do
            error = raised


def _give(step: Each) -> None:
    assert isinstance(step.iterator, Iterator), "an asynchronous engine needs run_async"
    for item in step.iterator:
        if step.take(item):
            return


async def run_async(steps: Steps[T]) -> T:
    """Carry out all steps, awaiting the results that can be awaited."""
    answer, error = None, None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer, error = None, None
        try:
            if isinstance(step, Call):
                answer = step.function(*step.arguments)
                if inspect.isawaitable(answer):
                    answer = await answer
            else:
                await _give_async(step)
        except BaseException as raised:
            error = raised


async def _give_async(step: Each) -> None:
    if isinstance(step.iterator, Iterator):
        _give(step)
        return
    async with aclosing(step.iterator) as items:  # type: ignore[type-var]
        async for item in items:
            if step.take(item):
                return


def answered(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result; `TypeError` when it is a coroutine function, whose work would never be done."""
    answer = function(*arguments)
    if inspect.iscoroutine(answer):
        answer.close()
        name = getattr(function, "__qualname__", None) or repr(function)
        raise TypeError(f"{name} is a coroutine function, which only an AsyncEventStore can await")
    return answer
