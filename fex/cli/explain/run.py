"""What a command line of `fex-explain` asks for: loads the explainer or method, and hands over to its inputs."""

import argparse
from typing import Any

from fex.black_box.compiler import tell_compiler
from fex.cli.explain.asking import asks, refined_method
from fex.cli.explain.black_box_argument import chosen_black_box
from fex.cli.explain.checks import check_pictures, check_texts
from fex.cli.explain.devices import chosen_device, moved
from fex.cli.explain.instances import load_method
from fex.cli.explain.pictures import run_pictures
from fex.cli.explain.summary import PictureSummary, TextSummary
from fex.cli.explain.texts import run_texts
from fex.explainers.loading import build_explainer, read_explainer

__all__ = ["run_parsed"]


def run_parsed(arguments: argparse.Namespace) -> PictureSummary | TextSummary:
    """Does what the arguments say; what cannot be is told before anything is loaded that takes long.

    Raises:
        FileNotFoundError: no such checkpoint, picture or folder.
        ValueError: unknown class, unfit checkpoint, no images.
        OSError: results that cannot be written.
    """
    if arguments.method:
        total = check_pictures(arguments)
        return run_pictures(load_method(arguments), None, arguments, None, total)
    checkpoint = read_explainer(arguments.checkpoint)
    modality = checkpoint[1].get("modality", "image")
    if modality not in ("image", "text"):
        raise ValueError(
            f"{arguments.checkpoint} explains inputs of the modality {modality!r}; fex-explain reads pictures and "
            "texts: use fex.load_explainer in Python."
        )
    if modality == "text":
        check_texts(arguments)
        return run_texts(*_load(checkpoint, arguments), arguments, checkpoint)
    total = check_pictures(arguments)
    return run_pictures(*_load(checkpoint, arguments), arguments, checkpoint, total)


def _load(checkpoint: tuple[Any, Any], arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The explainer, and the black box where one is asked."""
    device = chosen_device(arguments.device)
    explainer = build_explainer(*checkpoint, source=arguments.checkpoint, backbone=arguments.backbone)
    if arguments.target is not None:
        explainer.target_index(arguments.target)  # an unknown class is told before anything is read or written
    elif arguments.top_k > len(explainer.class_names):
        raise ValueError(f"--top-k is {arguments.top_k}, the explainer has {len(explainer.class_names)} classes.")
    moved(explainer, device, precision=arguments.precision)
    arguments.precision = explainer.precision  # what `auto` means here, for the results' settings
    box = chosen_black_box(arguments.black_box).to(device) if arguments.black_box else None
    if box is not None:
        explainer.check_box(box)  # before the output folder is touched
        tell_compiler(box)
    return (refined_method(explainer, box, arguments) if asks(arguments) else explainer), box  # type: ignore[arg-type]
