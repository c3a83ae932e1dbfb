"""Imports run one way, and the core needs three packages: the architecture, held by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import fsstore

PACKAGE = Path(fsstore.__file__).parent
CORE = {"msgpack", "portalocker", "crc32c", "fsstore"}
# Where a module of the first column may not look.
FORBIDDEN = {
    "errors": {"fsstore"},
    "model": {"fsstore"},
    "options": {"fsstore"},
    "engine": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch", "fsstore.serialization"},
    "steps": {"fsstore"},
    "hooks": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "stream": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "store": {"fsstore.engines", "fsstore.wireup"},
    "serialization": {"fsstore.engines", "fsstore.store", "fsstore.stream", "fsstore.wireup", "fsstore.dispatch"},
    "aio": {"fsstore.engines", "fsstore.wireup"},
    "objects": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "interchange": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "importing": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "copying": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "dispatch": {"fsstore.engines", "fsstore.store", "fsstore.wireup"},
    "engines": {"fsstore.store", "fsstore.stream", "fsstore.wireup", "fsstore.dispatch", "fsstore.cli"},
    "testing": {"fsstore.engines", "fsstore.store", "fsstore.wireup", "fsstore.dispatch"},
    "wireup": {"fsstore.cli", "fsstore.demo"},
}
ENGINES = ("file", "memory", "mongo", "sql")
# Who puts parts together; only these import each other.
TOGETHER = ("cli", "demo", "wireup", "__init__", "__main__")
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
    tree = parsed(path)
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield str(node.module)


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_run_one_way(part: str) -> None:
    for path in modules():
        if path.relative_to(PACKAGE).parts[0] not in (part, f"{part}.py"):
            continue
        for name in imports(path):
            for forbidden in FORBIDDEN[part]:
                inside = name.startswith(f"fsstore.{part}") or (part == "model" and name == "fsstore.errors")
                assert inside or not (name == forbidden or name.startswith(forbidden + ".")), f"{path}: {name}"


def test_nobody_imports_what_puts_parts_together() -> None:
    for path in modules():
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in TOGETHER:
            for name in imports(path):
                assert name.split(".")[1:2] not in (["cli"], ["demo"], ["wireup"]), f"{path}: {name}"


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_do_not_know_each_other(engine: str) -> None:
    for path in sorted((PACKAGE / "engines").rglob("*.py")):
        if path.relative_to(PACKAGE / "engines").parts[0].removesuffix(".py") != engine:
            for name in imports(path):
                assert name.split(".")[:3] != ["fsstore", "engines", engine], f"{path}: {name}"


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
