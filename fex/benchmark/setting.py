"""What methods are compared on: the method, the box, the protocols, the store, the batch."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fex.benchmark.store import ResultStore
from fex.black_box.base import BlackBox
from fex.metrics.protocol import Protocol
from fex.modality import Features
from fex.types import Explainer

__all__ = ["PICTURES", "Candidate", "Instances", "Setting", "Store"]


PICTURES = 8  # instances whose maps are kept, to be shown


@dataclass(frozen=True)
class Candidate:
    """A method that is compared with others.

    Attributes:
        name: in the rows.
        explainer: answers `attribute`, or `attribute_features` with `features`.
        rebuild: the same method around another black box, or None where it looks at none.
        key: fingerprint of all that its attributions depend on; only a store needs it.
    """

    name: str
    explainer: Explainer
    rebuild: Callable[[BlackBox], Explainer] | None = None
    key: str = ""


@dataclass(frozen=True)
class Store:
    """Where finished batches are kept.

    Attributes:
        results: the folder.
        black_box: fingerprint of the box, under which its own predictions are kept.
    """

    results: ResultStore
    black_box: str


@dataclass(frozen=True)
class Setting:
    """What all methods of a run share.

    Attributes:
        black_box: what is explained and asked.
        features: those that protocols remove.
        protocols: by name and fingerprint.
        store: where results are kept, or None.
        seed: of ties and the global generators.
        memory: measure the peak memory of explaining one instance.
    """

    black_box: BlackBox
    features: Features
    protocols: dict[str, Protocol]
    store: Store | None
    seed: int
    memory: bool


@dataclass(frozen=True)
class Instances:
    """The valid instances of a batch.

    Attributes:
        key: fingerprint of all that follows.
        number: instances that came before.
        clean: the box's probabilities (B, C).
        tensors: inputs, index and, where the data has them, labels, masks, ignored pixels and words.
    """

    key: str
    number: int
    clean: Tensor
    tensors: dict[str, Tensor]

    @property
    def inputs(self) -> Tensor:
        """Images (B, 3, H, W), or token ids (B, L)."""
        return self.tensors["inputs"]

    @property
    def shown(self) -> int:
        """How many of them, from the first on, have their maps kept."""
        return min(max(0, PICTURES - self.number), len(self.inputs))
