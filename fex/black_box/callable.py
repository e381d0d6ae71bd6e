"""Any Python function as a black box."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.colour import Colour
from fex.black_box.scores import Outputs, check_outputs, columns, find_scores, to_probabilities
from fex.errors import BlackBoxError
from fex.images.preprocess import Preprocess
from fex.storage.resources import look_beside

__all__ = ["CallableBlackBox", "import_function", "resolve_function"]


def import_function(path: str) -> Callable[..., Any]:
    """The function at "package.module:function"; modules beside the working directory's files are found too.

    Raises:
        ValueError: `path` is not of that form.
        ImportError: no such module, or it has no such function.
        TypeError: it is there, but cannot be called.
    """
    module_name, _, function_name = path.partition(":")
    if not module_name or not function_name:
        raise ValueError(f"Got function {path!r}, expected 'package.module:function'.")
    here = look_beside()
    try:
        found: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            found = getattr(found, part)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ImportError(
            f"Could not import {path!r} ({error}): expected 'package.module:function' that can be imported from "
            f"{here} or from an installed package."
        ) from error
    if not callable(found):
        raise TypeError(f"{path!r} is a {type(found).__name__}, expected a function.")
    return found


def resolve_function(function: str | Callable[..., Any], owner: str) -> tuple[Callable[..., Any], str]:
    """A function given as it is or by its path, and what to call it.

    Args:
        function: the function, or "package.module:function".
        owner: class that wants it, for messages.

    Raises:
        TypeError: something that cannot be called; see `import_function` for what else.
    """
    if isinstance(function, str):
        return import_function(function), function
    if not callable(function):
        raise TypeError(f"{owner} got a {type(function).__name__}, expected a function or 'package.module:function'.")
    return function, getattr(function, "__name__", type(function).__name__)


class CallableBlackBox(BlackBox):
    """A function of images as a black box.

    The function gets a tensor (R, 3, H, W), float32, RGB in [0, 1], R <= `chunk`, on the device of the box, which it
    may change, and returns scores (R, C) as a tensor, an array or nested lists; of a tuple, a dict or an object with
    `logits`, those. One score an input, (R, 1) or (R,), is the positive's of two classes: `num_classes=1`, see
    `BlackBox`. It normalises by itself.

    Args:
        function: the function, or "package.module:function". Importing runs that module's code: name only code that
            you would run.
        class_names: names of the classes, in the order of the scores.
        num_classes: C; needed only without `class_names`.
        outputs: what the function returns; logits go through softmax (sigmoid where `multi_label`).
        preprocess: geometry of the inputs.
        mean: the colour that `removal.Mean` fills in, RGB in [0, 1]; a value a channel where inputs have others.
        chunk: most images a call.
        multi_label: classes are not exclusive.
        name: how errors and reports call it; by default the function's name.

    Example:
        >>> import torch
        >>> box = CallableBlackBox(lambda x: torch.full((len(x), 2), 0.5), num_classes=2)
        >>> box(torch.zeros(3, 3, 8, 8)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        function: str | Callable[[Tensor], Any],
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        outputs: Outputs = "probabilities",
        preprocess: Preprocess | None = None,
        mean: Colour = (0.485, 0.456, 0.406),
        chunk: int = 256,
        multi_label: bool = False,  # noqa: FBT001, FBT002 a YAML key
        name: str | None = None,
    ) -> None:
        check_outputs(outputs)
        self._function, named = resolve_function(function, type(self).__name__)
        self.path = function if isinstance(function, str) else None
        self.outputs: Outputs = outputs
        super().__init__(
            class_names=class_names,
            num_classes=num_classes,
            preprocess=preprocess,
            mean=mean,
            chunk=chunk,
            multi_label=multi_label,
            name=name or named,
        )

    def _score(self, inputs: Tensor) -> Tensor:
        copy = inputs.clone()  # so that a function that works in place leaves the caller's pictures
        try:
            answer = self._function(copy)
        except torch.OutOfMemoryError:  # answered by a smaller chunk
            raise
        except Exception as error:  # the user's own code; its traceback stays above this one
            shape = tuple(inputs.shape)
            raise BlackBoxError(
                f"Black box {self.name!r} raised {type(error).__name__}: {error}, on inputs of shape {shape}, float32."
            ) from error
        try:
            found = find_scores(answer, rows=len(inputs), num_classes=self.num_classes, name=self.name)
            scores = columns(torch.as_tensor(found, device=inputs.device).detach().float(), len(inputs))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"Black box {self.name!r} returned a {type(answer).__name__} that is no table of numbers ({error}), "
                f"expected scores of shape ({len(inputs)}, {self.num_classes})."
            ) from error
        return to_probabilities(scores, outputs=self.outputs, multi_label=self.multi_label, name=self.name)

    def __getstate__(self) -> dict[str, Any]:
        """By its import path where it has one: the function itself need not pickle."""
        return {**self.__dict__, "_function": None} if self.path else dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.path:
            self._function = import_function(self.path)
