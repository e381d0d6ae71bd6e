"""Encoder of the transformers library: its ViTs, whose features are tokens, and its networks with feature maps."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fex.nets.backbones.transformers import build_vision_net, head_of, load_vision_net
from fex.nets.encoder import PROBE, Encoder, EncoderOutput, freeze_unused, to_grid
from fex.texts.text_net import plain_config

__all__ = ["TransformersEncoder"]

LEVELS = 3  # feature maps that are read, the deepest ones
MOST_PREFIX = 16  # tokens in front of the patches: class, distillation, registers


class _Features(NamedTuple):
    """What one pass gives: maps (B, D, h, w), the deepest last, and the tokens in front of the patches (B, P, D)."""

    maps: list[Tensor]
    prefix: Tensor


class TransformersEncoder(Encoder):
    """An image network of transformers: ViT, DeiT, BEiT, DINOv2, Swin, ConvNeXt, ResNet and others alike.

    Feature maps, or the patches' tokens, are brought to the grid, normalised, projected and summed. How its classifier
    reads the features (the class token, or the mean of the patches, normalised or not) is found by trying it.

    Args:
        model: local folder as `save_pretrained` writes it, or hub id.
        config: a transformers config as plain data, instead of `model`; untrained, for weights to be loaded into.
        mean: normalisation of the inputs, RGB in [0, 1]: that of the black box.
        std: the same.
        dim: D.
        frozen: keep the backbone as it is; the projections are always trained.
        class_head: keep the model's own classifier, frozen, and start the class levels and maps from it; for a model
            that classifies as the black box does.
        reading: how the classifier reads, [pool, norm]; found where it is not given. Only with `config`.

    Raises:
        ValueError: neither or both of model and config; a network that gives neither tokens on a grid nor maps; with
            `class_head`, one that does not end in one linear layer over them.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        config: dict[str, Any] | None = None,
        dim: int = 256,
        frozen: bool = False,
        class_head: bool = False,
        reading: tuple[str, str] | None = None,
    ) -> None:
        if (model is None) == (config is None):
            raise ValueError(f"TransformersEncoder needs either `model` or `config`, got {model!r} and {config!r:.80}.")
        net: Any = build_vision_net(config) if model is None else load_vision_net(model, classifier=class_head)
        if net.base_model is net or getattr(net.config, "num_channels", 3) != 3:
            raise ValueError(f"{type(net).__name__} is no classifier of RGB pictures upon a network of its own.")
        init_args = {
            "config": plain_config(net), "dim": dim, "frozen": frozen, "class_head": class_head, "reading": None,
            "mean": list(mean), "std": list(std),
        }  # fmt: skip
        super().__init__(dim, tuple(mean), tuple(std), init_args, frozen=False)
        self.backbone_frozen, self.class_head = frozen, class_head
        self.patch = _patch(net.config)
        self.net = net if class_head else net.base_model
        size = _image_size(net.config)
        probe = torch.zeros(1, 3, *(size or (PROBE, PROBE)))
        with torch.no_grad():
            found = self._features(probe)
            self.size = size if size is not None and self._fixed(probe) else None
            if class_head:
                reading = tuple(reading) if reading is not None else self._find_reading(probe)
                init_args["reading"] = list(reading)
                self.pool, self.norm = reading
        self.norms = nn.ModuleList(nn.LayerNorm(level.shape[1]) for level in found.maps)
        self.lateral = nn.ModuleList(nn.Linear(level.shape[1], dim) for level in found.maps)
        self.eval()
        if class_head:
            self._head.requires_grad_(requires_grad=False)
        if frozen:
            self.net.requires_grad_(requires_grad=False)
        else:
            freeze_unused(self.net, lambda: sum(part.sum() for part in self.encode(probe, (2, 2)) if part is not None))
            self.zero_grad()

    @property
    def _body(self) -> Any:
        return self.net.base_model if self.class_head else self.net

    @property
    def _head(self) -> nn.Linear:
        head = head_of(self.net)
        if head is None:
            raise ValueError(f"{type(self.net).__name__} does not end in one linear layer: set class_head: false.")
        return head

    @property
    def class_weight(self) -> Tensor | None:
        """See `Encoder`."""
        return self._head.weight if self.class_head else None

    def _fixed(self, probe: Tensor) -> bool:
        """Whether inputs of another size are refused, as by a ViT, whose positions are learnt."""
        try:
            self._features(F.pad(probe, (0, 2 * (self.patch or (16, 16))[1])))
        except (ValueError, RuntimeError):
            return True
        return False

    def _features(self, inputs: Tensor) -> _Features:
        """Normalised inputs (B, 3, H, W) -> maps and prefix.

        Raises:
            ValueError: features that are neither.
        """
        output = self._body(pixel_values=inputs, output_hidden_states=self.patch is None or self._staged)
        last, stages = output.last_hidden_state, output.get("reshaped_hidden_states") or output.get("hidden_states")
        maps = [stage for stage in stages or () if stage.ndim == 4]
        if last.ndim == 3 and maps:  # Swin: the deepest stage, normalised, as tokens
            last = last.transpose(1, 2).unflatten(2, tuple(maps[-1].shape[-2:]))
        if last.ndim == 4:
            deepest = {tuple(stage.shape[-2:]): stage for stage in maps} | {tuple(last.shape[-2:]): last}
            by_size = sorted(deepest.values(), key=lambda stage: -stage.shape[-2] * stage.shape[-1])
            return _Features(by_size[-LEVELS:], last.new_zeros(len(last), 0, last.shape[1]))
        cells = tuple(side // patch for side, patch in zip(inputs.shape[-2:], self.patch or (1, 1), strict=True))
        prefix = last.shape[1] - cells[0] * cells[1] if last.ndim == 3 and self.patch is not None else -1
        if not 0 <= prefix <= MOST_PREFIX:
            size = tuple(inputs.shape[-2:])
            raise ValueError(
                f"{type(self._body).__name__} gives features {tuple(last.shape)} for {size} pixels, expected "
                "feature maps or a token a patch: choose another encoder, such as fex.nets.PyramidEncoder."
            )
        return _Features([last[:, prefix:].transpose(1, 2).unflatten(2, cells)], last[:, :prefix])

    @property
    def _staged(self) -> bool:
        """Whether it has stages of several sizes."""
        return hasattr(self._body.config, "depths") or hasattr(self._body.config, "stage_names")

    def _find_reading(self, probe: Tensor) -> tuple[str, str]:
        """[pool, norm] by which the linear layer gives the network's own logits.

        Raises:
            ValueError: none does.
        """
        inputs = torch.rand(probe.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        features, logits = self._features(inputs), self.net(pixel_values=inputs).logits
        norms = [name for name, part in self._body.named_modules() if isinstance(part, nn.LayerNorm)]
        # Those of blocks and of what comes before them read no last features.
        outer = [name for name in norms if not any(each.isdigit() for each in name) and "embed" not in name]
        for norm in ["", *outer]:
            for pool in ("first", "mean", "both"):
                read = self._read(features, pool, norm)
                if read is not None and torch.allclose(self._head(read), logits, 1e-3, 1e-4):
                    return pool, norm
        raise ValueError(
            f"How the classifier of {type(self.net).__name__} reads its features was not found: set class_head: false."
        )

    def _read(self, features: _Features, pool: str, norm: str) -> Tensor | None:
        """What the linear layer gets, (B, E); None where it cannot."""
        if pool != "mean" and features.prefix.shape[1] == 0:
            return None
        mean = features.maps[-1].mean((2, 3))
        first = mean if pool == "mean" else features.prefix[:, 0]
        part = self._normed(torch.cat([first, mean], 1) if pool == "both" else first, norm)
        return part if part is not None and part.shape[1] == self._head.in_features else None

    def _normed(self, values: Tensor, norm: str) -> Tensor | None:
        layer: Any = self._body.get_submodule(norm) if norm else nn.Identity()
        fits = not norm or layer.normalized_shape == values.shape[-1:]
        return layer(values) if fits else None

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> EncoderOutput:
        """See `Encoder`; pooled is the projected class token, or the mean of the tokens where there is none."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.backbone_frozen):
            features = self._features(inputs)
            evidence = self._evidence(features, grid) if self.class_head else ()
        tokens = torch.stack(
            [
                lateral(norm(to_grid(level.float(), grid).flatten(2).transpose(1, 2)))
                for level, norm, lateral in zip(features.maps, self.norms, self.lateral, strict=True)
            ]
        ).sum(0)
        first = features.prefix[:, :1].float()
        pooled = tokens.mean(1) if first.shape[1] == 0 else self.lateral[-1](self.norms[-1](first[:, 0]))
        return EncoderOutput(tokens, pooled, *evidence)

    def _evidence(self, features: _Features, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and what the linear layer reads where all places are the same one, (B, N, E)."""
        read = self._read(features, self.pool, self.norm)
        places = to_grid(features.maps[-1], grid).flatten(2).transpose(1, 2)
        local = self._normed(torch.cat([places, places], -1) if self.pool == "both" else places, self.norm)
        if read is None or local is None:
            raise ValueError(f"The classifier of {type(self.net).__name__} does not read {self.pool!r}, {self.norm!r}.")
        return self._head(read), local


def _patch(config: Any) -> tuple[int, int] | None:
    """(height, width) of a patch in pixels; None of a network that names none."""
    patch = getattr(config, "patch_size", None)
    return (patch, patch) if isinstance(patch, int) else None if patch is None else (patch[0], patch[1])


def _image_size(config: Any) -> tuple[int, int] | None:
    """(H, W) in pixels for which it was built; None where it names none."""
    size = getattr(config, "image_size", None)
    return (size, size) if isinstance(size, int) else None if size is None else (size[0], size[1])
