"""`--black-box`: what `load_black_box` takes, or a YAML file that describes a black box."""

from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from fex.black_box import BlackBox, CallableBlackBox, HttpBlackBox, PromptBlackBox, load_black_box
from fex.black_box.loading import loader_of
from fex.black_box.secrets import public
from fex.cli.config import instantiated
from fex.cli.plain_errors import plain
from fex.keywords import beside, close_names
from fex.storage.resources import config_path

__all__ = ["chosen_black_box", "is_config"]

# Where configs of this project have theirs: alone, of a benchmark, of a module that trains, of a per-instance one.
_PLACES: tuple[tuple[str, ...], ...] = (
    (),
    ("black_box",),
    ("model", "init_args", "black_box"),
    ("model", "init_args", "explainer", "init_args", "black_box"),
)

# What says nothing of its classes by itself, and the argument that names it.
_UNKNOWN: dict[Any, str] = {HttpBlackBox: "url", CallableBlackBox: "function"}


def is_config(name: str) -> bool:
    """Whether it names a YAML file rather than a model."""
    return name.endswith((".yaml", ".yml"))


def _at(content: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def chosen_black_box(name: str) -> BlackBox:
    """The black box of a command line.

    Args:
        name: see `load_black_box`; or a YAML file, in the working directory or packaged, of a black box (class_path,
            init_args), or of a run or benchmark that has one. Its other settings do not matter.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no black box of this name; a file that is no YAML, has no black box, or one with settings that it
            does not take.
    """
    if not is_config(name):
        kind = loader_of(name)
        if key := _UNKNOWN.get(kind):
            name = public(name) if kind is HttpBlackBox else name
            raise ValueError(
                f"How many classes {name!r} has, and what inputs it takes, must be said in a file: the config of its "
                f"training, such as --black-box mine.yaml; or one with "
                f'`{{class_path: fex.black_box.{kind.__name__}, init_args: {{{key}: "{name}", num_classes: 10, '  # type: ignore[union-attr]
                "preprocess: {height: 224, width: 224}}}`."
            )
        if kind is None and (near := close_names(name, beside(name, (".yaml", ".yml")), all_else=False)):
            raise ValueError(f"Found no black box {name!r}{near}")
        if kind is PromptBlackBox:
            raise ValueError(
                f"What the language model at {public(name)!r} is asked must be said in a file, such as mine.yaml with "
                f'`{{class_path: fex.black_box.PromptBlackBox, init_args: {{url: "{public(name)}", model: NAME, '
                "template: \"Review: {text} Is it good? Answer yes or no:\", labels: ['no', 'yes']}}`: "
                "--black-box mine.yaml."
            )
        return load_black_box(name)
    path = config_path(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file ({' '.join(str(error).split())}).") from error
    found = [spec for place in _PLACES if isinstance(spec := _at(content, place), dict) and "class_path" in spec]
    if not found:
        raise ValueError(
            f"{path} has no black box: expected `class_path` and `init_args` of one, or a config of fex-train or "
            "fex-bench that names it (black_box, model.init_args.black_box)."
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(BlackBox, "black_box", required=True)
    try:
        return instantiated(parser, parser.parse_object({"black_box": found[0]})).black_box
    except (ArgumentError, ValueError, TypeError) as error:
        raise ValueError(f"The black box of {path} cannot be built: {plain(str(error))}") from error
