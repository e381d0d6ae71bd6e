"""A trained explainer: one forward pass an explanation, no black box needed."""

import pickle
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.features import PatchGrid
from fex.nets import ExplainerNet, rebuild
from fex.preprocess import Preprocess
from fex.removal import Removal
from fex.resources import manifest, shipped_path
from fex.weights import load_state, load_weights, save_weights

__all__ = ["AmortizedExplainer", "explainer_meta", "export_explainer", "load_explainer"]


def explainer_meta(net: ExplainerNet, black_box: BlackBox, removal: Removal) -> dict[str, Any]:
    """Plain data that, with the weights, is a whole explainer."""
    return {
        "kind": "explainer",
        "method": "FEX",
        "net": net.init_args,
        "grid": [net.features.height, net.features.width],
        "class_names": list(black_box.class_names),
        "preprocess": black_box.preprocess.to_dict(),
        "black_box": black_box.name,
        "removal": removal.name,
    }


class AmortizedExplainer:
    """An explainer network with all it needs to explain: features, class names, geometry.

    Args:
        net: the network, built.
        meta: see `explainer_meta`.

    Attributes:
        features: N features.
        preprocess: PIL image -> input (3, H, W) in [0, 1].
        class_names: names of the C classes.
        method, black_box, removal: how results are named.
    """

    def __init__(self, net: ExplainerNet, meta: dict[str, Any]) -> None:
        self.net = net.eval().requires_grad_(requires_grad=False)
        self.meta = meta
        self.features = net.features
        self.preprocess = Preprocess(**meta["preprocess"])
        self.class_names: list[str] = meta["class_names"]
        self.method, self.black_box, self.removal = meta["method"], meta["black_box"], meta["removal"]
        self.device = torch.device("cpu")

    def to(self, device: torch.device | str) -> "AmortizedExplainer":
        """Moves the network."""
        self.device = torch.device(device)
        self.net.to(self.device)
        return self

    def _check(self, inputs: Tensor) -> Tensor:
        expected = (3, *self.preprocess.size)
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != expected:
            raise ValueError(
                f"Got inputs of shape {tuple(inputs.shape)}, expected (B, {', '.join(map(str, expected))}) in [0, 1]; "
                "`.preprocess(image)` gives one of them, stack them."
            )
        return inputs.to(self.device)

    def target_index(self, target: str | int) -> int:
        """Class index of a name (case does not matter) or an index.

        Raises:
            ValueError: no such class; names the closest.
        """
        if isinstance(target, int) or str(target).lstrip("-").isdigit():
            index = int(target)
            if not 0 <= index < len(self.class_names):
                raise ValueError(f"Class {index} is outside 0 ... {len(self.class_names) - 1}.")
            return index
        names = [name.lower() for name in self.class_names]
        if target.lower() in names:
            return names.index(target.lower())
        import difflib

        near = difflib.get_close_matches(target.lower(), names, n=3, cutoff=0.4) or names[:5]
        raise ValueError(f"Unknown class {target!r}. Closest of the {len(names)} classes: {', '.join(near)}.")

    @torch.inference_mode()
    def predict(self, inputs: Tensor) -> Tensor:
        """The explainer's estimate of f(x), softmax(mean log g), (B, C): what the KL term of eq. 24 aligns."""
        return self.net(self._check(inputs))[1].softmax(1)

    @torch.inference_mode()
    def explain_batch(self, inputs: Tensor, target: Tensor | int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """One pass -> attribution lambda (B, N) in [0, 1], target (B,), class probabilities (B, C)."""
        inputs = self._check(inputs)
        chosen = None
        if target is not None:
            chosen = torch.as_tensor(target, dtype=torch.int64, device=self.device).reshape(-1)
            chosen = chosen.expand(len(inputs)) if chosen.numel() == 1 else chosen
            if len(chosen) != len(inputs):
                raise ValueError(
                    f"Got {len(chosen)} targets for {len(inputs)} inputs, expected one each or one for all."
                )
            if chosen.numel() and not (int(chosen.min()) >= 0 and int(chosen.max()) < len(self.class_names)):
                raise ValueError(f"Target {chosen.tolist()} is outside the {len(self.class_names)} classes.")
        logits, rates = self.net(inputs, chosen)
        return logits.sigmoid(), rates.argmax(1) if chosen is None else chosen, rates.softmax(1)

    def attribute_features(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> attribution of each feature, (B, N), in [0, 1]."""
        return self.explain_batch(inputs, target)[0]

    def attribute(self, inputs: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> attribution of each pixel, (B, H, W), in [0, 1].

        Args:
            inputs: images as `.preprocess` gives them, stacked.
            target: class or classes (B,); by default the one the explainer itself predicts.
        """
        return self.features.expand(self.attribute_features(inputs, target), self.preprocess.size)

    def open(self, image: str | Path | Image.Image) -> Tensor:
        """A picture or its path -> (3, H, W) in [0, 1]."""
        if isinstance(image, Image.Image):
            return self.preprocess(image)
        with Image.open(image) as picture:
            return self.preprocess(picture)


def export_explainer(checkpoint: str | Path, path: str | Path) -> None:
    """Writes the explainer of a training checkpoint, without optimiser state, in bfloat16 safetensors."""
    tensors, meta = _read(checkpoint)
    save_weights(path, tensors, meta)


def _read(name_or_path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = shipped_path(str(name_or_path)) or Path(name_or_path)
    if path.is_dir():
        found = sorted(path.rglob("last.ckpt")) or sorted(path.rglob("*.ckpt"))
        if not found:
            raise FileNotFoundError(f"Found no checkpoint (*.ckpt) in {path}.")
        path = found[0]
    if not path.is_file():
        known = [name for name, entry in manifest().items() if entry["kind"] == "explainer"]
        raise FileNotFoundError(f"Found no checkpoint at {path}; shipped explainers: {', '.join(known) or 'none'}.")
    if path.suffix == ".safetensors":
        tensors, meta = load_weights(path)
    else:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise ValueError(
                f"{path} could not be read as a checkpoint without running code from it ({str(error).splitlines()[0]})."
                " Give a checkpoint written by fex-train."
            ) from error
        meta = checkpoint.get("fex") if isinstance(checkpoint, dict) else None
        if meta is None:
            raise ValueError(f"{path} is no FEX checkpoint (it has no `fex` entry): give one written by fex-train.")
        prefix = "explainer."
        tensors = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    if meta.get("kind") != "explainer":
        raise ValueError(f"{path} holds a {meta.get('kind')!r}, expected an explainer: use fex.load_black_box for it.")
    return tensors, meta


def load_explainer(name_or_path: str | Path) -> AmortizedExplainer:
    """A trained explainer, ready to explain; needs neither the black box nor data, and runs no code from the file.

    Args:
        name_or_path: shipped name, a .ckpt of `fex-train`, an exported .safetensors, or a run's folder.

    Raises:
        FileNotFoundError: nothing there; lists the shipped names.
        ValueError: not a checkpoint of an explainer, or one that does not fit.
    """
    tensors, meta = _read(name_or_path)
    net = rebuild(meta["net"], len(meta["class_names"]), PatchGrid(*meta["grid"]))
    load_state(net, tensors, source=str(name_or_path))
    return AmortizedExplainer(net, meta)
