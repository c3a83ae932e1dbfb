"""The builder picks parts and gives a store; what does not fit together is said when it is built."""

from __future__ import annotations

from dataclasses import make_dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import fsstore
from fsstore import EventStore, NullDispatcher, PipelineHook, SerializationError, StoreClosedError, Wireup
from fsstore.engines import known_schemes
from fsstore.engines.file import FileEngine
from fsstore.engines.memory import MemoryEngine
from fsstore.engines.threaded import ThreadedEngine
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import first_attempt

Event, OtherEvent = make_dataclass("Event", ["number"]), make_dataclass("Event", ["text"])


def test_a_path_means_the_file_engine(tmp_path: Path) -> None:
    for name in (
        tmp_path / "a.store",
        str(tmp_path / "b.store"),
        f"file:{tmp_path}/c.store",
        f"file://{tmp_path}/d%20e",
    ):
        with fsstore.open(name) as store:
            assert isinstance(store.advanced, FileEngine)
    assert (tmp_path / "d e").is_dir()


def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with fsstore.open("orders.store"):
        pass
    assert (tmp_path / "orders.store" / "store.meta").is_file()


def test_a_path_given_as_such_is_never_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Wireup.init().using_file_persistence("memory:").build() as store:
        assert isinstance(store.advanced, FileEngine)
    assert (tmp_path / "memory:").is_dir()


def test_a_url_means_the_engine_of_its_scheme() -> None:
    with fsstore.open("memory:") as store:
        assert isinstance(store.advanced, MemoryEngine)
    assert {"file", "memory"} <= set(known_schemes())


def test_without_a_word_the_store_is_in_memory() -> None:
    with Wireup.init().build() as store:
        assert isinstance(store.advanced, MemoryEngine)


def test_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'nosuch'.*known are") as refused:
        fsstore.open("nosuch://host/db")
    assert str(refused.value).endswith(", ".join(sorted(known_schemes())))


def test_the_password_of_an_unknown_scheme_is_not_shown() -> None:
    with pytest.raises(ValueError, match="'postgres'") as refused:
        fsstore.open("postgres://me:secret@host/db")
    assert "secret" not in str(refused.value)


def test_the_case_of_a_scheme_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (f"FILE:{tmp_path}/a.store", f"File://{tmp_path}/b.store", "MEMORY:", f"SQLite:///{tmp_path}/c.db"):
        fsstore.open(url).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.store", "b.store", "c.db"]


@pytest.mark.parametrize("name", ["orders#2.store", "two\nlines", "tab\tstop"])
def test_what_a_file_url_would_lose_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is written %"):
        fsstore.open(f"file:{tmp_path}/{name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["orders#2.store", "two\nlines", "\u00e4 50%?", "\udcff"])
def test_the_url_of_a_path_is_that_path(tmp_path: Path, name: str) -> None:
    fsstore.open((tmp_path / name).as_uri()).close()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_host_in_a_file_url_is_refused() -> None:
    with pytest.raises(ValueError, match="on this machine"):
        fsstore.open("file://elsewhere/orders.store")


def test_another_package_can_add_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def factory(url: str, *, serializer: Any = None, **options: Any) -> MemoryEngine:
        made.append((url, options))
        return MemoryEngine(serializer)

    point = EntryPoint("outside", "nowhere:factory", "fsstore.engines")
    monkeypatch.setattr(EntryPoint, "load", lambda self: factory)
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group, name=None: [point] if name in (None, "outside") else []
    )
    with fsstore.open("outside+driver://host/name", colour="blue") as store:
        store.commit(first_attempt("s"))
    assert made == [("outside+driver://host/name", {"colour": "blue"})]


def test_an_engine_that_is_made_already_is_used_and_initialized() -> None:
    engine = MemoryEngine()
    with Wireup.init().using_engine(engine).build() as store:
        assert store.advanced is engine
    with pytest.raises(StoreClosedError):
        engine.commit(first_attempt("s"))


def test_an_engine_brings_its_own_serializer() -> None:
    with pytest.raises(ValueError, match="brings its own serializer"):
        Wireup.init().using_engine(MemoryEngine()).compress().build()
    with pytest.raises(TypeError):
        Wireup.init().using_engine("no engine")  # type: ignore[arg-type]


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"^a memory store has no option 'colour'; it has none$"):
        fsstore.open("memory:", colour="blue")


