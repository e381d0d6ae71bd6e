"""A mistyped name in a YAML file, told before torch and Lightning are imported.

The classes of this project are looked up in their sources, without importing them. What cannot be known for certain
that way (another package's class, keywords that are handed to who knows whom) is left to the parser, which checks all.
"""

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fex.keywords import close_names
from fex.storage.resources import config_path

__all__ = ["first_mistake"]

_OWN = ("fex", "lightning_modules", "datamodules")
# What stands at the top of a file of each program, and beside a class; a test compares them with the parsers.
TOP = {
    "train": (
        "seed_everything", "model", "data", "trainer", "threads", "overwrite", "ckpt_path", "weights_only", "verbose",
        "return_predictions",
    ),
    "bench": (
        "black_box", "data", "features", "methods", "only", "protocols", "reference", "show", "limit", "output",
        "resume", "device", "seed", "threads",
    ),
}  # fmt: skip
_OF_A_CLASS = ("class_path", "init_args", "dict_kwargs", "training")  # training: of a method in a benchmark


class _Found(NamedTuple):
    """A name's definition, and the module that has it."""

    node: ast.AST
    module: str


@cache
def _tree(module: str) -> ast.Module | None:
    """Source of a module, found without importing the packages above it."""
    root, *rest = module.split(".")
    spec = importlib.util.find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(next(iter(spec.submodule_search_locations)), *rest)
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(path.read_bytes()) if path.is_file() else None


def _names(module: str) -> dict[str, Any]:
    """What a module defines (a node), imports (module and name) or assigns (None), by name."""
    found: dict[str, Any] = {}
    for node in getattr(_tree(module), "body", []):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {each.id: None for each in node.targets if isinstance(each, ast.Name)}
    return found


def _look_up(module: str, name: str) -> _Found | None:
    found = _names(module).get(name)
    for _ in range(10):  # imports of imports
        if not isinstance(found, tuple):
            break
        module, name = found
        found = _names(module).get(name)
    return _Found(found, module) if isinstance(found, ast.AST) else None


def _own_parameters(function: ast.FunctionDef, *, method: bool) -> tuple[list[str], bool | None]:
    """Names of the parameters; whether others go to the base alone; None where there are others that go elsewhere."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)][method:]
    if given.kwarg is None:
        return names, False
    uses = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == given.kwarg.arg]
    handed = [
        each.value
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
        for each in call.keywords
        if each.arg is None
    ]
    for each in ast.walk(function):  # looked at, or added to: no other names are taken by that
        if isinstance(each, ast.AugAssign):
            handed.append(each.target)
        elif isinstance(each, ast.Attribute) and each.attr == "get":
            handed.append(each.value)
    return names, True if all(use in handed for use in uses) else None


def _parameters(found: _Found) -> list[str] | None:
    """What a class or function takes; None where that cannot be known for certain."""
    node = found.node
    if isinstance(node, ast.FunctionDef):
        names, more = _own_parameters(node, method=False)
        return names if more is False else None
    if not isinstance(node, ast.ClassDef) or node.keywords:
        return None
    names, more = [], True
    init = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if init is not None:
        names, more = _own_parameters(init, method=True)
    elif any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        names = [each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and hasattr(each.target, "id")]
    if more is not True:
        return names if more is False else None
    for base in node.bases:
        above = _look_up(found.module, base.id) if isinstance(base, ast.Name) else None
        if isinstance(base, ast.Name) and base.id in ("ABC", "Protocol"):
            continue
        theirs = None if above is None else _parameters(above)
        if theirs is None:
            return None
        names = [*names, *theirs]
    return names


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping that is a class and its arguments, or a part of that, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("class_path"), str) or "init_args" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _entries(each)


def _mistake(entry: dict[str, Any]) -> str | None:
    if wrong := [key for key in entry if key not in _OF_A_CLASS]:
        return f"beside class_path and init_args stands {wrong[0]!r}{close_names(str(wrong[0]), _OF_A_CLASS[:3])}"
    path, arguments = entry.get("class_path"), entry.get("init_args") or {}
    if path is None:  # arguments alone, of a class that another file names
        return None
    module, _, name = path.rpartition(".")
    if module.split(".")[0] not in _OWN or not isinstance(arguments, dict):
        return None
    if _tree(module) is None:
        return f"there is no module {module!r} (class_path: {path})."
    found = _look_up(module, name)
    if found is None:
        known = _names(module)
        return (
            None
            if name in known or "__getattr__" in known
            else f"{module} has no {name!r}{close_names(name, list(known))}"
        )
    known = _parameters(found)
    wrong = [] if known is None else [key for key in arguments if key not in known]
    return f"{path} takes no {wrong[0]!r}{close_names(wrong[0], known or [])}" if wrong else None


def _mistakes(content: Any, program: str) -> Iterator[str | None]:
    """Of one file, from its top down."""
    if not isinstance(content, dict):
        return
    for key in content:
        if key not in TOP[program]:
            yield f"there is no setting {key!r}{close_names(str(key), TOP[program])}"
    trainer, node = content.get("trainer"), _trainer()
    known = None if node is None else _parameters(_Found(node, ""))
    for key in trainer if isinstance(trainer, dict) and known else ():
        if key not in known:
            yield f"trainer takes no {key!r}{close_names(str(key), known)}"
    yield from map(_mistake, _entries(content))


def first_mistake(argv: Sequence[str], program: str = "train") -> str | None:
    """A sentence on the first mistake that is certain in the files after `--config`; None where there is none.

    Args:
        argv: arguments of the command line.
        program: "train" or "bench".
    """
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    names = [after if word == "--config" else word.partition("=")[2] for word, after in pairs if _is_config(word)]
    for name in names:
        if not name or "\n" in name:  # the parser says what is missing, or reads it
            return None
        try:
            path = config_path(name)
        except FileNotFoundError as error:
            return str(error)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError):  # the parser says what is wrong
            return None
        if mistake := next(filter(None, _mistakes(content, program)), None):
            return f"{path}: {mistake}"
    return None


def _is_config(word: str) -> bool:
    return word == "--config" or word.startswith("--config=")


def _trainer() -> ast.AST | None:
    """Lightning's Trainer."""
    tree = _tree("lightning.pytorch.trainer.trainer")
    return next((n for n in getattr(tree, "body", []) if isinstance(n, ast.ClassDef) and n.name == "Trainer"), None)
