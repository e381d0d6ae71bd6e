"""`--methods.NAME.init_args.ARGUMENT VALUE`: one setting of one method of a benchmark's config.

The parser would take such a flag for the whole entry of the method: it knows no keys below a dictionary.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from fex.benchmark.cost import training_cost

__all__ = ["check_entries", "overridden", "take_overrides"]

_PREFIX = "--methods."
_FIELDS = ("class_path", "init_args", "training")


def _value(text: str) -> Any:
    try:
        return json.loads(text)  # 1e-3 too, which YAML 1.1 reads as a string
    except ValueError:
        return yaml.safe_load(text)


def _partition(flag: str) -> tuple[str, str, str]:
    """NAME.KEY, "=" and VALUE; a name may hold "=" itself, so it is the first behind a field's name."""
    field = re.search(rf"\.({'|'.join(_FIELDS)})(?=[.=])", flag)
    behind = field.end() if field else 0
    key, equals, text = flag[behind:].partition("=")
    return flag[:behind] + key, equals, text


def take_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, Any]]]:
    """The other arguments, and (NAME.KEY, value) of each `--methods.NAME.KEY VALUE` or `--methods.NAME.KEY=VALUE`.

    Raises:
        ValueError: a flag without a value, or a value that is no YAML.

    Example:
        >>> take_overrides(["run", "--methods.RISE.init_args.num_masks", "50", "--limit", "2"])
        (['run', '--limit', '2'], [('RISE.init_args.num_masks', 50)])
    """
    kept: list[str] = []
    found: list[tuple[str, Any]] = []
    rest = iter(argv)
    for word in rest:
        if not word.startswith(_PREFIX):
            kept.append(word)
            continue
        key, equals, text = _partition(word.removeprefix(_PREFIX))
        given = text if equals else next(rest, None)
        if given is None:
            raise ValueError(f"{word} has no value: write {word} VALUE.")
        try:
            found.append((key, _value(given)))
        except yaml.YAMLError as error:
            raise ValueError(
                f"{_PREFIX}{key} got {given!r}, which is no YAML ({' '.join(str(error).split())})."
            ) from error
    return kept, found


def check_entries(methods: Mapping[str, Any]) -> None:
    """Entries of a config before anything is spent on them: a mistyped key would run a method by its defaults.

    Raises:
        ValueError: no entries; one without a class, with a key that it cannot have, or with no settings under one.
    """
    if not methods:
        raise ValueError("There is no method to run: name some under `methods`, or leave --methods out.")
    for name, entry in methods.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("class_path"), str):
            raise ValueError(f"Method {name} has no class_path: give it as {{class_path: ..., init_args: {{...}}}}.")
        wrong = [key for key in ("init_args", "training") if not isinstance(entry.get(key) or {}, Mapping)]
        if wrong:
            raise ValueError(f"Method {name} has {wrong[0]}: {entry[wrong[0]]!r}, expected settings by their names.")
        training_cost(None, entry.get("training"))
        if unknown := sorted(set(entry) - set(_FIELDS)):
            raise ValueError(f"Method {name} has {', '.join(unknown)}, expected only {', '.join(_FIELDS)}.")


def overridden(methods: Mapping[str, Any], overrides: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The methods with these settings in place of their own; the entries given are not changed.

    Args:
        methods: entries (class_path, init_args, training) by name.
        overrides: NAME.KEY, KEY with dots for what lies deeper, and the value.

    Raises:
        ValueError: an unknown method, or a key that an entry cannot have; says what it can be.

    Example:
        >>> overridden({"RISE": {"class_path": "fex.baselines.RISE"}}, [("RISE.init_args.num_masks", 50)])
        {'RISE': {'class_path': 'fex.baselines.RISE', 'init_args': {'num_masks': 50}}}
    """
    # One by one: entries that share a part by a YAML alias must not share what is set in one of them.
    found = {name: copy.deepcopy(dict(entry)) for name, entry in methods.items()}
    for key, value in overrides:
        names = [name for name in found if key.startswith(f"{name}.")]
        if not names:
            raise ValueError(
                f"{_PREFIX}{key} names no method of the config, which has {', '.join(found)}. Write "
                f"--methods.NAME.init_args.ARGUMENT VALUE."
            )
        name = max(names, key=len)  # names may hold dots
        _set(found[name], name, key.removeprefix(f"{name}.").split("."), value)
    return found


def _set(entry: dict[str, Any], name: str, path: Sequence[str], value: Any) -> None:
    if path[0] not in _FIELDS or "" in path:
        raise ValueError(
            f"{_PREFIX}{name}.{'.'.join(path)}: a method has {', '.join(_FIELDS)}. Write "
            f"--methods.{name}.init_args.ARGUMENT VALUE for one of its arguments."
        )
    place: Any = entry
    for depth, part in enumerate(path[:-1]):
        if part in ("init_args", "training"):
            place.setdefault(part, {})
        if not isinstance(place.get(part), dict):
            whole = f"--methods.{name}.{'.'.join(path[: depth + 1])}"
            raise ValueError(
                f"{name} of the config has no {'.'.join(path[: depth + 1])} with settings of its own. Give all of it: "
                f"{whole} '{{class_path: ..., init_args: {{{path[-1]}: {json.dumps(value)}}}}}'."
            )
        place = place[part]
    place[path[-1]] = value
