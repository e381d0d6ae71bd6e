"""What a file says of the network it holds: data by others, checked and bounded before anything is built from it."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["building", "check_description"]

MOST_CHANNELS = 1024  # of an image
MOST_RANK = 2**16  # of low-rank updates; told before the library that builds them is imported, which takes seconds
DEEPEST, LARGEST = 32, 2**31  # levels of nested data; integers
SIDE, AREA = 2**16, 2**26  # pixels
SPARE_TENSORS, SPARE_NUMBERS = 2048, 2**26  # of layers that are built with a network and then dropped
# What would fetch files or code; and where words may be anything, since they are only shown.
_FETCHING = re.compile(r"pretrained|checkpoint_path|^weights$|auto_map|quantization_config")
_SHOWN = (
    "class_names", "id2label", "label2id", "task_specific_params", "_name_or_path", "black_box", "removal", "method",
    "tokenizer",
)  # fmt: skip
_PLAIN = (bool, int, float, str, list, tuple, dict)
_SIZED = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


def check_description(meta: Any, source: str) -> dict[str, Any]:
    """A description that is plain, of sane sizes, and names nothing that would be fetched or imported.

    Args:
        meta: as read from the file.
        source: what errors call the file.

    Raises:
        ValueError: it is not; says which part.
    """
    if not isinstance(meta, dict):
        raise _unfit(source, f"it is {type(meta).__name__}, not a mapping")
    _check(meta, "it", source)
    names = meta.get("class_names", [""])
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise _unfit(source, f"class_names are {names!r:.80}, not a list of names")
    for key in ("kind", "method", "modality", "black_box", "black_box_sha256", "removal", "model", "base"):
        if not isinstance(meta.get(key, ""), str):
            raise _unfit(source, f"{key} is {meta[key]!r:.80}, not a word")
    for key in ("preprocess", "model_args", "net", "training"):
        if not isinstance(meta.get(key, {}), dict):
            raise _unfit(source, f"{key} is {meta[key]!r:.80}, not a mapping")
    grid, preprocess = meta.get("grid"), meta.get("preprocess", {})
    resize = preprocess.get("resize") or 1  # one side, or both
    sizes = {
        "grid": grid,
        "preprocess": [preprocess.get("height", 1), preprocess.get("width", 1)],
        "resize": list(resize) if isinstance(resize, list | tuple) else [resize, 1],
    }
    for key, size in sizes.items():
        if size is not None and not _is_size(size):
            raise _unfit(source, f"{key} has the size {size!r:.80}, expected two sides of 1 ... {SIDE:,}")
    return meta


def _is_size(size: Any) -> bool:
    two = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
    return two and min(size) >= 1 and max(size) <= SIDE and math.prod(size) <= AREA


def _unfit(source: str, reason: str) -> ValueError:
    return ValueError(
        f"The description in {source} is damaged or was not written by this version of fex ({reason}): give a file "
        "written by this version."
    )


def _check(value: Any, key: str, source: str, depth: int = 0) -> None:
    """Refuses what is no plain data, what is huge, and what would fetch something."""
    if (reason := _wrong(value, key, depth)) is not None:
        raise _unfit(source, reason)
    parts = value.items() if isinstance(value, dict) else ()
    if isinstance(value, (list, tuple)):
        parts = [(f"{key}[]", each) for each in value]
    for name, each in parts:
        if name not in _SHOWN:
            _check(each, name, source, depth + 1)


def _wrong(value: Any, key: str, depth: int) -> str | None:
    """What is wrong with a value of a description, apart from its parts; None where nothing is."""
    if depth > DEEPEST:
        return f"{key} is nested more than {DEEPEST} times"
    if _FETCHING.search(key) and value:
        return f"{key} asks for files or downloads"
    if isinstance(value, str) and key not in ("base", "class_path") and re.search(r"[/\\:]", value):
        return f"{key} is {value!r:.80}, which asks for files or downloads, expected a plain name"
    if key in ("mean", "std") and not _is_colour(value, positive=key == "std"):
        return f"{key} is {value!r:.80}, expected a number for each channel{', above 0' * (key == 'std')}"
    if type(value) is int and abs(value) > LARGEST:
        return f"{key} is larger than {LARGEST:,}"
    if key == "lora_rank" and type(value) is int and value > MOST_RANK:
        return f"lora_rank is {value:,}, more than {MOST_RANK:,}"
    if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
        return f"{key} has names that are no words"
    return None if value is None or isinstance(value, _PLAIN) else f"{key} is {type(value).__name__}, not plain data"


def _is_colour(value: Any, *, positive: bool) -> bool:
    if value is None:
        return True
    fits = isinstance(value, (list, tuple)) and 1 <= len(value) <= MOST_CHANNELS
    numbers = fits and all(type(each) in (int, float) and math.isfinite(each) for each in value)
    return numbers and (not positive or min(value) > 0)


class _Bounded(TorchFunctionMode):
    """Counts tensors and numbers as a network is built, each before it is made."""

    def __init__(self, tensors: int, numbers: int) -> None:
        super().__init__()
        self.tensors, self.numbers = tensors, numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _SIZED:
            size = kwargs.get("size", args[0] if args and isinstance(args[0], (list, tuple)) else args)
            self.tensors -= 1
            self.numbers -= math.prod(side for side in size if isinstance(side, int))
        # Rates of all layers are listed before the first one is built.
        layers = kwargs.get("steps", args[2] if len(args) > 2 else 0) if func is torch.linspace else 0
        if self.tensors < layers or self.numbers < 0:
            raise ValueError("a network far larger than the weights")
        return func(*args, **kwargs)


@contextmanager
def building(tensors: Mapping[str, Tensor], source: str) -> Iterator[None]:
    """A network is built from a description in here: one that is far larger than its weights is stopped at once.

    Whatever a library raises at settings that it never expected becomes one sentence.

    Args:
        tensors: the weights in the file.
        source: what errors call the file.

    Raises:
        ValueError: nothing can be built from the description, or something far too large.
        OSError: what is shipped apart is not installed.
        ImportError: the same.
    """
    numbers = sum(tensor.numel() for tensor in tensors.values())
    try:
        with _Bounded(16 * len(tensors) + SPARE_TENSORS, 64 * numbers + SPARE_NUMBERS):
            yield
    except (OSError, ImportError):
        raise
    except ValueError as error:
        if "far larger than the weights" in str(error):
            raise _unfit(source, f"it asks for {error}") from error
        if type(error) is not ValueError:
            raise _unfit(source, f"{type(error).__name__}: {error}") from error
        if source in str(error):
            raise
        raise ValueError(f"{source}: {error}") from error  # settings may be the file's or the caller's
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise _unfit(source, f"{type(error).__name__}: {first:.200}") from error
