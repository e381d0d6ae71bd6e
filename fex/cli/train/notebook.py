"""`fex.train`: the run of a config in one call, for a notebook."""

import shutil
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fex.black_box import BlackBox, load_black_box
from fex.black_box.text import TextInputs
from fex.cli.train.checkpoint_io import SafeCheckpointIO
from fex.cli.train.data_spec import built_data, data_spec_of
from fex.cli.train.graceful_stop import GracefulStop
from fex.cli.train.quiet import SILENCED
from fex.cli.train.recipe import Plan, built, content_of, plan_of
from fex.explainers import AmortizedExplainer, load_explainer
from fex.explainers.encoder_choice import EncoderChoice, choose_encoder, stored
from fex.images import PatchGrid
from fex.keywords import check_keywords, keywords_of
from fex.storage.atomic import claimed

__all__ = ["train"]


def train(
    black_box: Any,
    data: Any,
    *,
    name: str = "explainer",
    grid: int | tuple[int, int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
    seed: int = 0,
    **settings: Any,
) -> AmortizedExplainer:
    """Trains an explainer of a black box by the recommended setting, as `fex-train --init` writes it.

    Args:
        black_box: a black box, or what `fex.load_black_box` takes.
        data: a folder of pictures, or of sounds for a box of spectrograms; a list of pictures (paths, PIL images,
            arrays); a tensor (n, 3, H, W) in [0, 1]; a data set of torch, or its loader; of a box of texts, a list of
            texts, or a file or folder of them.
        name: the run is kept in runs/NAME: checkpoints/last.ckpt, and curves for TensorBoard.
        grid: places a side, or (height, width); by default what suits the box and the data.
        epochs: passes over the data; by default as many as show 20,000 instances.
        batch_size: instances a step.
        overwrite: write over the checkpoints of an earlier run of this name.
        seed: seed of everything.
        **settings: of Lightning's Trainer, such as `accelerator` or `max_steps`.

    Returns:
        The explainer, which needs neither the box nor the data.

    Raises:
        FileExistsError: there is a run of this name.
        ValueError, TypeError: data that does not fit the box; a keyword that there is none of, or that leaves no
            explainer to return; a name that is no name of a folder.

    Example:
        explainer = fex.train(fex.load_black_box("resnet50"), "photos/", grid=7)
        explainer.explain("cat.jpg")[0].plot()
    """
    from lightning.pytorch import Trainer, seed_everything

    own = [each for each in keywords_of(train) if each not in ("black_box", "data")]
    check_keywords(settings, [*own, *keywords_of(Trainer)], what="fex.train")
    box = black_box if isinstance(black_box, BlackBox) else load_black_box(black_box)
    folder = Path("runs") / _checked(name, settings)
    checkpoints = folder / "checkpoints"
    if not overwrite and any(checkpoints.glob("*.ckpt")):
        raise FileExistsError(f"{checkpoints} holds an earlier run: give another name, or overwrite=True.")
    seed_everything(seed, verbose=False)
    texts = isinstance(box, TextInputs)
    spec = data_spec_of(data, texts=texts, size=None if texts else box.preprocess.size)
    source = built_data(spec, box.preprocess, seed=seed)
    source.needs_labels = False  # it learns from the box's answers
    source.setup("fit")
    with tempfile.TemporaryDirectory() as weights:
        choice = choose_encoder(box, stored(box, Path(weights)), len(source.datasets.get("train", ())))
    sides = (grid, grid) if isinstance(grid, int) else grid
    plan = plan_of(box, choice, name, source, grid=sides, epochs=epochs, batch_size=batch_size)
    source.batch_size = plan.batch_size
    content = content_of(box, box, spec, choice, plan)
    saving = next(each for each in content["trainer"]["callbacks"] if each["class_path"].endswith(".ModelCheckpoint"))
    saving["init_args"]["dirpath"] = str(checkpoints)  # whatever the logger
    module = _module(content["model"], choice, plan, seed)
    with claimed(folder):
        if overwrite and checkpoints.is_dir():
            shutil.rmtree(checkpoints)
        _fit(module, source, content["trainer"], settings)
        if not (checkpoints / "last.ckpt").is_file():
            raise ValueError(
                "No step was trained, so there is no explainer: leave out limits of 0, such as max_steps=0."
            )
    return load_explainer(checkpoints / "last.ckpt")


def _checked(name: str, settings: dict[str, Any]) -> str:
    """The name of a run, where one folder can have it and the settings keep what is trained.

    Raises:
        ValueError: they do not.
    """
    if name in ("", ".", "..") or any(sign in name for sign in "/\\:"):
        raise ValueError(f"Got name={name!r}, expected the name of a folder in runs/: leave out / and the like.")
    for key, keeps in (("fast_dev_run", False), ("enable_checkpointing", True), ("barebones", False)):
        if bool(settings.get(key, keeps)) is not keeps and settings.get(key) is not None:
            raise ValueError(
                f"Got {key}={settings[key]!r}, with which no checkpoint is written and there would be no explainer to "
                "return: leave it out; max_steps=2 tries a run."
            )
    return name


def _module(spec: dict[str, Any], choice: EncoderChoice, plan: Plan, seed: int) -> Any:
    """The Lightning module that a config describes, around the encoder and the box that are there already."""
    given = {**spec["init_args"], "seed": seed}
    given["explainer"]["init_args"]["encoder"] = choice.encoder
    given["features"] = None if plan.grid is None else PatchGrid(*plan.grid)
    optimiser = given["optimizer"]["init_args"]
    given["optimizer"] = partial(torch.optim.AdamW, **optimiser)
    return built({"class_path": spec["class_path"], "init_args": given})


def _fit(module: Any, source: Any, trainer: dict[str, Any], settings: dict[str, Any]) -> None:
    from lightning.pytorch import Trainer

    parts = {**built(trainer), "plugins": [SafeCheckpointIO()], "use_distributed_sampler": False}
    # The graceful stop keeps what an interrupt leaves, and saves the last steps too.
    callbacks = [*parts["callbacks"], GracefulStop(), *settings.pop("callbacks", [])]
    with warnings.catch_warnings():
        for pattern in SILENCED:
            warnings.filterwarnings("ignore", pattern)
        try:
            Trainer(**{**parts, **settings, "callbacks": callbacks}).fit(module, datamodule=source)
        except SystemExit as stop:  # how a command line leaves after Ctrl-C
            raise KeyboardInterrupt("Stopped; what was trained is kept.") from stop
