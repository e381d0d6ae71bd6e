"""Pictures held in memory as bytes."""

from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import functional as TF

from fex.images import Preprocess
from fex.types import Batch

__all__ = ["Pixels"]


class Pixels:
    """Pictures of one size with labels and, perhaps, masks; one memory look-up a batch.

    Args:
        pixels: uint8 (n, 3, h, w).
        labels: int64 (n,).
        masks: ground-truth foreground, bool (n, h, w).
        preprocess: geometry of the inputs; None keeps h x w. Pictures of that size already are passed on unchanged.
    """

    def __init__(
        self, pixels: Tensor, labels: Tensor, masks: Tensor | None = None, preprocess: Preprocess | None = None
    ) -> None:
        self.pixels, self.labels, self.masks, self.preprocess = pixels, labels, masks, preprocess

    def __len__(self) -> int:
        return len(self.labels)

    def _fit(self, images: Tensor, mode: str) -> Tensor:
        """(B, c, h, w) float -> (B, c, H, W)."""
        to = self.preprocess
        if to is None or to.size == tuple(images.shape[-2:]):
            return images
        smooth = mode != "nearest"
        short = max(to.resize or 0, *to.size)
        scale = short / min(images.shape[-2:])
        size = to.size if to.squash else [round(side * scale) for side in images.shape[-2:]]
        options = {"align_corners": False, "antialias": True} if smooth else {}
        images = F.interpolate(images, size, mode=mode, **options)
        return images if to.squash else TF.center_crop(images, list(to.size))

    def batch(self, indices: Tensor) -> Batch:
        """Rows (B,) int64 -> inputs, labels and, where there are any, masks."""
        mode = "bicubic" if self.preprocess is None else self.preprocess.interpolation
        inputs = self._fit(self.pixels[indices].float().div_(255), mode).clamp_(0, 1)
        batch: Batch = {"inputs": inputs, "labels": self.labels[indices]}
        if self.masks is not None:
            batch["masks"] = self._fit(self.masks[indices, None].float(), "nearest")[:, 0] > 0.5
        return batch

    def part(self, first: int, last: int) -> "Pixels":
        """Rows first ... last - 1, sharing the memory."""
        masks = None if self.masks is None else self.masks[first:last]
        return Pixels(self.pixels[first:last], self.labels[first:last], masks, self.preprocess)
