"""Types shared by every layer: the batch, the explanation's protocol.

Axes: B instances, K masks an instance, N features, C classes, H x W pixels. **A mask is 1 where a feature is kept
and 0 where it is removed**, everywhere in this project.
"""

from typing import Protocol, TypedDict, runtime_checkable

from torch import Tensor

from fex.class_names import Target
from fex.texts.tokenized import Text

__all__ = ["Batch", "Explainer"]


class Batch(TypedDict, total=False):
    """What every datamodule yields.

    Attributes:
        inputs: images (B, 3, H, W), float32, RGB in [0, 1]; the black box and the explainer normalise themselves. Texts
            are token ids (B, L), int64, padded on the right.
        labels: true classes (B,), int64; absent where the data has none.
        masks: ground-truth foreground (B, H, W), bool, of segmentation data; tokens of human rationales (B, L), bool.
        ignored: pixels of which the masks say nothing, such as a void border (B, H, W), bool; absent if there are none.
        words: number of the word that each token belongs to (B, L), int64; -1 where there is none. Only texts.
        index: position of each instance in its data set (B,), int64.
        view: which of a training row's fixed views the inputs are (B,), int64, 0 the row itself; absent without views.
        valid: False where a row only pads the last batch so that all ranks take the same number of steps, or where its
            input could not be read (B,), bool.
        waveforms: sound of each instance (B, T), float32, in [-1, 1]; only sound data that was asked for it.
        texts: the B texts, pairs or lists of words themselves, where they are to be explained and written.
        names: file name or place in the data of each instance, a list of B strings; absent for data held in memory.
    """

    inputs: Tensor
    labels: Tensor
    masks: Tensor
    ignored: Tensor
    words: Tensor
    index: Tensor
    view: Tensor
    valid: Tensor
    waveforms: Tensor
    texts: list[Text]
    names: list[str]


@runtime_checkable
class Explainer(Protocol):
    """The one call that every explainer answers; the signature of captum's ``Attribution.attribute``."""

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Attribution of each pixel (B, H, W) or token (B, L) for `target` (by default the predicted class)."""
        ...
