"""The fluent builder: picks an engine, a serializer, hooks and a scheduler, and gives a store.

The only module, with the command line, that knows both the store and the engines.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from fsstore.aio import AsyncEventStore
from fsstore.aio.delivery import AwaitedScheduler, InLoop, LoopDispatcher, selecting_in_loop
from fsstore.aio.opening import OpeningStore
from fsstore.dispatch import (
    AsynchronousDispatchScheduler,
    DelegateMessageDispatcher,
    Dispatcher,
    NullDispatcher,
    Retry,
    SynchronousDispatchScheduler,
)
from fsstore.dispatch.schedulers import Scheduler
from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.engines.threaded import awaiting_made, blocking, in_thread
from fsstore.hooks import EventUpconverter, Hooks, checked_hook
from fsstore.model import not_a
from fsstore.options import check_options, keywords_of
from fsstore.serialization import (
    CompressedSerializer,
    EncryptedSerializer,
    Keys,
    MsgpackSerializer,
    Serializer,
    TypeName,
    TypeRegistry,
)
from fsstore.serialization.neventstore import serializer as neventstore
from fsstore.store import EventStore


class Wireup:
    """Says step by step what a store is made of; `build()` makes it. Every step gives the builder back."""

    def __init__(self) -> None:
        self._target: str | os.PathLike[str] = "memory:"
        self._options: dict[str, Any] = {}
        self._engine: PersistenceEngine | None = None
        self._serializer: Serializer | str | None = None
        self._types: list[type | TypeName | tuple[type, str]] = []
        self._compression: dict[str, Any] | None = None
        self._keys: Keys | None = None
        self._hooks: list[Any] = []
        self._converters: dict[type, Callable[[Any], Any]] = {}
        self._scheduler: type[Scheduler] | None = None
        self._dispatcher: Dispatcher | None = None
        self._retry: Retry | None = None
        self._start_dispatching = True

    @classmethod
    def init(cls) -> Self:
        """A new builder; without further steps it builds a store in memory."""
        return cls()

    # ---- engine ----

    def using(self, url: str | os.PathLike[str], **options: Any) -> Self:
        """The engine that a path or URL means."""
        self._target, self._options, self._engine = url, options, None
        return self

    def using_in_memory_persistence(self) -> Self:
        """A store that lives as long as the process."""
        return self.using("memory:")

    def using_file_persistence(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        durability: str = "commit",
        **tuning: Any,
    ) -> Self:
        """The file engine; `tuning` are the options of `fsstore.engines.file.options.Options`: sizes, limits, and the
        modes of what is made, `file_mode=0o600` and `directory_mode=0o700`."""
        if not os.fspath(path):  # as a Path it would be the current directory
            raise ValueError("a file store needs a path")
        # A Path is never taken for a URL, whatever it looks like.
        return self.using(Path(path), create=create, read_only=read_only, durability=durability, **tuning)

    def using_mongo_persistence(
        self,
        url: str,
        *,
        database: str | None = None,
        write_concern: Any = None,
        read_concern: Any = None,
        **options: Any,
    ) -> Self:
        """A MongoDB database; `options` are those of `fsstore.engines.mongo.open_engine`: collection names, and
        everything that pymongo's client takes."""
        return self.using(url, database=database, write_concern=write_concern, read_concern=read_concern, **options)

    def using_engine(self, engine: PersistenceEngine) -> Self:
        """An engine that is made already; it brings its own serializer."""
        if isinstance(engine, type):
            raise TypeError(f"{engine.__qualname__} is a class: pass an instance of it as the engine")
        if not isinstance(engine, PersistenceEngine):
            raise TypeError(f"{type(engine).__name__} does not have the methods of a PersistenceEngine")
        self._engine = engine
        return self

    # ---- serialization ----

    def using_serializer(self, serializer: Serializer | str) -> Self:
        """Another stored form than msgpack. `"neventstore_json"` allows writing into a store that NEventStore made.

        `ValueError` for another name, `TypeError` for what is no serializer.
        """
        if isinstance(serializer, str):
            if serializer != neventstore.NAME:
                raise ValueError(f"no serializer is called {serializer!r}; {neventstore.NAME!r} is the one with a name")
        elif isinstance(serializer, type) or not isinstance(serializer, Serializer):
            raise TypeError(f"a serializer is an instance with `dumps` and `loads`, not {serializer!r}")
        self._serializer = serializer
        return self

    def register_types(self, *types: type | TypeName | tuple[type, str]) -> Self:
        """Classes whose instances may be event bodies and come back as themselves. `TypeError` or `ValueError` for what
        cannot be one."""
        TypeRegistry(*self._types, *types)
        self._types += types
        return self

    def compress(self, algorithm: str = "zlib", **options: Any) -> Self:
        """Compress payloads; see `CompressedSerializer`. `TypeError` or `ValueError` for what it does not take."""
        check_options("compression", options, keywords_of(CompressedSerializer))
        self._compression = {"algorithm": algorithm, **options}
        CompressedSerializer(MsgpackSerializer(), **self._compression)
        return self

    def encrypt_with(self, keys: bytes | Mapping[str, bytes] | Keys) -> Self:
        """Encrypt payloads; see `EncryptedSerializer`. `TypeError` or `ValueError` for what are no keys."""
        self._keys = Keys.of(keys)
        return self

    # ---- hooks ----

    def hook_into_pipeline_using(self, *hooks: Any) -> Self:
        """Hooks, called in the order in which they are given. `TypeError` for what is no instance of a hook."""
        self._hooks += map(checked_hook, hooks)
        return self

    def using_event_upconversion(self) -> Self:
        """Say that old events are converted as they are read; `add_converter` says how."""
        return self

    def add_converter(self, old_type: type, convert: Callable[[Any], Any]) -> Self:
        """Bodies of exactly `old_type` are read as what `convert` makes of them, until no converter fits.

        A result of `old_type` itself, as a newer `dict` of an older one, is not converted again. `TypeError` for what
        is no class or cannot be called, `ValueError` for a second converter of a type.
        """
        if not isinstance(old_type, type):
            raise TypeError(f"a class is needed, not {old_type!r}")
        if not callable(convert):
            raise TypeError(f"the converter of {old_type.__qualname__} must be a function, not {convert!r}")
        if old_type in self._converters:
            raise ValueError(f"{old_type.__qualname__} has a converter already")
        self._converters[old_type] = convert
        return self

    # ---- dispatch ----

    def using_synchronous_dispatch_scheduler(
        self, dispatcher: Dispatcher | Callable[..., Any] | None = None, *, retry: Retry | None = None
    ) -> Self:
        """Deliver each commit before the committing call returns."""
        return self._schedule(SynchronousDispatchScheduler, dispatcher, retry)

    def using_asynchronous_dispatch_scheduler(
        self, dispatcher: Dispatcher | Callable[..., Any] | None = None, *, retry: Retry | None = None
    ) -> Self:
        """Deliver commits in a thread of the store's own."""
        return self._schedule(AsynchronousDispatchScheduler, dispatcher, retry)

    def _schedule(
        self, scheduler: type[Scheduler], dispatcher: Dispatcher | Callable[..., Any] | None, retry: Retry | None
    ) -> Self:
        if retry is not None and not isinstance(retry, Retry):
            raise not_a(Retry, retry)
        self._scheduler = scheduler
        self._retry = retry
        return self if dispatcher is None else self.dispatch_to(dispatcher)

    def dispatch_to(self, dispatcher: Dispatcher | Callable[..., Any], *, start: bool = True) -> Self:
        """Who gets the commits; a plain function is wrapped, and so is who has no `close`. Without a scheduler,
        synchronously.

        Delivery starts when the store is built, or with `start=False` at `store.start_dispatching()`. A second one is a
        `ValueError`: a commit is marked once, for one of them.
        """
        if isinstance(dispatcher, type) and hasattr(dispatcher, "dispatch"):
            raise TypeError(f"{dispatcher.__qualname__} is a class: pass an instance of it as the dispatcher")
        if not isinstance(dispatcher, Dispatcher):
            # One that has nothing to let go of may have no `close`.
            dispatcher = DelegateMessageDispatcher(getattr(dispatcher, "dispatch", dispatcher))
        if self._dispatcher is not None and self._dispatcher is not dispatcher:
            raise ValueError(
                "a dispatcher is given already, and a store has one: let it call the others, or let them subscribe"
            )
        self._dispatcher = dispatcher
        self._start_dispatching = start
        self._scheduler = self._scheduler or SynchronousDispatchScheduler
        return self

    # ---- building ----

    def build(self) -> EventStore:
        """The store, open; what an earlier process left undispatched is delivered from here on.

        `ValueError` for a dispatcher of a store that is open read-only, or keeps no dispatch marks; `TypeError` for an
        engine whose calls are awaited.
        """
        engine = self._make_engine()
        if inspect.iscoroutinefunction(engine.commit):
            raise TypeError(f"the calls of {type(engine).__name__} are awaited: use build_async()")
        store: EventStore | None = None
        try:
            engine.initialize()
            hooks = self._all_hooks()
            if self._scheduler is None:
                return EventStore(engine, hooks)
            dispatcher = self._dispatcher or NullDispatcher()
            scheduler = self._scheduler(engine, dispatcher, select=hooks.select, retry=self._retry)
            store = EventStore(engine, hooks, scheduler)
            _check_marks(engine)
            if self._start_dispatching:
                store.start_dispatching()
            return store
        except BaseException:
            (engine if store is None else store).close()
            raise

    async def build_async(self) -> AsyncEventStore:
        """The same store for the tasks of this event loop. Hooks and dispatchers may be coroutine functions."""
        engine = await awaiting_made(self._make_engine)
        store: AsyncEventStore | None = None
        try:
            await engine.initialize()
            hooks = self._all_hooks()
            if self._scheduler is None:
                return AsyncEventStore(engine, hooks)
            in_loop = InLoop()
            scheduler = self._scheduler(
                blocking(engine),
                LoopDispatcher(self._dispatcher or NullDispatcher(), in_loop),
                select=selecting_in_loop(hooks, in_loop),
                retry=self._retry,
            )
            store = AsyncEventStore(engine, hooks, AwaitedScheduler(scheduler))
            await in_thread(lambda: _check_marks(blocking(engine)))
            if self._start_dispatching:
                await store.start_dispatching()
            return store
        except BaseException:
            await (engine if store is None else store).close()
            raise

    def _all_hooks(self) -> Hooks:
        converters = [EventUpconverter(self._converters)] if self._converters else []
        return Hooks([*converters, *self._hooks])

    def _make_engine(self) -> PersistenceEngine:
        if self._engine is None:
            return engine_for(self._target, serializer=self._make_serializer(), **self._options)
        for given, what in (
            (self._serializer, "a serializer"),
            (self._types, "registered types"),
            (self._compression, "compression"),
            (self._keys, "encryption"),
        ):
            if given:
                raise ValueError(f"an engine that is made already brings its own serializer; give it {what} there")
        return self._engine

    def _make_serializer(self) -> Serializer:
        serializer = self._serializer
        if serializer is None:
            serializer = MsgpackSerializer(TypeRegistry(*self._types))
        elif isinstance(serializer, str):
            serializer = neventstore.NEventStoreJson(TypeRegistry(*self._types))
        elif self._types:
            raise ValueError("types are registered with the serializer that is given, not beside it")
        if self._compression is not None:
            serializer = CompressedSerializer(serializer, **self._compression)
        if self._keys is not None:
            serializer = EncryptedSerializer(serializer, self._keys)
        return serializer


def _check_marks(engine: PersistenceEngine) -> None:
    """Whoever dispatches must mark what was dispatched: `ValueError` where that is not possible."""
    refused = getattr(engine, "marks_refused", None)
    if refused is not None:
        raise ValueError(
            f"what is dispatched of this store cannot be marked, so build it without a dispatcher: {refused}"
        )
    if getattr(engine, "read_only", False):
        raise ValueError(
            "a store that is open read-only cannot mark commits as dispatched: build it without a dispatcher, or "
            "without read_only=True"
        )


def open_async(target: str | os.PathLike[str], **options: Any) -> OpeningStore:
    """`await` it or enter it with `async with`: the store at a path or URL for the tasks of this event loop."""
    return OpeningStore(Wireup.init().using(target, **options).build_async)


def open(target: str | os.PathLike[str], **options: Any) -> EventStore:
    """The store at a path (the file engine) or URL, with that engine's options."""
    return Wireup.init().using(target, **options).build()
