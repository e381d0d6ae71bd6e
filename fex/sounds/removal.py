"""What stands in for a removed piece of a spectrogram."""

from torch import Tensor

from fex.modality import Removal

__all__ = ["Silence"]


class Silence(Removal):
    """The quietest level of a spectrogram, which is its 0 (`fex.sounds.LogMel`)."""

    name = "silence"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        return inputs.new_zeros(1, inputs.shape[1], 1, 1)
