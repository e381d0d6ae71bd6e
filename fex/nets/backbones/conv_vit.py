"""A small vision transformer with a convolutional stem, for images of 32 to 64 pixels; registered with timm.

`timm.create_model("conv_vit_tiny", img_size=32)` builds it after `import fex.nets.backbones`, so every adapter that
takes a timm name takes this one too. The stem (Xiao et al. 2021, "Early convolutions help transformers see better")
makes a transformer learn from 50,000 small images within minutes on a CPU.
"""

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

__all__ = ["ConvStem", "conv_vit_tiny"]


class ConvStem(nn.Module):
    """Four 3 x 3 convolutions and a projection: (B, 3, H, W) -> (B, H W / patch_size^2, D).

    Takes the arguments timm passes to an `embed_layer`.
    """

    def __init__(
        self, img_size: int = 32, patch_size: int = 4, in_chans: int = 3, embed_dim: int = 128, **_: object
    ) -> None:
        super().__init__()
        strides = {4: (1, 2, 1, 2), 8: (2, 2, 1, 2)}.get(patch_size)
        if strides is None or img_size % patch_size:
            raise ValueError(
                f"ConvStem has cells of 4 or 8 pixels that divide the image; got patch_size={patch_size}, "
                f"img_size={img_size}."
            )
        self.img_size = (img_size, img_size)
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        widths = [in_chans, embed_dim // 4, embed_dim // 2, embed_dim // 2, embed_dim]
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(embed_dim, embed_dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> tokens (B, N, D)."""
        return self.layers(x).flatten(2).transpose(1, 2)


@register_model
def conv_vit_tiny(
    pretrained: bool = False,  # noqa: FBT001, FBT002 timm's own signature
    img_size: int = 32,
    patch_size: int = 4,
    num_classes: int = 10,
    embed_dim: int = 128,
    depth: int = 6,
    num_heads: int = 4,
    mlp_ratio: float = 2.0,
    **kwargs: object,
) -> VisionTransformer:
    """ViT of width 128, depth 6 (0.95 M parameters) over cells of 4 x 4 pixels."""
    if pretrained:
        raise ValueError("conv_vit_tiny has no hub weights: give a local path or a shipped name as `weights`.")
    for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        kwargs.pop(key, None)
    model = VisionTransformer(
        img_size=img_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        num_classes=num_classes,
        embed_layer=ConvStem,
        **kwargs,
    )
    for block in model.blocks:
        # The fused kernel's backward is slow on CPU for short sequences: 2 x the whole step at 65 tokens.
        block.attn.fused_attn = False
    return model
