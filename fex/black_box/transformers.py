"""An image classifier of the transformers library as a black box: a hub id or a local folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fex.black_box.classes import chosen_names, names_of
from fex.black_box.colour import Colour
from fex.black_box.network import TorchBlackBox
from fex.black_box.processors import check_processor, normalisation_of, preprocess_of
from fex.images.preprocess import Preprocess, as_preprocess
from fex.storage.pretrained import fetch_pretrained

__all__ = ["TransformersBlackBox"]


def fetch_network(model: str, revision: str | None, kind: str = "ImageClassification") -> nn.Module:
    """A network of the hub or a folder, of the kind `transformers.AutoModelFor...`; errors as of the classes below."""
    import transformers  # here: the import takes seconds

    net, report = fetch_pretrained(
        lambda: getattr(transformers, f"AutoModelFor{kind}"),
        model,
        revision,
        noun="image classifier" if kind == "ImageClassification" else f"network of the kind {kind}",
        files="config.json, preprocessor_config.json and model.safetensors",
        hint=" Wrap other models in a function: CallableBlackBox.",
    )
    missing = sorted(report["missing_keys"])
    if missing:  # transformers would fill them with random numbers, and only warn
        hint = "Give one that is fine-tuned for classification."
        if hasattr(net.config, "text_config"):
            hint = "It compares pictures with texts: give it `prompts`, one a class (ZeroShotBlackBox)."
        raise ValueError(
            f"The weights of {model!r} lack {len(missing)} tensors of {type(net).__name__} (first: {missing[0]}): it "
            f"is no trained image classifier. {hint}"
        )
    return net


def image_processor(model: str, revision: str | None) -> Any | None:
    """The model's image processor; None where it has none."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError):
        return None


def prepared_by(
    processor: Any, config: Any, preprocess: Preprocess | None, mean: Colour | None, std: Colour | None, model: str
) -> tuple[Preprocess, Colour, Colour]:
    """Geometry and colours as given, or as the processor has them, which is then tried.

    Raises:
        ValueError: neither says how images are prepared; a processor that does more than is known.
    """
    settings = processor.to_dict() if processor is not None else {}
    if not settings and (preprocess is None or mean is None or std is None):
        raise ValueError(
            f"{model!r} has no preprocessor_config.json that says how its images are prepared: set `preprocess`, "
            "`mean` and `std`."
        )
    geometry = as_preprocess(preprocess) if preprocess else preprocess_of(settings, getattr(config, "image_size", None))
    if geometry is None:
        raise ValueError(
            f"The preprocessor_config.json of {model!r} leaves the size of its images open: set `preprocess`, such as "
            "{height: 224, width: 224}."
        )
    if mean is not None and std is not None:
        return geometry, mean, std
    own_mean, own_std = normalisation_of(settings)
    if preprocess is None and mean is None and std is None:
        channels = getattr(config, "num_channels", 3)
        check_processor(processor, geometry, own_mean, own_std, channels=channels, name=model)
    return geometry, own_mean if mean is None else mean, own_std if std is None else std


@torch.no_grad()
def check_size(net: nn.Module, config: Any, preprocess: Preprocess, model: str) -> None:
    """Where the pictures are not of the size that the config says, tries whether the network takes them all the same.

    Raises:
        ValueError: it does not; with both sizes.
    """
    said = getattr(config, "image_size", None)
    sides = (said, said) if isinstance(said, int) else said
    if said is None or tuple(sides) == preprocess.size:
        return
    try:
        net(torch.zeros(1, getattr(config, "num_channels", 3), *preprocess.size))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{model!r} takes pictures of {' x '.join(map(str, sides))} pixels (its config's image_size), and would be "
            f"given {' x '.join(map(str, preprocess.size))}: mend the size in its preprocessor_config.json, or set "
            "`preprocess`."
        ) from error


class TransformersBlackBox(TorchBlackBox):
    """An image classifier of the transformers library.

    Class names come from the model's config; input size, crop, mean and std from its preprocessor_config.json, and are
    compared with what its image processor gives. Weights of any dtype are computed with in float32 unless `precision`
    says otherwise. A head with one logit makes two classes, see `BlackBox`; a regression has none and is refused. Code
    that comes with a model is never run.

    Args:
        model: id on the hub, or a local folder as `save_pretrained` writes it.
        revision: branch, tag or commit on the hub; None takes the newest.
        class_names: names of the classes, in the order of the scores.
        preprocess: geometry of the inputs.
        mean: mean of the normalisation, RGB in [0, 1].
        std: standard deviation of the normalisation.
        multi_label: classes are not exclusive; None asks the model's config.
        name: how errors and reports call it; by default the last part of `model`.
        **options: see `TorchBlackBox`: precision, channels_last, compile, chunk.

    Raises:
        OSError: neither a local folder nor a model that the hub gives.
        ValueError: no trained image classifier; one that does not say how its images are prepared, or whose image
            processor does more than this class knows.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        class_names: Sequence[str] | None = None,
        preprocess: Preprocess | None = None,
        mean: Colour | None = None,
        std: Colour | None = None,
        multi_label: bool | None = None,  # noqa: FBT001 a YAML key
        name: str | None = None,
        **options: Any,
    ) -> None:
        net = fetch_network(model, revision)
        config: Any = net.config
        config.return_dict = True  # some networks read their own parts' answers by name
        if config.problem_type == "regression":
            raise ValueError(
                f"{model!r} is a regression model (its config's problem_type): its number is no probability of a "
                "class, and only classifiers can be explained. If it is a classifier, change problem_type there."
            )
        processor = None if None not in (preprocess, mean, std) else image_processor(model, revision)
        preprocess, mean, std = prepared_by(processor, config, preprocess, mean, std, model)
        net.eval()
        check_size(net, config, preprocess, model)
        if multi_label is None:
            multi_label = config.problem_type == "multi_label_classification"
        self._flips = bool(getattr(processor, "do_flip_channel_order", False))
        super().__init__(
            net.requires_grad_(requires_grad=False),
            channels=getattr(config, "num_channels", 3),
            class_names=chosen_names(class_names, names_of(config.id2label, model)),
            num_classes=config.num_labels,
            preprocess=preprocess,
            mean=mean,
            std=std,
            multi_label=multi_label,
            name=name or Path(model).name,
            **options,
        )
        self.model = model

    def _logits(self, inputs: Tensor, network: Callable[[Tensor], Any] | None = None) -> Tensor:
        # MobileViT was trained on BGR.
        return super()._logits(inputs.flip(1) if self._flips else inputs, network)
