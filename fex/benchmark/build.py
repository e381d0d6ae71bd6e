"""Methods from a config: an explainer by class path, and what its results depend on."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import torch

from fex.benchmark.fingerprint import code_fingerprint, fingerprint, package_versions, referenced_files
from fex.benchmark.method_run import Candidate
from fex.black_box.base import BlackBox

__all__ = ["box_key", "build_candidate", "build_method"]


def _factory(class_path: str) -> Callable[..., Any]:
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"Found no method {class_path!r} ({error}): give an importable class_path.") from error


def build_method(class_path: str, init_args: Mapping[str, Any], injected: Mapping[str, Any]) -> Any:
    """An explainer by class path; `injected` are handed to those whose signature asks for them.

    Raises:
        ValueError: no such class, or arguments it does not take.
    """
    factory = _factory(class_path)
    known = inspect.signature(factory).parameters
    unknown = sorted(set(init_args) - set(known))
    if unknown:
        raise ValueError(f"{class_path} does not take {unknown}; it takes {sorted(known)}.")
    arguments = {key: value for key, value in injected.items() if key in known and _admits(factory, key, value)}
    nested = {
        key: build_method(value["class_path"], value.get("init_args") or {}, injected)
        if isinstance(value, dict) and "class_path" in value
        else value
        for key, value in init_args.items()
    }
    return factory(**{**arguments, **nested})


def _admits(factory: Any, name: str, value: Any) -> bool:
    """Whether a parameter is annotated for such a value, or not at all: IASSA's `features` are a backbone."""
    try:
        hint = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory).get(name, Any)
    except (NameError, TypeError, AttributeError):
        return True
    kinds = [kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type)]
    try:
        return not kinds or isinstance(value, (*kinds,))
    except TypeError:  # a protocol that says nothing at run time
        return True


def _asks_for_box(spec: Mapping[str, Any]) -> bool:
    """Whether the method, or one inside it, is built around a black box."""
    if "black_box" in inspect.signature(_factory(spec["class_path"])).parameters:
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
        ValueError: see `build_method`; and whatever the method raises.
    """
    path, arguments = spec["class_path"], dict(spec.get("init_args") or {})
    explainer = build_method(path, arguments, injected)

    def rebuild(black_box: BlackBox) -> Any:
        made = build_method(path, arguments, {**injected, "black_box": black_box})
        if hasattr(made, "to"):
            made.to(black_box.device)
        return made

    shared = {key: value for key, value in injected.items() if key != "black_box"}
    key = fingerprint([path, arguments, referenced_files([path, arguments]), shared, box])
    return Candidate(name, explainer, rebuild if _asks_for_box(spec) else None, key)