@pytest.mark.parametrize("durability", ["commit", "os"])
def test_the_file_engine_takes_its_options(tmp_path: Path, durability: str) -> None:
    wireup = Wireup.init().using_file_persistence(tmp_path / "s", durability=durability, fold_bytes=4096)
    with wireup.build() as store:
        store.commit(first_attempt("s"))
    with Wireup.init().using_file_persistence(tmp_path / "s", read_only=True).build() as store:
        assert len(list(store.get_from("s"))) == 1
        attempt = first_attempt("t")
        with pytest.raises(fsstore.StorageError, match=rf"{attempt.commit_id} .*'t' .*'default'.* is open read-only"):
            store.commit(attempt)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("durability", "maybe", ValueError),
        ("journal_bytes", 1, ValueError),
        ("fold_bytes", "1 MiB", TypeError),
        ("no_such_option", 1, TypeError),
        ("read_only", "no", TypeError),
        ("create", 0, TypeError),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_made(
    tmp_path: Path, option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        fsstore.open(tmp_path / "s", **{option: value})
    assert list(tmp_path.iterdir()) == []


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(fsstore.StorageError, match="no store at"):
        Wireup.init().using_file_persistence(tmp_path / "s", create=False).build()
    with pytest.raises(fsstore.StorageError, match="no store at"):
        fsstore.open(tmp_path / "s", read_only=True)
    assert list(tmp_path.iterdir()) == []


class TestSerialization:
    def write(self, path: Path, wireup: Wireup) -> None:
        with wireup.using_file_persistence(path).build() as store:
            stream = store.create_stream("s")
            stream.add({"text": "again and again " * 50})
            stream.commit_changes()

    def read(self, path: Path, wireup: Wireup) -> str:
        with wireup.using_file_persistence(path, create=False).build() as store:
            return str(store.open_stream("s").committed_events[0].body["text"])

    @pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
    def test_compressed(self, tmp_path: Path, algorithm: str) -> None:
        self.write(tmp_path / "s", Wireup.init().compress(algorithm))
        assert self.read(tmp_path / "s", Wireup.init().compress()).startswith("again")
        with pytest.raises(SerializationError, match=r"compressed.*compress\(\)"):
            self.read(tmp_path / "s", Wireup.init())

    def test_encrypted(self, tmp_path: Path) -> None:
        key = bytes(range(32))
        self.write(tmp_path / "s", Wireup.init().compress().encrypt_with(key))
        assert self.read(tmp_path / "s", Wireup.init().compress().encrypt_with(key)).startswith("again")
        with pytest.raises(SerializationError, match="key"):
            self.read(tmp_path / "s", Wireup.init())
        with pytest.raises(SerializationError, match="authenticate"):
            self.read(tmp_path / "s", Wireup.init().compress().encrypt_with(bytes(32)))
        for path in (tmp_path / "s").rglob("*"):
            assert not path.is_file() or b"again and" not in path.read_bytes()

    def test_a_serializer_of_ones_own(self, tmp_path: Path) -> None:
        class Text:
            def dumps(self, value: Any, /) -> bytes:
                return repr(value).encode()

            def loads(self, data: bytes, /) -> Any:
                import ast

                return ast.literal_eval(data.decode())

        self.write(tmp_path / "s", Wireup.init().using_serializer(Text()))
        assert self.read(tmp_path / "s", Wireup.init().using_serializer(Text())).startswith("again")


class TestWrongArguments:
    """What cannot work is said at the step, not when the first commit is made."""

    @pytest.mark.parametrize(
        ("keys", "error"),
        [(None, TypeError), (5, TypeError), ("a", TypeError), (b"", ValueError), ({}, ValueError)],
    )
    def test_no_keys(self, keys: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            Wireup.init().encrypt_with(keys)

    @pytest.mark.parametrize("serializer", [None, 5, object(), MsgpackSerializer])
    def test_no_serializer(self, serializer: Any) -> None:
        with pytest.raises(TypeError, match="a serializer is an instance with `dumps` and `loads`"):
            Wireup.init().using_serializer(serializer)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"algorithm": "lz4"}, ValueError),
            ({"level": 99}, ValueError),
            ({"algorithm": "zstd", "level": 99}, ValueError),
            ({"level": "high"}, TypeError),
            ({"min_bytes": None}, TypeError),
            ({"max_bytes": 1.5}, TypeError),
        ],
    )
    def test_no_compression(self, options: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            Wireup.init().compress(**options)
        with pytest.raises(TypeError, match="compression has no option 'colour'; it has algorithm, level"):
            Wireup.init().compress(colour="blue")

    @pytest.mark.parametrize(
        ("types", "error"), [((5,), TypeError), ((int,), TypeError), ((Event, OtherEvent), ValueError)]
    )
    def test_no_types(self, types: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            Wireup.init().register_types(*types)
        first, *others = types
        if others:
            with pytest.raises(error):
                Wireup.init().register_types(first).register_types(*others)

    def test_no_engine_for_threads(self) -> None:
        engine = MemoryEngine()
        with pytest.raises(TypeError, match=r"ThreadedEngine are awaited: use build_async\(\)"):
            Wireup.init().using_engine(ThreadedEngine(engine)).build()  # type: ignore[arg-type]
        engine.commit(first_attempt("s"))  # it was left as it was

    def test_no_instances(self) -> None:
        with pytest.raises(TypeError, match="MemoryEngine is a class: pass an instance"):
            Wireup.init().using_engine(MemoryEngine)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="NullDispatcher is a class: pass an instance"):
            Wireup.init().dispatch_to(NullDispatcher)
        with pytest.raises(TypeError, match="a Retry is needed, not int"):
            Wireup.init().using_synchronous_dispatch_scheduler(retry=3)  # type: ignore[arg-type]

    def test_half_a_dispatcher(self) -> None:
        class Half:
            def close(self) -> None: ...

        wrong: Any = Half()
        with pytest.raises(TypeError, match=r"a function is needed, or what has a `dispatch`, not Half$"):
            Wireup.init().dispatch_to(wrong)

    def test_a_dispatcher_without_anything_to_close(self) -> None:
        delivered: list[Any] = []

        class Dispatching:
            def dispatch(self, commit: Any) -> None:
                delivered.append(commit)

        one: Any = Dispatching()
        with Wireup.init().dispatch_to(one).build() as store:
            assert [store.commit(first_attempt("s"))] == delivered
        a_class: Any = Dispatching
        with pytest.raises(TypeError, match="Dispatching is a class: pass an instance"):
            Wireup.init().dispatch_to(a_class)

    def test_two_dispatchers(self) -> None:
        first = NullDispatcher()
        wireup = Wireup.init().using_synchronous_dispatch_scheduler(first).dispatch_to(first)
        for give in (wireup.dispatch_to, wireup.using_asynchronous_dispatch_scheduler):
            with pytest.raises(ValueError, match="a dispatcher is given already"):
                give(print)

    @pytest.mark.parametrize(("old_type", "convert"), [(int, None), (int, "len"), (None, len), ("int", len)])
    def test_no_converter(self, old_type: Any, convert: Any) -> None:
        with pytest.raises(TypeError, match=r"a class is needed|must be a function"):
            Wireup.init().using_event_upconversion().add_converter(old_type, convert)

    @pytest.mark.parametrize("hook", [None, 5, PipelineHook, [PipelineHook()]])
    def test_no_hook(self, hook: Any) -> None:
        with pytest.raises(TypeError, match="pass an instance"):
            Wireup.init().hook_into_pipeline_using(PipelineHook(), hook)
        with pytest.raises(TypeError, match="pass an instance"):
            EventStore(MemoryEngine(), [hook])

    def test_no_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match="needs a path"):
            Wireup.init().using_file_persistence("")
        with pytest.raises(ValueError, match="needs a path"):
            fsstore.open("")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("start", [True, False])
    def test_a_dispatcher_that_could_mark_nothing(self, tmp_path: Path, start: bool) -> None:
        fsstore.open(tmp_path / "s").close()
        delivered: list[fsstore.Commit] = []
        for wireup in (
            Wireup.init().using_file_persistence(tmp_path / "s", read_only=True),
            Wireup.init().using(f"file:{tmp_path}/s?read_only=true").using_asynchronous_dispatch_scheduler(),
            Wireup.init().using_engine(FileEngine(tmp_path / "s", read_only=True)),
        ):
            with pytest.raises(ValueError, match="read-only"):
                wireup.dispatch_to(delivered.append, start=start).build()


def test_a_store_that_fails_to_build_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no store today")

    with monkeypatch.context() as patched:
        patched.setattr("fsstore.wireup.EventStore", fail)
        with pytest.raises(RuntimeError, match="no store today"):
            fsstore.open(tmp_path / "s")
    with fsstore.open(tmp_path / "s") as store:
        store.advanced.drop()  # refused while anybody else has the store open
    assert not (tmp_path / "s").exists()
