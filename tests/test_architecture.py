"""Imports run one way, and the core needs three packages: the architecture, held by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fsstore

PACKAGE = Path(fsstore.__file__).parent
CORE = {"msgpack", "portalocker", "crc32c", "fsstore"}
# The package from the top down: a part imports what is in it and what stands in the rows below.
PARTS: tuple[dict[str, set[str]], ...] = (
    {"the command line": {"cli", "demo", "__main__"}},
    {"what a user imports": {"__init__"}},
    {"putting parts together": {"wireup"}},
    {"the store for tasks": {"aio"}},
    {"the store": {"store"}},
    {
        "a stream in hand": {"stream"},
        "hooks": {"hooks"},
        "delivery": {"dispatch"},
        "importing": {"importing"},
        "copying": {"copying"},
    },
    {"commits as text": {"interchange"}, "engines": {"engines"}, "the suite for engines": {"testing"}},
    {"the seam": {"engine"}, "values as bytes": {"serialization"}},
    {"values": {"model"}, "errors": {"errors"}, "options": {"options"}, "steps": {"steps"}},
)
# Nobody else knows an engine.
KNOW_ENGINES = {"engines", "wireup", "cli", "demo"}
ENGINES = ("file", "memory", "mongo", "sql")
# The file engine from the top down: a part imports what is in it and what stands in the rows below.
FILE_ENGINE: tuple[dict[str, set[str]], ...] = (
    {"repairing": {"repair"}},
    {"the front": {"engine", "delivery", "awaiting", "looping", "__init__"}, "verifying": {"verify"}},
    {"a store's life": {"lifetime"}},
    {"folding": {"folding"}},
    {"writing": {"writing"}, "reading": {"reading"}},
    {"what is known": {"state"}},
    {
        "the log": {"log"},
        "streams": {"streams"},
        "small values": {"values"},
        "between processes": {"processes"},
    },
    {"files": {"files"}, "limits and sizes": {"options"}},
    {"bytes": {"formats"}, "the disk": {"disk"}},
    {"on their own": {"failures", "collector", "pace"}},
)
# Optional libraries: imported only by these parts.
OPTIONAL = {
    "cli": {"typer", "rich", "click"},
    "demo": {"typer", "rich", "click"},
    "testing": {"hypothesis", "pytest"},
    "engines/mongo": {"pymongo", "bson"},
    "engines/sql": {"sqlalchemy"},
    "engines/sql/neventstore": {"sqlalchemy"},
    "serialization/msgspec_decoding.py": {"msgspec"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """The modules that it imports, and what it imports from them, which may be modules too."""
    for node in parsed(path).body if top_level_only else ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def check_downwards(folder: Path, rows: tuple[dict[str, set[str]], ...], *, top_level_only: bool) -> None:
    package = ".".join(folder.relative_to(PACKAGE.parent).parts)
    place = {name: (row, part) for row, parts in enumerate(rows) for part in parts for name in parts[part]}
    assert place.keys() == {path.relative_to(folder).parts[0].removesuffix(".py") for path in folder.rglob("*.py")}
    for path in sorted(folder.rglob("*.py")):
        row, part = place[path.relative_to(folder).parts[0].removesuffix(".py")]
        for name in imports(path, top_level_only=top_level_only):
            before, inside, module = name.partition(f"{package}.")
            if not before and inside:
                below, other = place.get(module.partition(".")[0], place["__init__"])
                assert below > row or other == part, f"{path}: {name}"


def test_parts_import_downwards() -> None:
    check_downwards(PACKAGE, PARTS, top_level_only=False)


def test_the_parts_of_the_file_engine_import_downwards() -> None:
    check_downwards(PACKAGE / "engines" / "file", FILE_ENGINE, top_level_only=True)


def test_only_who_puts_parts_together_knows_an_engine() -> None:
    for path in modules():
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in KNOW_ENGINES:
            for name in imports(path):
                assert not f"{name}.".startswith("fsstore.engines."), f"{path}: {name}"


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_do_not_know_each_other(engine: str) -> None:
    for path in sorted((PACKAGE / "engines").rglob("*.py")):
        if path.relative_to(PACKAGE / "engines").parts[0].removesuffix(".py") != engine:
            for name in imports(path):
                assert name.split(".")[:3] != ["fsstore", "engines", engine], f"{path}: {name}"


def test_no_modules_import_each_other() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in modules()}
    known = {name: set(imports(path, top_level_only=True)) & names.keys() - {name} for name, path in names.items()}
    TopologicalSorter(known).prepare()  # raises where they go round


def test_only_the_command_line_repairs() -> None:
    for path in modules():
        repairs = path.parent.name in ("repair", "cli")
        for name in imports(path):
            assert repairs or not name.startswith("fsstore.engines.file.repair"), f"{path}: {name}"


def test_the_file_engine_asks_the_operating_system_in_its_seam_only() -> None:
    """Whoever opened a file elsewhere would follow links, give it other modes, and escape the simulated disk."""
    seam = {"disk.py", "directories.py", "mounts.py"}
    harmless = {"path.abspath", "path.dirname", "fspath", "PathLike", "getpid", "register_at_fork"}
    for path in sorted((PACKAGE / "engines" / "file").rglob("*.py")):
        if path.name in seam:
            continue
        tree = parsed(path)
        asked = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        outside = {name for name in asked if name.startswith("os.")} - {f"os.{name}" for name in harmless} - {"os.path"}
        assert not outside, f"{path}: {outside}"
        assert "open" not in calls, f"{path} opens a file"
        assert not {name.partition(".")[0] for name in imports(path)} & {"shutil", "pathlib", "tempfile", "io"}, path


def test_nothing_here_could_run_what_is_stored() -> None:
    """No pickles, no code made of text; modules are imported by names that stand in tables of the two modules below."""
    by_table = {PACKAGE / "engines" / "__init__.py", PACKAGE / "engines" / "sql" / "dialects.py"}
    for path in modules():
        names = {name.partition(".")[0] for name in imports(path)}
        assert not names & {"pickle", "marshal", "shelve", "copyreg", "runpy", "code", "codeop", "dill"}, path
        calls = {ast.unparse(node.func) for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)}
        assert not calls & {"eval", "exec", "compile", "__import__"}, path
        assert path in by_table or not calls & {"import_module", "importlib.import_module"}, path


def test_the_core_needs_three_packages() -> None:
    for path in modules():
        place = path.relative_to(PACKAGE)
        parts = (place.parts[0], place.parent.as_posix(), place.as_posix())
        optional = set().union(*(OPTIONAL.get(part, set()) for part in parts))
        for name in imports(path, top_level_only=True):
            root = name.partition(".")[0]
            allowed = root in CORE or root in sys.stdlib_module_names or root in optional
            assert allowed, f"{path} imports {name} at its top"


def test_importing_fsstore_imports_nothing_optional() -> None:
    program = "import sys, fsstore; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {
        "typer",
        "rich",
        "cryptography",
        "zstandard",
        "attrs",
        "pydantic",
        "sqlalchemy",
        "msgspec",
        "pytest",
    }


def test_every_module_says_what_it_is_for() -> None:
    for path in modules():
        assert ast.get_docstring(parsed(path)), f"{path} has no first paragraph"


def test_modules_of_tests_have_names_of_their_own() -> None:
    """Folders without `__init__.py` share one space of names, in which a second module of a name is an error."""
    tests = Path(__file__).parent
    shared = [path.name for path in tests.rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    assert sorted(set(shared)) == sorted(shared)
