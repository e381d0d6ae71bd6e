"""The tokens of a text as features, and as what a network takes."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fex.modality import Features
from fex.texts.removal import MaskToken

__all__ = ["Tokens", "model_arguments"]


@dataclass(frozen=True)
class Tokens(Features):
    """Each token of a text is a feature, but special and padding tokens, which are never removed and never scored.

    A batch of texts is a tensor of token ids (B, L), padded on the right; the feature axis is its token axis, so that
    N = L varies from batch to batch, and `valid` says which entries are features.

    Args:
        length: most tokens of a text, special ones included.
        special: ids that are no features, the padding included.
        pad: id of the padding.

    Example:
        >>> Tokens(4, special=(0, 101, 102), pad=0).valid(torch.tensor([[101, 7, 102, 0]]))
        tensor([[False,  True, False, False]])
    """

    length: int
    special: tuple[int, ...]
    pad: int

    modality: ClassVar[str] = "text"
    removals: ClassVar[str] = "MaskToken or DropToken"

    def __post_init__(self) -> None:
        if self.length < 1 or self.pad not in self.special:
            raise ValueError(
                f"Tokens needs length >= 1 and the padding among the special ids, got length={self.length}, "
                f"pad={self.pad}, special={self.special}."
            )

    @property
    def num_features(self) -> int:
        """The largest N."""
        return self.length

    def count(self, inputs: Tensor) -> int:
        """N of these inputs (B, L): L."""
        return inputs.shape[1]

    def valid(self, inputs: Tensor) -> Tensor:
        """Which entries are features: ids (B, L) -> bool (B, L)."""
        return ~torch.isin(inputs, torch.tensor(self.special, device=inputs.device))

    def keep(self, masks: Tensor, inputs: Tensor) -> Tensor:
        """Masks (R, L), 1 = kept, of `inputs` (R, L) -> bool (R, L); what is no feature is always kept."""
        return (masks > 0.5) | ~self.valid(inputs)

    def on_inputs(self, values: Tensor, inputs: Tensor) -> Tensor:  # noqa: ARG002 the contract of features
        """Values (B, L) in the inputs' shape: themselves."""
        return values

    def pool(self, values: Tensor) -> Tensor:
        """Values of the inputs' entries (B, L) as values of features: themselves."""
        return values

    def seeds(self, inputs: Tensor, seed: int) -> list[int]:
        """A seed for each text, from its features and `seed` alone, whatever batch it comes in: B integers."""
        prefix = str(seed).encode()
        valid = self.valid(inputs).cpu()
        rows = (row[own].numpy().tobytes() for row, own in zip(inputs.cpu(), valid, strict=True))
        return [int.from_bytes(hashlib.blake2b(prefix + r, digest_size=8).digest(), "little") >> 1 for r in rows]

    def usual_removal(self) -> MaskToken:
        """The model's own mask token."""
        return MaskToken()

    def describe(self) -> str:
        """How tables call the unit."""
        return "tokens"


def model_arguments(inputs: Tensor, pad: int, separator: int | None) -> dict[str, Tensor]:
    """What a transformers network takes besides ids (B, L): attention mask, and token types where it has them.

    Args:
        inputs: ids.
        pad: id of the padding, which is not attended.
        separator: id after which the second text of a pair begins; None for networks without token types.
    """
    attended = inputs != pad
    found = {"attention_mask": attended.long()}
    if separator is not None:
        closed = (inputs == separator).long()
        found["token_type_ids"] = ((closed.cumsum(1) - closed) > 0).long() * attended
    return found
