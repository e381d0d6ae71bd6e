"""Families of image classifiers, each as a tiny network with random weights: what holds for one must hold for all.

`TIMM` names a model of timm and the arguments that shrink it, `TRANSFORMERS` a config and an image processor.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import timm
import torch
import transformers
from torch import Tensor, nn

__all__ = ["TIMM", "TRANSFORMERS", "TimmFamily", "TransformersFamily", "blobs", "save_transformers", "timm_net"]

NAMES = ("cat", "dog", "owl")


class TimmFamily(NamedTuple):
    """A model of timm.

    Attributes:
        model: its name.
        args: what makes it small.
        size: side of its inputs in pixels.
    """

    model: str
    args: dict[str, Any] = {}
    size: int = 64


VIT = {"img_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2}
SWIN = {"img_size": 64, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}
STAGES = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 16, 32)}

TIMM = {
    "vit": TimmFamily("vit_tiny_patch16_224", VIT, 32),
    "vit of registers": TimmFamily("vit_little_patch16_reg4_gap_256", VIT, 32),
    "deit distilled": TimmFamily("deit_tiny_distilled_patch16_224", VIT, 32),
    "beit": TimmFamily("beit_base_patch16_224", VIT, 32),
    "eva": TimmFamily("eva02_tiny_patch14_224", {**VIT, "img_size": 28}, 28),
    "cait": TimmFamily("cait_xxs24_224", VIT, 32),
    "xcit": TimmFamily("xcit_nano_12_p16_224", {**VIT, "img_size": 64}),
    "swin": TimmFamily("swin_tiny_patch4_window7_224", SWIN),
    "swin v2": TimmFamily("swinv2_tiny_window8_256", SWIN),
    "davit": TimmFamily("davit_tiny", {**STAGES, "num_heads": (1, 2, 2, 4)}),
    "twins": TimmFamily("twins_svt_small", {**STAGES, "img_size": 64, "num_heads": (1, 2, 2, 4)}),
    "tiny vit": TimmFamily("tiny_vit_5m_224", {**STAGES, "num_heads": (1, 2, 2, 4)}),
    "coat": TimmFamily(
        "coat_lite_tiny", {"img_size": 64, "embed_dims": (8, 16, 16, 16), "serial_depths": (1, 1, 1, 1)}
    ),
    "pit": TimmFamily("pit_ti_224", {"img_size": 64, "base_dims": (8, 8, 8), "depth": (1, 1, 1), "heads": (1, 1, 1)}),
    "fastvit": TimmFamily("fastvit_t8", {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 16, 32)}),
    "edgenext": TimmFamily("edgenext_xx_small", {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 16)}),
    "mobilevit": TimmFamily("mobilevit_xxs"),
    "convnext": TimmFamily("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)}),
    "convnext squashed": TimmFamily(
        "convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384", {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)}
    ),
    "resnet": TimmFamily("test_resnet"),
    "resnet v2": TimmFamily("resnetv2_18"),
    "regnet": TimmFamily("regnetx_002"),
    "densenet": TimmFamily("densenet121", {"growth_rate": 4, "block_config": (1, 1, 1, 1)}),
    "nfnet": TimmFamily("test_nfnet"),
    "byobnet": TimmFamily("test_byobnet"),
    "mambaout": TimmFamily("test_mambaout"),
    "efficientnet": TimmFamily("test_efficientnet"),
    "efficientnet lite": TimmFamily("tf_efficientnet_lite0"),
    "mobilenet v2": TimmFamily("mobilenetv2_035"),
    "mobilenet v3": TimmFamily("mobilenetv3_small_050"),
    "mobilenet v4": TimmFamily("mobilenetv4_conv_small_035"),
    "mnasnet": TimmFamily("mnasnet_small"),
    "ghostnet": TimmFamily("ghostnet_050"),
    "repghost": TimmFamily("repghostnet_050"),
    "efficientvit": TimmFamily("efficientvit_b0"),
}


def timm_net(family: TimmFamily, num_classes: int = 3, **options: Any) -> nn.Module:
    """The network, in evaluation mode, the same each time; its logits differ between inputs."""
    torch.manual_seed(0)
    net = timm.create_model(family.model, num_classes=num_classes, **{**family.args, **options}).eval()
    heads = net.get_classifier()
    inputs = blobs(8, family.size, options.get("in_chans", 3))
    return _lively(net, inputs, heads if isinstance(heads, tuple) else (heads,), net)


def blobs(count: int, size: int, channels: int = 3) -> Tensor:
    """Pictures (count, channels, size, size) in [0, 1] of large blobs: networks see little of plain noise."""
    coarse = torch.rand(count, channels, 4, 4)
    return nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


@torch.no_grad()
def _lively(net: nn.Module, inputs: Tensor, heads: Sequence[Any], logits: Callable[[Tensor], Tensor]) -> nn.Module:
    """The network with statistics of its own, no zeros where training begins, and logits that differ by about 1."""
    for value in net.parameters():
        if value.ndim == 1 and value.abs().max() < 1e-3:
            value.normal_(0, 0.5)
    inputs = inputs * 4 - 2
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    logits(inputs)
    for norm in norms:
        norm.running_var.clamp_min_(0.01)  # a channel that saw nothing here would drown the others elsewhere
    net.eval()
    spread = logits(inputs).std(0).mean().clamp_min(1e-4)
    for head in heads:
        head.weight.div_(spread)
    middle = logits(inputs).mean(0)
    for head in heads:
        head.bias.sub_(middle)
    return net


class TransformersFamily(NamedTuple):
    """A classifier of transformers.

    Attributes:
        config: class of its config, without "Config".
        settings: what makes it small.
        processor: class of its image processor, without "ImageProcessor".
        images: settings of the processor.
        model: class of the network.
    """

    config: str
    settings: dict[str, Any]
    processor: str
    images: dict[str, Any]
    model: str = ""


HIDDEN = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
PATCHES = {**HIDDEN, "image_size": 32, "patch_size": 8}
WINDOWS = {
    "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4,
}  # fmt: skip
SQUASH = {"size": {"height": 32, "width": 32}}
SHORTEST = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
ODD = {"size": {"shortest_edge": 39}, "crop_size": {"height": 32, "width": 32}}  # a margin of 7 pixels
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}

TRANSFORMERS = {
    "vit": TransformersFamily("ViT", PATCHES, "ViT", SQUASH),
    "vit msn": TransformersFamily("ViTMSN", PATCHES, "ViT", {**SQUASH, "resample": 0}),
    "deit": TransformersFamily(
        "DeiT", PATCHES, "DeiT", {"size": {"height": 37, "width": 37}, "crop_size": {"height": 32, "width": 32}}
    ),
    "deit distilled": TransformersFamily(
        "DeiT", PATCHES, "DeiT", {"size": {"height": 37, "width": 37}, "crop_size": {"height": 32, "width": 32}},
        "DeiTForImageClassificationWithTeacher",
    ),
    "beit": TransformersFamily("Beit", PATCHES, "Beit", SQUASH),
    "dinov2": TransformersFamily("Dinov2", {**PATCHES, "mlp_ratio": 1}, "Bit", ODD),
    "dinov2 of registers": TransformersFamily("Dinov2WithRegisters", {**PATCHES, "mlp_ratio": 1}, "Bit", SHORTEST),
    "swin": TransformersFamily("Swin", WINDOWS, "ViT", SQUASH),
    "swin v2": TransformersFamily("Swinv2", WINDOWS, "ViT", SQUASH),
    "focalnet": TransformersFamily(
        "FocalNet",
        {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "hidden_sizes": [8, 16],
         "focal_levels": [1, 1], "focal_windows": [3, 3]},
        "Bit", ODD,
    ),
    "convnext": TransformersFamily(
        "ConvNext", {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}, "ConvNext",
        {"size": {"shortest_edge": 32}, "crop_pct": 0.9},
    ),
    "convnext v2": TransformersFamily(
        "ConvNextV2", {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}, "ConvNext",
        {"size": {"shortest_edge": 384}},
    ),
    "resnet": TransformersFamily("ResNet", RESNET, "ConvNext", {"size": {"shortest_edge": 32}, "crop_pct": 0.875}),
    "regnet": TransformersFamily("RegNet", {**RESNET, "groups_width": 8}, "ConvNext", {"size": {"shortest_edge": 33}}),
    "bit": TransformersFamily(
        "Bit", {"embedding_size": 32, "hidden_sizes": [32, 32], "depths": [1, 1], "num_groups": 8}, "Bit", SHORTEST
    ),
    "poolformer": TransformersFamily(
        "PoolFormer",
        {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
        "PoolFormer",
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "crop_pct": 0.9},
    ),
    "levit": TransformersFamily(
        "Levit",
        {"image_size": 64, "hidden_sizes": [16, 16, 16], "depths": [1, 1, 1], "num_attention_heads": [1, 1, 1],
         "key_dim": [8, 8, 8]},
        "Levit",
        {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
    ),
    "mobilenet v1": TransformersFamily("MobileNetV1", {"depth_multiplier": 0.1}, "MobileNetV1", ODD),
    "mobilenet v2": TransformersFamily("MobileNetV2", {"depth_multiplier": 0.1}, "MobileNetV2", SHORTEST),
    "mobilevit": TransformersFamily(
        "MobileViT",
        {"image_size": 64, "patch_size": 2, "hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 8],
         "num_attention_heads": 2},
        "MobileViT",
        {"size": {"shortest_edge": 60}, "crop_size": {"height": 64, "width": 64}},  # narrower than its crop
    ),
    "efficientnet": TransformersFamily(
        "EfficientNet", {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
        "EfficientNet", {**SQUASH, "include_top": False, "resample": 0},
    ),
    "pvt": TransformersFamily(
        "Pvt",
        {"num_labels": 3, "image_size": 32, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1],
         "num_attention_heads": [1, 1, 1, 1]},
        "Pvt", SQUASH,
    ),
    "segformer": TransformersFamily(
        "Segformer",
        {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]},
        "Segformer", SQUASH,
    ),
    "hgnet": TransformersFamily("HGNetV2", {}, "ConvNext", {"size": {"shortest_edge": 32}}),
    "siglip": TransformersFamily("Siglip", {"vision_config": PATCHES}, "Siglip", SQUASH),
    "clip": TransformersFamily("CLIP", {"vision_config": PATCHES}, "CLIP", ODD),
}  # fmt: skip


def save_transformers(family: TransformersFamily, folder: Any, **settings: Any) -> str:
    """A folder as `save_pretrained` writes it, with the same weights each time, their logits different between inputs.

    Args:
        family: one of `TRANSFORMERS`.
        folder: where to.
        **settings: of the config, besides those of the family.
    """
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: index for index, name in enumerate(NAMES)}}
    config = getattr(transformers, f"{family.config}Config")(**{**labels, **family.settings, **settings})
    name = family.model or f"{family.config}ForImageClassification"
    net = getattr(transformers, name)(config).eval()
    heads = [part for part in net.modules() if isinstance(part, nn.Linear)][-2 if family.model else -1 :]
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            part.reset_parameters()  # transformers draws them so small that BatchNorm sees nothing
    size = family.images.get("crop_size", family.images["size"])
    side = min(64, size.get("height") or size["shortest_edge"])
    inputs = blobs(8, side, getattr(config, "num_channels", 3))
    _lively(net, inputs, heads, lambda x: net(x).logits)
    net.save_pretrained(folder)
    getattr(transformers, f"{family.processor}ImageProcessor")(**family.images).save_pretrained(folder)
    return str(folder)
