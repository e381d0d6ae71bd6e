"""The pages: every file that they name is there, every page is in the contents, nothing is loaded from elsewhere."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def text_of(page):
    """The page without its code blocks."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def contents(entries):
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from contents(value) if isinstance(value, list) else [value]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).is_file(), target


def test_every_page_is_in_the_contents():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    found = set(contents(yaml.safe_load(settings)["nav"]))
    assert found == {page.relative_to(DOCS).as_posix() for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_class_paths_of_the_pages_exist(page):
    for module, name in set(
        re.findall(r"`((?:fex|datamodules|lightning_modules)(?:\.[a-z_]+)*)\.([A-Z]\w+)", text_of(page))
    ):
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_files_that_pages_take_in_exist():
    raw = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = set(re.findall(r'^--8<-- "(.+)"$', raw, re.MULTILINE))
    assert {name for name in found if not (ROOT / name).is_file()} == set()
    assert "--8 <" not in raw  # as a formatter of Python leaves it
    assert found >= {path.relative_to(ROOT).as_posix() for path in (DOCS / "examples").glob("*.py")}


def test_configs_of_the_pages_exist():
    names = {
        name
        for page in PAGES
        for name in re.findall(r"--config (\S+\.yaml)", page.read_text(encoding="utf-8"))
        if name not in ("mine.yaml",) and "/" not in name
    }
    assert names
    assert {name for name in names if not (ROOT / "configs" / name).is_file()} == set()


def test_the_reference_has_every_public_class_and_function():
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    found = set(re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE))
    missing = []
    for package in set(re.findall(r"^## ([\w.]+)$", pages, re.MULTILINE)):
        module = importlib.import_module(package)
        values = {name: getattr(module, name) for name in module.__all__}
        own = {n: v for n, v in values.items() if inspect.isclass(v) or inspect.isfunction(v)}
        missing += [n for n, v in own.items() if f"{v.__module__}.{v.__qualname__}" not in found]
    assert missing == []


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    for page in tmp_path.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=\"([^\"]+)\"", html)
        loaded += re.findall(
            r"<link\b[^>]*\brel=\"(?:stylesheet|preconnect|icon|preload)\"[^>]*\bhref=\"([^\"]+)\"", html
        )
        assert [target for target in loaded if re.match(r"(https?:)?//", target)] == [], page.name
        assert "```math" not in html
