"""An image classifier of the transformers library as a black box: a hub id or a local folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fex.black_box.base import Compile, TorchBlackBox
from fex.preprocess import Preprocess

__all__ = ["TransformersBlackBox", "normalisation_of", "preprocess_of"]

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # PIL's numbers

Colour = tuple[float, float, float]


def _sides(size: int | Mapping[str, int]) -> tuple[int, int]:
    """Height and width of a size that names both, or of a square."""
    if isinstance(size, int):
        return size, size
    if "height" in size:
        return size["height"], size["width"]
    return size["shortest_edge"], size["shortest_edge"]


def preprocess_of(processor: Mapping[str, Any]) -> Preprocess | None:
    """The geometry that a preprocessor_config.json describes, or None where it leaves the size open.

    A resize to a fixed height and width that is followed by a crop (DeiT, BEiT) becomes a resize of the shorter
    side: the same for square pictures, and without the distortion for others.
    """
    size = processor.get("size") if processor.get("do_resize") else None
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    interpolation = RESAMPLE[int(processor.get("resample") or 2)]
    if crop is not None:
        return Preprocess(*_sides(crop), max(_sides(size)) if size is not None else None, interpolation)
    if size is None or (not isinstance(size, int) and "height" not in size and "shortest_edge" not in size):
        return None
    height, width = _sides(size)
    share = processor.get("crop_pct")
    if share is not None and height < 384:  # ConvNeXt's rule: from 384 pixels on, squash without a crop
        return Preprocess(height, width, int(height / share), interpolation)
    keeps_aspect = not isinstance(size, int) and "height" not in size and share is None
    return Preprocess(height, width, None, interpolation, squash=not keeps_aspect)


def normalisation_of(processor: Mapping[str, Any]) -> tuple[Colour, Colour]:
    """Mean and std that turn pixels in [0, 1] into what the model takes.

    The processor computes (v - m) / s on v = 255 f x (- 1 with an offset), where f is its rescale factor; that is
    (x - mean) / std with mean = (m + offset) / (255 f) and std = s / (255 f).
    """
    factor = 255.0 * (processor["rescale_factor"] if processor.get("do_rescale") else 1.0)
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    given = bool(processor.get("do_normalize"))
    mean = processor["image_mean"] if given else (0.0, 0.0, 0.0)
    std = processor["image_std"] if given else (1.0, 1.0, 1.0)
    if processor.get("include_top"):  # EfficientNet divides by the std once more
        std = [value * (own if given else 1.0) for value, own in zip(std, processor["image_std"], strict=True)]
    red, green, blue = ((value + offset) / factor for value in mean)
    red_std, green_std, blue_std = (value / factor for value in std)
    return (red, green, blue), (red_std, green_std, blue_std)


def _fetch(model: str, revision: str | None) -> nn.Module:
    from transformers import AutoModelForImageClassification  # here: the import takes seconds

    try:
        net, report = AutoModelForImageClassification.from_pretrained(
            model, revision=revision or "main", trust_remote_code=False, output_loading_info=True
        )
    except OSError as error:
        if Path(model).is_dir():
            raise OSError(
                f"{model} is no folder of a transformers classifier ({error}): expected config.json and "
                "model.safetensors, as `save_pretrained` writes them."
            ) from error
        raise OSError(
            f"Could not get {model!r} from the hub ({error}). Without a network, set `model` to a local folder with "
            "config.json, preprocessor_config.json and the weights."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{model!r} is no image classifier that transformers can build "
            f"({str(error).splitlines()[0]}). Wrap other models in a function: CallableBlackBox."
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:  # transformers would fill them with random numbers, and only warn
        raise ValueError(
            f"The weights of {model!r} lack {len(missing)} tensors of {type(net).__name__} (first: {missing[0]}): it "
            "is no trained image classifier. Give one that is fine-tuned for classification."
        )
    return net


def _processor(model: str, revision: str | None) -> dict[str, Any]:
    """What the model's image processor does, as plain data with the defaults of its class; {} where it has none."""
    from transformers import AutoImageProcessor

    try:
        return dict(
            AutoImageProcessor.from_pretrained(model, revision=revision or "main", trust_remote_code=False).to_dict()
        )
    except (OSError, ValueError):
        return {}


class TransformersBlackBox(TorchBlackBox):
    """An image classifier of the transformers library.

    Class names come from the model's config; input size, crop, mean and std from its preprocessor_config.json. Code
    that comes with a model is never run.

    Args:
        model: id on the hub, or a local folder as `save_pretrained` writes it.
        revision: branch, tag or commit on the hub; None takes the newest.
        precision: "fp32", "bf16" or "fp16".
        channels_last: memory format.
        compile: see `TorchBlackBox`.
        class_names: names of the classes, in the order of the scores.
        preprocess: geometry of the inputs.
        mean: mean of the normalisation, RGB in [0, 1].
        std: standard deviation of the normalisation.
        chunk: most images a call.
        multi_label: classes are not exclusive; None asks the model's config.
        name: how errors and reports call it; by default the last part of `model`.

    Raises:
        OSError: neither a local folder nor a model that the hub gives.
        ValueError: no trained image classifier; one that does not say how its images are prepared.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        precision: str = "fp32",
        channels_last: bool = False,  # noqa: FBT001, FBT002 a YAML key
        compile: Compile = False,  # noqa: A002, FBT001, FBT002 a YAML key
        class_names: Sequence[str] | None = None,
        preprocess: Preprocess | None = None,
        mean: Colour | None = None,
        std: Colour | None = None,
        chunk: int = 256,
        multi_label: bool | None = None,  # noqa: FBT001 a YAML key
        name: str | None = None,
    ) -> None:
        net = _fetch(model, revision)
        config: Any = net.config
        given = preprocess is not None and mean is not None and std is not None
        processor = {} if given else _processor(model, revision)
        if processor:
            own_mean, own_std = normalisation_of(processor)
            preprocess, mean, std = preprocess or preprocess_of(processor), mean or own_mean, std or own_std
        if preprocess is None or mean is None or std is None:
            raise ValueError(
                f"{model!r} has no preprocessor_config.json that says how its images are prepared: set `preprocess`, "
                "`mean` and `std`."
            )
        if multi_label is None:
            multi_label = config.problem_type == "multi_label_classification"
        net.requires_grad_(requires_grad=False)
        self._flips = bool(processor.get("do_flip_channel_order"))
        super().__init__(
            net.eval(),
            precision=precision,
            channels_last=channels_last,
            compile=compile,
            class_names=class_names or [str(config.id2label[index]) for index in range(config.num_labels)],
            num_classes=config.num_labels,
            preprocess=preprocess,
            mean=mean,
            std=std,
            chunk=chunk,
            multi_label=multi_label,
            name=name or Path(model).name,
        )
        self.model = model

    def _logits(self, inputs: Tensor, network: Callable[[Tensor], Any] | None = None) -> Tensor:
        # MobileViT was trained on BGR.
        return super()._logits(inputs.flip(1) if self._flips else inputs, network)
