"""Hooks into the pipeline between the store and its callers, and the one that converts old events.

A hook sees commits going in and coming out; it never touches storage. The words are NEventStore's
(`IPipelineHook`); every method is optional, and in an asynchronous store may be a coroutine function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fsstore.errors import EventStoreError
from fsstore.model import Commit, CommitAttempt, EventMessage, checked_id, named, stored_commit, stored_event
from fsstore.steps import Call, Steps, run

_log = logging.getLogger("fsstore.hooks")
_MAX_CONVERSIONS = 100


class PipelineHook:
    """A base class whose methods change nothing. Any object that has some of these methods is a hook; one that has
    coroutine functions does not inherit from this, whose methods are typed as functions."""

    def select_commit(self, commit: Commit) -> Commit | None:
        """What a reader gets in place of `commit`; `None` hides it."""
        return commit

    def pre_commit(self, attempt: CommitAttempt) -> bool:
        """Whether `attempt` may be stored."""
        return True

    def post_commit(self, commit: Commit) -> None:
        """Called once `commit` is stored."""

    def on_purge(self, bucket_id: str | None) -> None:
        """Called once a bucket, or with `None` the whole store, was purged."""

    def on_delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Called once a stream was deleted."""

    def close(self) -> None:
        """Called once, when the store is closed."""


_METHODS = ("select_commit", "pre_commit", "post_commit", "on_purge", "on_delete_stream", "close")


def checked_hook(hook: Any) -> Any:
    """`hook`; `TypeError` for what has none of a hook's methods, and for a class in place of an instance."""
    if isinstance(hook, type):
        raise TypeError(f"{hook.__qualname__} is a class: pass an instance of it as the hook")
    if not any(callable(getattr(hook, name, None)) for name in _METHODS):
        raise TypeError(f"{hook!r} has none of a hook's methods, {', '.join(_METHODS)}: pass an instance that has some")
    return hook


class Hooks:
    """All hooks of a store, in the order in which they were given. `TypeError` for what is no hook."""

    def __init__(self, hooks: Iterable[Any] = ()) -> None:
        self._all = tuple(map(checked_hook, hooks))
        self._select = self._methods("select_commit")
        self._pre = self._methods("pre_commit")
        self._post = self._methods("post_commit")
        self._purge = self._methods("on_purge")
        self._delete = self._methods("on_delete_stream")

    def _methods(self, name: str) -> Sequence[Callable[..., Any]]:
        """That method of every hook that has it and does not merely inherit it."""
        base = getattr(PipelineHook, name)
        found = [getattr(hook, name, None) for hook in self._all]
        return [method for method in found if method is not None and getattr(method, "__func__", None) is not base]

    @property
    def watch_deletion(self) -> bool:
        """Whether any hook wants to hear of purges and deletions."""
        return bool(self._purge or self._delete)

    @property
    def change_reading(self) -> bool:
        """Whether any hook may change or hide what is read."""
        return bool(self._select)

    def selecting(self, commit: Commit) -> Steps[Commit | None]:
        """What the hooks leave of `commit` for a reader."""
        selected: Commit | None = commit
        for method in self._select:
            selected = yield Call(method, (selected,))
            if selected is None:
                _log.info("a hook hid commit %s of stream %r", commit.commit_id, commit.stream_id)
                return None
        return selected

    def select(self, commit: Commit) -> Commit | None:
        """The same here and now, for hooks that are plain functions."""
        return run(self.selecting(commit)) if self._select else commit

    def allowing(self, attempt: CommitAttempt) -> Steps[bool]:
        """Whether every hook allows `attempt`."""
        for method in self._pre:
            if not (yield Call(method, (attempt,))):
                _log.info("a hook refused commit %s of stream %r", attempt.commit_id, attempt.stream_id)
                return False
        return True

    def committed(self, commit: Commit) -> Steps[None]:
        """Tell every hook that `commit` is stored."""
        for method in self._post:
            yield Call(method, (commit,))

    def purged(self, bucket_id: str | None) -> Steps[None]:
        """Tell every hook of a purge."""
        bucket_id = None if bucket_id is None else checked_id(bucket_id, "bucket_id")
        for method in self._purge:
            yield Call(method, (bucket_id,))

    def deleted(self, bucket_id: str, stream_id: str) -> Steps[None]:
        """Tell every hook of a stream's deletion."""
        place = checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id")
        for method in self._delete:
            yield Call(method, place)

    @property
    def closes(self) -> Sequence[Callable[..., Any]]:
        """What closes the hooks that can be closed."""
        return self._methods("close")


class EventUpconverter(PipelineHook):
    """Turns bodies of old types into their newest form as they are read; what is stored stays as it is.

    What a converter gives is converted on, by the converter of its type, until there is none. A result of the type
    that was converted, as a newer `dict` of an older one, is the newest form. `EventStoreError` when the converters
    of several types lead back to the first, and for a converter that gives `None`.
    """

    def __init__(self, converters: dict[type, Callable[[Any], Any]]) -> None:
        self._converters = dict(converters)

    def select_commit(self, commit: Commit) -> Commit | None:
        """The commit with every event in its newest form."""
        if not any(type(event.body) in self._converters for event in commit.events):
            return commit
        return stored_commit(
            commit.stream_id,
            commit.stream_revision,
            commit.commit_id,
            commit.commit_sequence,
            commit.commit_stamp,
            commit.headers,
            tuple(self._convert(event, commit) for event in commit.events),
            commit.bucket_id,
            commit.checkpoint_token,
        )

    def _convert(self, event: EventMessage, commit: Commit) -> EventMessage:
        body = event.body
        for _ in range(_MAX_CONVERSIONS):
            convert = self._converters.get(type(body))
            if convert is None:
                return event if body is event.body else stored_event(body, event.headers)
            converted = convert(body)
            if converted is None:
                raise EventStoreError(
                    f"the converter of {type(body).__qualname__} gave None for an event of {named(commit)}"
                )
            if type(converted) is type(body):
                return stored_event(converted, event.headers)
            body = converted
        raise EventStoreError(f"the converters turn {type(event.body).__qualname__} in a circle: {named(commit)}")
