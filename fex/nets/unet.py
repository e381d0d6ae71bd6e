"""U-Net encoder (segmentation-models-pytorch): what the paper's Table 4 compares with the ViT."""

import torch
from torch import Tensor, nn

from fex.nets.encoder import Encoder, EncoderOutput, freeze_unused, to_grid

__all__ = ["UNetEncoder"]


class UNetEncoder(Encoder):
    """An smp U-Net whose last decoder map is read at the feature grid.

    Args:
        backbone: smp encoder name.
        pretrained: start the backbone from its ImageNet weights (hub).
        depth: stages of the backbone; the image's sides must be multiples of 2 ** depth.
        channels: decoder widths, one a stage; the last is D.
        mean: normalisation of the inputs.
        std: normalisation of the inputs.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        pretrained: bool = False,
        depth: int = 4,
        channels: tuple[int, ...] = (256, 128, 128, 128),
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        import segmentation_models_pytorch as smp  # here: the import takes time, and few encoders are U-Nets

        if len(channels) != depth:
            raise ValueError(f"UNetEncoder needs one decoder width a stage: got {channels} for depth {depth}.")
        init_args = {
            "backbone": backbone, "depth": depth, "channels": list(channels), "mean": list(mean), "std": list(std),
        }  # fmt: skip
        super().__init__(channels[-1], tuple(mean), tuple(std), init_args, frozen=False)
        unet = smp.Unet(
            backbone,
            encoder_depth=depth,
            encoder_weights="imagenet" if pretrained else None,
            decoder_channels=tuple(channels),
            decoder_use_norm={
                "type": "instancenorm",
                "affine": True,
            },  # batch statistics stay fixed here, so none are used
        )
        self.down, self.up = unet.encoder, unet.decoder
        if not pretrained:
            _group_norm(self.down)
        self.pool = nn.Linear(self.down.out_channels[-1], channels[-1])
        self.depth = depth
        self.eval()
        side = 2**depth
        freeze_unused(self.down, lambda: sum(level.sum() for level in self.down(torch.zeros(1, 3, side, side))[1:]))

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the mean of the deepest map, projected."""
        if any(side % 2**self.depth for side in inputs.shape[-2:]):
            raise ValueError(
                f"UNetEncoder of depth {self.depth} got images of {tuple(inputs.shape[-2:])} pixels, expected "
                f"multiples of {2**self.depth}: choose a smaller depth."
            )
        maps = self.down(inputs)
        tokens = to_grid(self.up(maps), grid).flatten(2).transpose(1, 2)
        return EncoderOutput(tokens, self.pool(maps[-1].mean((2, 3))))


def _group_norm(module: nn.Module) -> None:
    """Batch norms to group norms: an untrained backbone has no statistics to fix."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            groups = next(g for g in (8, 4, 2, 1) if child.num_features % g == 0)
            setattr(module, name, nn.GroupNorm(groups, child.num_features))
        else:
            _group_norm(child)
