"""How the networks of DAX are fitted."""

from dataclasses import dataclass, field
from math import ceil

from fex.dax.nets import Architecture
from fex.dax.objectives import Counterfactual, Regulariser

__all__ = ["FitSettings"]


@dataclass(frozen=True)
class FitSettings:
    """How the networks are fitted. Batch size, epochs and split are the paper's (section III-C).

    Args:
        regulariser: the version of the loss.
        architecture: of the student (Table VI).
        student_width: channels of its first convolution.
        hidden: units of its hidden layer.
        mask_width: hidden channels of the mask network.
        mask_kernel: side of its kernels, in working pixels.
        mask_stride: of its first convolution; 2 makes it four times cheaper and its mask half as fine.
        mask_places: the mask has an offset of each place's own beside what the network makes of the picture: that
            gives places that look alike one value, whichever of them counts. The paper has none.
        segment_means: give each segment the mean of its mask; the paper's maps are the mask itself.
        learning_rate: of the student, by Adam; of weights that layers divide by the root of their fan-in.
        mask_learning_rate: of the mask network.
        warm_up: share of `max_epochs` in which the student learns from the copies as they are, before there is a mask:
            a mask that follows a student which knows nothing saturates, and stays so. These epochs cost a third.
        batch_size: samples a step; half of them are masked as well, which costs less and finds as much.
        max_epochs: most passes over the samples; None takes the paper's 10, and more where samples are so few that
            these would be less than 240 steps.
        patience: epochs without a lower validation loss after which an instance stops; None takes a quarter of
            `max_epochs`, and the paper's 2 at least.
        val_fraction: share of the samples that are validated on.
        precision: what the networks compute in, "fp32" or "bf16": several times faster on hardware that has it.
    """

    regulariser: Regulariser = field(default_factory=Counterfactual)
    architecture: Architecture = "cnn2_fc2"
    student_width: int = 8
    hidden: int = 64
    mask_width: int = 32
    mask_kernel: int = 7
    mask_stride: int = 1
    mask_places: bool = False
    segment_means: bool = False
    learning_rate: float = 2e-2
    mask_learning_rate: float = 2e-2
    warm_up: float = 0.3
    batch_size: int = 64
    max_epochs: int | None = None
    patience: int | None = None
    val_fraction: float = 0.1
    precision: str = "fp32"

    def __post_init__(self) -> None:
        rates = (self.learning_rate, self.mask_learning_rate)
        counts = [each for each in (self.batch_size, self.max_epochs, self.patience) if each is not None]
        if min(counts) < 1 or min(rates) <= 0:
            raise ValueError(
                "DAX needs batch_size, max_epochs and patience of at least 1 and positive learning rates, got "
                f"{self.batch_size}, {self.max_epochs}, {self.patience} and {rates}."
            )
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"Got warm_up={self.warm_up}, expected a share of the epochs, at least 0 and below 1.")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"Got val_fraction={self.val_fraction}, expected a share between 0 and 1.")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"Got precision={self.precision!r}, expected 'fp32' or 'bf16'.")

    def lengths(self, samples: int) -> tuple[int, int]:
        """`max_epochs` and `patience` for so many samples to learn from.

        Example:
            >>> FitSettings().lengths(5400), FitSettings().lengths(450)
            ((10, 2), (30, 7))
        """
        epochs = self.max_epochs or max(10, ceil(240 / ceil(samples / self.batch_size)))
        return epochs, self.patience or max(2, epochs // 4)
