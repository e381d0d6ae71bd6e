"""Segments of a picture by name: quick shift, SLIC, a plain grid, segment-anything without prompts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fex.images.features import PatchGrid
from fex.images.segments import Segments

__all__ = ["SAM", "SLIC", "Grid", "QuickShift", "Segmenter", "paint_masks"]


class Segmenter(ABC):
    """Cuts one picture into segments."""

    @abstractmethod
    def labels(self, image: Tensor) -> Tensor:
        """Any labels, (H, W), integer, of `image` (3, H, W), float32, RGB in [0, 1], on the CPU."""

    def __call__(self, image: Tensor) -> Segments:
        """Segments of `image` (3, H, W), RGB in [0, 1]; a picture of one colour may have a single one."""
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"Got a picture of shape {tuple(image.shape)}, expected (3, H, W), RGB in [0, 1].")
        found = torch.as_tensor(self.labels(image.detach().float().cpu()))
        return Segments(found.unique(return_inverse=True)[1].view(found.shape))


def _rows(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


class QuickShift(Segmenter):
    """Mode seeking in colour and place (Vedaldi and Soatto 2008), by scikit-image; DAX V1 and V2, and LIME's default.

    Args:
        kernel_size: width of the Gaussian that estimates density, in pixels.
        max_dist: longest link, in pixels and colour; larger makes fewer segments.
        ratio: weight of colour against place, in [0, 1].
        seed: breaks ties.
    """

    def __init__(self, kernel_size: float = 4.0, max_dist: float = 200.0, ratio: float = 0.2, seed: int = 0) -> None:
        if kernel_size <= 0 or max_dist <= 0 or not 0 <= ratio <= 1:
            raise ValueError(
                f"QuickShift needs kernel_size > 0, max_dist > 0 and ratio in [0, 1], got {kernel_size}, {max_dist} "
                f"and {ratio}."
            )
        self.kernel_size, self.max_dist, self.ratio, self.seed = kernel_size, max_dist, ratio, seed

    def labels(self, image: Tensor) -> Tensor:
        """See `Segmenter`."""
        from skimage.segmentation import quickshift

        found = quickshift(
            _rows(image), ratio=self.ratio, kernel_size=self.kernel_size, max_dist=self.max_dist, rng=self.seed
        )
        return torch.from_numpy(found.astype(np.int64))


class SLIC(Segmenter):
    """k-means in colour and place (Achanta et al. 2012), by scikit-image.

    Args:
        count: segments asked for; about so many are found.
        compactness: weight of place against colour.
    """

    def __init__(self, count: int = 50, compactness: float = 10.0) -> None:
        if count < 1 or compactness <= 0:
            raise ValueError(f"SLIC needs count >= 1 and compactness > 0, got {count} and {compactness}.")
        self.count, self.compactness = count, compactness

    def labels(self, image: Tensor) -> Tensor:
        """See `Segmenter`."""
        from skimage.segmentation import slic

        found = slic(_rows(image), n_segments=self.count, compactness=self.compactness, start_label=0)
        return torch.from_numpy(found.astype(np.int64))


class Grid(Segmenter):
    """Rectangles; for spectrograms cells of frequency x time.

    Args:
        height: rows.
        width: columns.
    """

    def __init__(self, height: int = 8, width: int = 8) -> None:
        self.grid = PatchGrid(height, width)

    def labels(self, image: Tensor) -> Tensor:
        """See `Segmenter`."""
        return self.grid.expand(torch.arange(self.grid.num_features), (image.shape[-2], image.shape[-1]))


def paint_masks(masks: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Overlapping masks as a partition: the large ones below, the small ones over them, 0 where there is none.

    Args:
        masks: bool (H, W) each.
        size: (H, W).

    Returns:
        (H, W), int64.
    """
    labels = torch.zeros(size, dtype=torch.int64)
    order = sorted(range(len(masks)), key=lambda i: -int(np.count_nonzero(masks[i])))
    for number, index in enumerate(order, 1):
        labels[torch.from_numpy(np.asarray(masks[index], dtype=bool))] = number
    return labels


class SAM(Segmenter):
    """Segment-anything asked at a grid of points, without prompts, by transformers; DAX V3.

    Args:
        model: folder or hub id of a SAM model, such as "facebook/sam-vit-base".
        points_per_batch: points decoded at once.
        pred_iou_thresh: masks that the model itself rates lower are left out.
        stability_thresh: masks that change by more where their threshold moves are left out.
        device: where it runs; by default the process's current GPU where there is one, which Lightning sets.

    Raises:
        OSError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str = "facebook/sam-vit-base",
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_thresh: float = 0.95,
        device: str | None = None,
    ) -> None:
        from transformers import pipeline

        self.points_per_batch = points_per_batch
        self.pred_iou_thresh, self.stability_thresh, self.device = pred_iou_thresh, stability_thresh, device
        try:
            self.pipeline: Any = pipeline("mask-generation", model=model, device=device or "cpu")
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise OSError(
                f"Could not load a SAM model from {model!r} ({reason}). Without a network, set `model` to a folder "
                "that holds one; or use QuickShift (DAX V2)."
            ) from error

    def labels(self, image: Tensor) -> Tensor:
        """See `Segmenter`."""
        from torchvision.transforms.functional import to_pil_image

        if self.device is None and torch.cuda.is_available():
            # Asked here, not when it is built: each process of a run has a GPU of its own by now.
            self.device = f"cuda:{torch.cuda.current_device()}"
            self.pipeline.model.to(self.device)
            self.pipeline.device = torch.device(self.device)
        found = self.pipeline(
            to_pil_image(image),
            points_per_batch=self.points_per_batch,
            pred_iou_thresh=self.pred_iou_thresh,
            stability_score_thresh=self.stability_thresh,
        )
        masks = [np.asarray(mask) for mask in found["masks"]]
        return paint_masks(masks, (image.shape[-2], image.shape[-1]))
