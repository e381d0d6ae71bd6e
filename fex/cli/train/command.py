"""Lightning's command line with this project's defaults: what every run gets, and what is told before it begins."""

import importlib
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ActionConfigFile, Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from fex.cli.config import PackagedConfig, ShortErrors
from fex.cli.label_agreement import LabelAgreement
from fex.cli.train.checkpoint_check import check_checkpoint
from fex.cli.train.checkpoint_io import SafeCheckpointIO
from fex.cli.train.graceful_stop import GracefulStop, last_path
from fex.cli.train.loop_progress import LoopProgress
from fex.cli.train.model_lines import ModelLines
from fex.cli.train.own_network import name_own_network
from fex.cli.train.resume import SafeResume
from fex.storage.atomic import claimed, replacing

__all__ = ["FexCLI", "FexParser"]


PREDICTION_WRITER = "lightning_modules.callbacks.PredictionWriter"  # by name: fex does not import the modules


class FexParser(ShortErrors, LightningArgumentParser):
    """Lightning's parser with short errors."""

    def dump(self, *args: Any, **options: Any) -> str:
        """As ever, but what was parsed has been checked: once more would take as long as the parsing."""
        return super().dump(*args, **{"skip_validation": True, **options})

    def save(self, *args: Any, **options: Any) -> None:
        """Likewise."""
        super().save(*args, **{"skip_validation": True, **options})


