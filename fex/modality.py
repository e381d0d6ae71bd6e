"""What every modality hands in: features, removals, and how its inputs are read. All else works with these.

A modality is a folder with subclasses of `Features`, `Removal`, `Reading` and `Modality`; its black boxes, encoders and
datamodules have bases of their own. CONTRIBUTING.md has the recipe, `fex.images` and `fex.texts` are examples.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fex.seeding import pixel_seeds

__all__ = ["Features", "Modality", "Reading", "Removal", "modality_of"]


class Features(ABC):
    """What every kind of features tells: how many there are in an input, and where.

    Attributes:
        modality: name of the modality, such as "image" or "text".
        num_features: the largest N.
        grid: (height, width) where the features are a grid, else None.
        removals: what removes them, for messages.
    """

    modality: ClassVar[str]
    num_features: int
    grid: tuple[int, int] | None = None
    removals: ClassVar[str] = "one of its own"

    def count(self, inputs: Tensor) -> int:  # noqa: ARG002 the contract of features
        """N of these inputs; by default always the same."""
        return self.num_features

    def valid(self, inputs: Tensor) -> Tensor | None:  # noqa: ARG002
        """Which entries of (B, N) are features of the instance, bool; None, the default, where all are."""
        return None

    @abstractmethod
    def keep(self, masks: Tensor, inputs: Tensor) -> Tensor:
        """Masks (R, N) of inputs (R, ...), broadcastable against the inputs."""

    @abstractmethod
    def on_inputs(self, values: Tensor, inputs: Tensor) -> Tensor:
        """Values (B, N) on the pixels, tokens or columns of the inputs that they belong to."""

    def maps(self, values: Tensor, inputs: Tensor) -> Tensor:
        """The same, smooth where there is a between."""
        return self.on_inputs(values, inputs)

    @abstractmethod
    def pool(self, values: Tensor) -> Tensor:
        """Values of pixels, tokens or columns as means of features (B, N)."""

    def seeds(self, inputs: Tensor, seed: int) -> list[int]:
        """A seed for each instance, from its content and `seed` alone, whatever batch it comes in."""
        return pixel_seeds(inputs, seed)

    @abstractmethod
    def usual_removal(self) -> "Removal":
        """What stands in for a removed feature where nobody says otherwise."""

    @abstractmethod
    def describe(self) -> str:
        """How tables call the unit."""


class Removal(ABC):
    """Fill for removed features.

    Attributes:
        name: the word by which results name the removal.
        constant: True when the blank input does not depend on the instance; it is then one query for all.
        modality: kind of features that can be removed so.
    """

    name: str
    constant: bool = True
    modality: str = "image"

    @abstractmethod
    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        """Fill for `inputs` (B, ...); `mean` is the black box's `neutral`: its mean colour (3,), for a text its tokens.

        Returns:
            A tensor that broadcasts against `inputs`.
        """

    def place(self, inputs: Tensor, fill: Tensor, keep: Tensor) -> Tensor:
        """Inputs where `keep` is 1, the fill where it is 0; values between mix. Shapes broadcast to the inputs'."""
        return torch.lerp(fill.expand_as(inputs), inputs, keep)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Reading(ABC):
    """What a user gave to be explained, read: instances of one piece each, or of several that are passes of their own.

    Args:
        names: of the instances, "" where there is none.
        inputs: (B, ...), as the black box takes them.
    """

    def __init__(self, names: Sequence[str], inputs: Tensor) -> None:
        self.names, self.inputs = names, inputs

    @property
    def pieces(self) -> Sequence[int]:
        """Passes that each instance takes; by default one."""
        return [1] * len(self.names)

    def batches(self) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Numbers of pieces, and their inputs, that share a pass; by default all."""
        yield range(len(self.inputs)), self.inputs

    @abstractmethod
    def result(self, number: int, values: Sequence[Tensor], features: Features, named: Mapping[str, Any]) -> Any:
        """The explanation of an instance.

        Args:
            number: of the instance.
            values: attribution of each of its pieces, (N,).
            features: where they lie.
            named: the fields of `fex.explanations.BaseExplanation`.
        """


class Modality(ABC):
    """How inputs of one kind are read, checked and explained; a subclass is known by its `name` once it is defined.

    Checkpoints say the name and nothing else: what a file asks for is never imported. So a modality of one's own is
    imported before its checkpoints are loaded.

    Attributes:
        name: the word in `Features.modality`, `Removal.modality` and `BlackBox.modality`.
        encoders: its encoders, beside those of `fex.nets`: classes that its checkpoints may name.
        explainer: a subclass of `AmortizedExplainer` with more methods; None takes that class.

    Raises:
        ValueError: another class has the name already.
    """

    name: ClassVar[str]
    encoders: ClassVar[tuple[type[nn.Module], ...]] = ()
    explainer: ClassVar[type | None] = None

    def __init_subclass__(cls) -> None:
        known = _MODALITIES.get(cls.name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            other = f"{known.__module__}.{known.__qualname__}"
            raise ValueError(f"The modality {cls.name!r} is that of {other} already: take another name.")
        _MODALITIES[cls.name] = cls

    @abstractmethod
    def preprocess(self, data: Mapping[str, Any]) -> Any:
        """What reads the inputs, from its own `to_dict`."""

    @abstractmethod
    def features(self, meta: Mapping[str, Any]) -> Features:
        """The features that a description (`fex.explainers.explainer_meta`) tells of."""

    @abstractmethod
    def of_inputs(self, inputs: Tensor, preprocess: Any) -> Features:
        """The features of `attribute`, for explainers that have none of their own: every pixel, token or column."""

    @abstractmethod
    def read(self, given: Any, preprocess: Any, **options: Any) -> Reading:
        """Inputs of one instance or several, as users give them.

        Raises:
            ValueError: something that cannot be read or explained.
        """

    @abstractmethod
    def check(self, inputs: Tensor, preprocess: Any) -> None:
        """Raises ValueError for inputs (B, ...) of another shape, type or range, before a network answers them."""

    def misfit(self, own: Any, other: Any) -> str:
        """Why a black box that reads by `other` takes no inputs that are read by `own`; "" where it does."""
        return "" if own == other else f"reads its inputs by {other}, not by {own}"

    def complete(
        self,
        net: nn.Module,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        backbone: str | Path | None,  # noqa: ARG002 of those whose files leave one out
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Weights and description with what an export left to other files; by default it left nothing.

        Args:
            net: built, with the weights of what it stands on.
            tensors: of the file.
            meta: of the file.
            backbone: a local file of what it left out, where the user gives one.
        """
        return tensors, meta


_MODALITIES: dict[str, type[Modality]] = {}
_OWN = {"image": "fex.explainers.images", "text": "fex.explainers.texts"}


def modality_of(name: str) -> Modality:
    """The modality of that name.

    Raises:
        ValueError: none that was imported has it; lists those that were.
    """
    if name not in _MODALITIES and name in _OWN:
        import_module(_OWN[name])  # whoever has a network of it may not have come by its explainers
    if name not in _MODALITIES:
        raise ValueError(
            f"The modality {name!r} is not known here, only {', '.join(sorted(_MODALITIES))}: import the package that "
            "defines it first."
        )
    return _MODALITIES[name]()
