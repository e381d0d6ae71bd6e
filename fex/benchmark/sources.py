"""Which files a class or a function of one's own runs: its module's, and those of the modules that this one imports."""

import ast
import importlib.util
import sysconfig
from functools import lru_cache
from pathlib import Path

import fex

__all__ = ["own_sources"]


# Of Python and of installed packages: where they are is asked once, for a run asks of thousands of files.
_INSTALLED = tuple(filter(None, map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))))


def own_sources(module: str, path: Path) -> dict[str, Path]:
    """Files of a module and of the modules that it imports, and so on, as far as these are nobody's packages.

    Args:
        module: its name.
        path: its file.
    """
    found: dict[str, Path] = {}
    waiting = [(module, path)]
    while waiting:
        name, file = waiting.pop()
        if name in found:
            continue
        found[name] = file
        if _is_own(file):
            waiting += [(other, origin) for other in _imported(name, file) if (origin := _own_file(other)) is not None]
    return found


def _is_own(path: Path) -> bool:
    """Not of Python, of an installed package or of this one, which count by their versions or as a whole."""
    installed = "site-packages" in path.parts or any(path.is_relative_to(folder) for folder in _INSTALLED)
    return not installed and not path.is_relative_to(Path(fex.__file__).parent)


def _own_file(module: str) -> Path | None:
    """The file of a module of one's own; no other package is imported to find it."""
    try:
        for name in dict.fromkeys((module.partition(".")[0], module)):
            spec = importlib.util.find_spec(name)
            origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
            if origin is None and spec is not None and spec.submodule_search_locations:
                origin = Path(next(iter(spec.submodule_search_locations)))  # a folder without __init__.py
            if origin is None or not _is_own(origin):
                return None
    except (ImportError, ValueError, AttributeError):
        return None
    return origin if origin.is_file() else None


def _imported(module: str, path: Path) -> tuple[str, ...]:
    """Names that a file imports, of modules or of what is in them."""
    return _names(path.read_bytes(), module if path.name == "__init__.py" else module.rpartition(".")[0])


@lru_cache(maxsize=1024)  # of the content, for a run asks of the same files again and again
def _names(source: bytes, package: str) -> tuple[str, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            if whole:
                found += [whole, *(f"{whole}.{alias.name}" for alias in node.names)]
    return tuple(found)