class FexCLI(LightningCLI):
    """Lightning's command line with this project's defaults."""

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Those that `parser_kwargs` names: each is a parser of all settings, which takes its time."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name in self.parser_kwargs}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Installs the packaged-config look-up."""
        kwargs.setdefault("dump_header", ["Resolved configuration of this run; `--config` with it repeats the run."])
        parser = super().init_parser(**kwargs)
        for action in parser._actions:
            if isinstance(action, ActionConfigFile):
                action.__class__ = PackagedConfig
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Keeps the words for the command that goes on with the run."""
        self._argv = args if isinstance(args, list) else sys.argv[1:]
        super().parse_arguments(parser, args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Settings outside module, data and trainer."""
        parser.add_argument(
            "--threads", type=int | None, default=None, help="CPU threads of torch; default: as many as cores."
        )
        parser.add_argument(
            "--overwrite", type=bool, default=False, help="fit: write over the checkpoints of an earlier run."
        )

    def before_instantiate_classes(self) -> None:
        """Process-wide settings."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        # Said for this run alone: the config beside it, run again, asks again.
        self._overwrite, config["overwrite"] = config.get("overwrite", False), False
        name_own_network(config["model"])
        if config.get("threads"):
            torch.set_num_threads(config["threads"])
        torch.set_float32_matmul_precision("high")
        if self.subcommand == "predict":  # of any number of inputs: written as they come, not held
            config["return_predictions"] = False
            callbacks = _as_list(config["trainer"].get("callbacks"))
            writing = any(callback.get("class_path", "").endswith("PredictionWriter") for callback in callbacks)
            if not writing and not _per_instance(config["model"]["class_path"]):  # those keep what they find themselves
                writer = Namespace(class_path=PREDICTION_WRITER, init_args=Namespace(formats=None))
                config["trainer"]["callbacks"] = [*callbacks, writer]
        if self.subcommand != "fit":  # config.yaml beside a run stays the one it was trained with
            self.save_config_kwargs["config_filename"] = f"config_{self.subcommand}.yaml"

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds what every run needs: safe checkpoints, a graceful stop, progress that a log file can show."""
        config = (self.config_init[self.subcommand] if self.subcommand else self.config_init)["trainer"]
        callbacks, plugins = _as_list(config.get("callbacks")), _as_list(config.get("plugins"))
        callbacks += [GracefulStop(["fex-train", *self._argv]), SafeResume(), LabelAgreement()]
        shown = config.get("enable_progress_bar") is not False and not any(
            isinstance(c, ProgressBar) for c in callbacks
        )
        if shown:
            callbacks.append(LoopProgress())
        if config.get("enable_model_summary") is not False and not any(isinstance(c, ModelSummary) for c in callbacks):
            callbacks.append(ModelLines())
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(SafeCheckpointIO())
        return super().instantiate_trainer(**{"callbacks": callbacks, "plugins": plugins, **kwargs})

    def _parse_ckpt_path(self) -> None:
        """Says what is wrong with a checkpoint before anything is built; takes no setting from it, as Lightning would.

        Raises:
            ValueError: it cannot be read, or lacks what this subcommand restores.
        """
        subcommand = self.config.get("subcommand")
        path = self.config[subcommand].get("ckpt_path") if subcommand else None
        if path:
            check_checkpoint(str(path), fit=subcommand == "fit")

    def _run_subcommand(self, subcommand: str) -> None:
        """Holds the folders of the run for as long as it lasts."""
        with ExitStack() as self._held:
            super()._run_subcommand(subcommand)

    def _claim(self) -> None:
        """Keeps other runs out of the folders that this one writes to: of results and of checkpoints.

        Raises:
            FileExistsError: another run writes there.
        """
        if not self.trainer.is_global_zero or self.trainer.fast_dev_run:
            return
        folders = [_checkpoint_folder(self.trainer, callback) for callback in self.trainer.checkpoint_callbacks]
        folders.append(getattr(self.model, "output", None) if getattr(self.model, "per_instance", False) else None)
        for folder in dict.fromkeys(Path(folder).resolve() for folder in folders if folder is not None):
            self._held.enter_context(claimed(folder))

    def _untrained(self) -> bool:
        """Whether what is run is an explainer with the weights that it was built with."""
        learns = hasattr(self.model, "explainer") and not getattr(self.model, "per_instance", False)
        return learns and not self.config[self.subcommand].get("ckpt_path")

    def before_predict(self) -> None:
        """Refuses an untrained explainer (ValueError): its explanations would look like any others."""
        if self._untrained():
            raise ValueError(
                "Without a checkpoint the explainer is untrained, and so would be what predict writes: give "
                "--ckpt_path runs/NAME/checkpoints/last.ckpt."
            )
        if getattr(self.model, "per_instance", False):  # whose results are written here
            self._claim()

    def before_test(self) -> None:
        """Says what is scored."""
        if self._untrained():
            print("warning: no --ckpt_path is given: what is scored is an untrained explainer.", file=sys.stderr)

    before_validate = before_test

    def before_fit(self) -> None:
        """Fails now if checkpoints cannot be written; says which settings a resumed run takes from where.

        Raises:
            FileExistsError: the folder has the checkpoints of an earlier run, neither resumed nor to be overwritten.
            OSError: the folder cannot be written.
        """
        self._claim()
        resumed = self.config[self.subcommand].get("ckpt_path")
        for callback in self.trainer.checkpoint_callbacks if self.trainer.is_global_zero else []:
            folder = _checkpoint_folder(self.trainer, callback)
            if folder is None:
                continue
            found = sorted(folder.glob("*.ckpt"))
            if found and not resumed and not self._overwrite:
                last = next((path for path in found if path.stem == "last"), found[-1])
                raise FileExistsError(
                    f"{folder} holds the checkpoints of an earlier run. To go on with it: --ckpt_path {last}. To write "
                    "over it: --overwrite true. Or write elsewhere: --trainer.logger.init_args.name NAME."
                )
            with replacing(folder / ".writable") as part:
                part.touch()
            (folder / ".writable").unlink()
        if resumed and self.trainer.is_global_zero:
            print(
                "Resuming: weights, optimiser state (its learning rate too), epoch and step come from the checkpoint; "
                "everything else from the config and the flags.",
                file=sys.stderr,
            )

    def after_fit(self) -> None:
        """Says where the explainer is, and how it is used."""
        path = last_path(self.trainer)
        if not self.trainer.is_global_zero or self.trainer.fast_dev_run or path is None or not path.is_file():
            return
        print(f"checkpoint: {path}")
        if not hasattr(self.model, "explainer"):  # a classifier
            return
        what = {"image": "photo.jpg", "text": '"a text"'}.get(self.model.black_box.modality)
        if what is None or hasattr(self.datamodule, "log_mel"):  # fex-explain reads pictures and texts
            config = Path(self.trainer.log_dir or ".") / "config.yaml"
            print(f"next:       fex-train predict --config {config} --ckpt_path {path}")
        else:
            print(f"next:       fex-explain {path} {what}")


def _checkpoint_folder(trainer: Trainer, callback: Any) -> Path | None:
    """Where a callback will write checkpoints; None if that is no local folder."""
    if not isinstance(callback, ModelCheckpoint):
        return None
    # As Lightning settles it when the fit begins, which is too late to ask. Loggers of services settle it later still.
    root = getattr(trainer.logger, "log_dir", None) if trainer.logger else trainer.default_root_dir
    folder = callback.dirpath or (root and os.path.join(root, "checkpoints"))
    return None if folder is None or "://" in str(folder) else Path(folder)


def _per_instance(class_path: str) -> bool:
    module, _, name = class_path.rpartition(".")
    return getattr(getattr(importlib.import_module(module), name), "per_instance", False)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
