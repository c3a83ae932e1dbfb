"""What the documentation shows is run: every python block, in order, a page's blocks sharing their names.

What it names is there: links, files, modules, the verbs and options of the command line.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from fsstore.engines.file.options import Options

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Each block with the line it starts in."""
    text = page.read_text()
    return [(text.count("\n", 0, found.start()) + 2, found[1]) for found in _BLOCK.finditer(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_its_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "example"}

    async def run_all() -> None:
        for line, block in blocks(page):
            tree = ast.increment_lineno(ast.parse(block), line - 1)
            code = compile(tree, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            waiting = eval(code, names)
            if inspect.iscoroutine(waiting):
                await waiting

    asyncio.run(run_all())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_it_names_are_there(page: Path) -> None:
    for name in re.findall(r"`((?:tests|tools|bench|fsstore|docs)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def commands(page: Path) -> list[list[str]]:
    """Every `fsstore …` that the page shows, in a line of text or of a block, as words."""
    text = page.read_text()
    shown = re.findall(r"`fsstore ([a-z][^`\n]*)`", text)
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        shown += re.findall(r"^fsstore ([a-z].*?)(?: +#.*)?$", block, re.MULTILINE)
    return [command.split() for command in shown]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_the_commands_that_it_shows_are_there(page: Path) -> None:
    typer = pytest.importorskip("typer", reason="pip install 'fsstore[cli]'")
    from fsstore.cli.app import app

    verbs = typer.main.get_command(app).commands
    for verb, *words in commands(page):
        assert verb in verbs, f"{page.name} shows fsstore {verb}"
        options = {option for parameter in verbs[verb].params for option in parameter.opts}
        for word in words:
            assert not word.startswith("-") or word == "-" or word in options, f"{page.name}: fsstore {verb} {word}"


def test_the_architecture_names_every_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = {name for name in re.findall(r"\b(\w+\.py)\b", page) if not name.startswith("test_")}
    there = {path.name for path in (ROOT / "fsstore").rglob("*.py")}
    assert named <= there, f"gone: {named - there}"
    described = {"engines/file/repair", "engines/file/verify"}  # as wholes
    for folder in ("dispatch", "engines", "engines/file", "engines/file/*", "engines/mongo", "engines/sql"):
        for path in (ROOT / "fsstore").glob(f"{folder}/*.py"):
            whole = path.parent.relative_to(ROOT / "fsstore").as_posix() in described
            assert whole or path.name in {*named, "__init__.py"}, path


def test_every_option_of_the_file_engine_is_on_the_page_for_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", page, re.MULTILINE)
    defaults = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    for option in fields(Options):
        assert option.name in defaults
        if option.name.endswith("_bytes"):
            number, unit = defaults[option.name].split()
            assert int(number) * {"KiB": 1 << 10, "MiB": 1 << 20}[unit] == option.default, option.name
        elif isinstance(option.default, int) and not option.name.endswith("_mode"):
            assert defaults[option.name].replace(",", "").strip("`") == str(option.default), option.name
