"""Methods from a config: an explainer by class path, and what its results depend on."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch

from fex.benchmark.fingerprint import code_fingerprint, fingerprint, package_versions, referenced_files
from fex.benchmark.setting import Candidate
from fex.black_box.base import BlackBox
from fex.storage.old_layout import old_layout

__all__ = ["box_key", "build_candidate", "build_method"]


def _factory(class_path: str) -> Callable[..., Any]:
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"Found no method {class_path!r} ({error}): give an importable class_path.{old_layout(class_path)}"
        ) from error


def build_method(class_path: str, init_args: Mapping[str, Any], injected: Mapping[str, Any]) -> Any:
    """An explainer by class path; `injected` are handed to those whose signature asks for them.

    Raises:
        ValueError: no such class, or arguments it does not take.
    """
    factory = _factory(class_path)
    known, anything = _parameters(factory)
    unknown = sorted(set(init_args) - set(known))
    if unknown and not anything:
        raise ValueError(f"{class_path} does not take {unknown}; it takes {sorted(known)}.")
    arguments = {
        key: value
        for key, value in injected.items()
        # What is asked for without a default is given whatever its annotation: without it there is no method.
        if key in known and (known[key].default is known[key].empty or _admits(known[key].annotation, value))
    }
    for key, value in init_args.items():
        kinds = _kinds(known[key].annotation) if key in known else []
        if isinstance(value, str) and kinds and set(kinds) <= {bool, int, float}:
            raise ValueError(f"{class_path} got {key}={value!r}, expected {' or '.join(k.__name__ for k in kinds)}.")
    nested = {key: _nested(value, known.get(key), injected) for key, value in init_args.items()}
    return factory(**{**arguments, **nested})


def _nested(value: Any, parameter: inspect.Parameter | None, injected: Mapping[str, Any]) -> Any:
    """An argument: as it is, or built where it names a class, by `class_path` or as the word for one."""
    if isinstance(value, dict) and "class_path" in value:
        if unknown := sorted(set(value) - {"class_path", "init_args"}):
            raise ValueError(f"{value['class_path']} has {unknown} beside class_path and init_args.")
        return build_method(value["class_path"], value.get("init_args") or {}, injected)
    kinds = [] if parameter is None else _kinds(parameter.annotation)
    if isinstance(value, str) and "." in value and _names_one_of(value, kinds):
        return build_method(value, {}, injected)  # such as fex.images.Blur
    return value


def _names_one_of(class_path: str, kinds: list[type]) -> bool:
    """Whether a string is the path of a class of one of these kinds; the path of a file is none."""
    try:
        found = _factory(class_path)
    except ValueError:
        return False
    return inspect.isclass(found) and any(issubclass(found, kind) for kind in kinds)


def _parameters(factory: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Parameters by name with resolved annotations, and whether any others are taken too.

    Of a class that hands its `**kwargs` on, its base's are among them.
    """
    if not inspect.isclass(factory):
        return _own_parameters(factory)
    found: dict[str, inspect.Parameter] = {}
    for kind in inspect.getmro(factory):
        if "__init__" not in vars(kind):
            continue
        own, more = _own_parameters(kind.__init__, skip=1)
        found = {**own, **found}
        if not more:
            return found, False
    return found, True


def _own_parameters(function: Any, skip: int = 0) -> tuple[dict[str, inspect.Parameter], bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except ValueError:  # compiled code that does not say
        return {}, True
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {
        each.name: each.replace(annotation=hints.get(each.name, Any))
        for each in parameters
        if each.kind not in variable
    }
    return named, any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def _kinds(hint: Any) -> list[type]:
    """Classes that an annotation admits; none where it says nothing that can be checked."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in _kinds(part)]
    kind = origin or hint
    return [kind] if isinstance(kind, type) and kind is not type(None) else []


def _admits(hint: Any, value: Any) -> bool:
    """Whether a parameter is annotated for such a value, or not at all: IASSA's `features` are a backbone."""
    kinds = _kinds(hint)
    try:
        return not kinds or isinstance(value, (*kinds,))
    except TypeError:  # a protocol that says nothing at run time
        return True


def _asks_for_box(spec: Mapping[str, Any]) -> bool:
    """Whether the method, or one inside it, is built around a black box."""
    if "black_box" in _parameters(_factory(spec["class_path"]))[0]:
        return True
    inner = (spec.get("init_args") or {}).values()
    return any(_asks_for_box(each) for each in inner if isinstance(each, dict) and "class_path" in each)


def box_key(black_box: Mapping[str, Any], device: str) -> str:
    """Fingerprint of a black box by its config, the files that names in it mean, the code and its libraries.

    What an address on the network answers is not part of it; the runner asks it again about a few inputs.
    """
    # The number of threads is in the seconds that are kept, and in the last bits of the scores.
    where = f"{device}, {torch.get_num_threads()} threads" if device == "cpu" else device
    return fingerprint([black_box, referenced_files(black_box), code_fingerprint(), package_versions(), where])


def build_candidate(name: str, spec: Mapping[str, Any], injected: Mapping[str, Any], box: str) -> Candidate:
    """A method of a config, ready to be compared.

    Args:
        name: in the rows.
        spec: class_path, and init_args where it has any.
        injected: `black_box`, `features` and `seed`, for those that ask for them.
        box: key of the black box.

    Raises:
        ValueError: see `build_method`; an explainer trained for a box of other inputs or classes; and whatever the
            method raises.
    """
    path, arguments = spec["class_path"], dict(spec.get("init_args") or {})
    explainer = build_method(path, arguments, injected)
    if hasattr(explainer, "check_box"):  # a trained one, whose inputs and classes are those of its own box
        explainer.check_box(injected["black_box"])

    def rebuild(black_box: BlackBox) -> Any:
        made = build_method(path, arguments, {**injected, "black_box": black_box})
        if hasattr(made, "to"):
            made.to(black_box.device)
        return made

    shared = {key: value for key, value in injected.items() if key != "black_box"}
    key = fingerprint([path, arguments, referenced_files([path, arguments]), shared, box])
    return Candidate(name, explainer, rebuild if _asks_for_box(spec) else None, key)
