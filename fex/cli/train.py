"""`fex-train --config NAME.yaml`: fit, validate, test or predict one run described by one YAML file."""

import logging
import os
import sys
import warnings
from functools import wraps
from typing import Any, NoReturn

import torch
from jsonargparse import ActionConfigFile, DefaultHelpFormatter
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from fex.atomic import replacing
from fex.cli.checkpoint_io import SafeCheckpointIO
from fex.cli.config import PackagedConfig
from fex.cli.graceful_stop import GracefulStop
from fex.cli.progress_lines import ProgressLines
from fex.resources import resource_dir

__all__ = ["FexCLI", "main", "run"]

SUBCOMMANDS = ("fit", "validate", "test", "predict")


# Said at every run, true of every run, and nothing to act on.
SILENCED = (
    ".*args parameter is intended.*",
    ".*treespec, LeafSpec.*",
    ".*is not supported by the model summary.*",
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*in eval mode at the start of training.*",  # the encoder, on purpose
    ".*no pre-optimization state was saved.*",  # checkpoints are of the state after the step, on purpose
)


class _Help(DefaultHelpFormatter):
    """Keeps the lines of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class FexParser(LightningArgumentParser):
    """Says what is wrong without printing every setting there is."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends the program with the error and where to look."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser: Any = getattr(ex, "subcommand_parser", None) or self
        program = parser.prog.replace(" [options]", "")
        self.exit(2, f"fex-train: error: {message}\nFor all settings: {program} --help\n")


class FexTrainer(Trainer):
    """A Trainer to which fitting a per-instance explainer is one pass over all instances, in order."""

    @wraps(Trainer.fit)  # the command line takes its options from the signature
    def fit(self, model: LightningModule, *args: Any, **kwargs: Any) -> None:
        """As of `Trainer`, except for modules that fit something to each instance."""
        if getattr(model, "per_instance", False):
            self.predict(model, datamodule=kwargs.get("datamodule"), return_predictions=False)
        else:
            super().fit(model, *args, **kwargs)


class FexCLI(LightningCLI):
    """Lightning's command line with this project's defaults."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Installs the packaged-config look-up."""
        kwargs.setdefault("dump_header", ["Resolved configuration of this run; `--config` with it repeats the run."])
        parser = super().init_parser(**kwargs)
        for action in parser._actions:
            if isinstance(action, ActionConfigFile):
                action.__class__ = PackagedConfig
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Settings outside module, data and trainer."""
        parser.add_argument(
            "--threads", type=int | None, default=None, help="CPU threads of torch; default: as many as cores."
        )

    def before_instantiate_classes(self) -> None:
        """Process-wide settings."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        if config.get("threads"):
            torch.set_num_threads(config["threads"])
        torch.set_float32_matmul_precision("high")
        if self.subcommand != "fit":  # config.yaml beside a run stays the one it was trained with
            self.save_config_kwargs["config_filename"] = f"config_{self.subcommand}.yaml"

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds what every run needs: safe checkpoints, a graceful stop, progress that a log file can show."""
        config = (self.config_init[self.subcommand] if self.subcommand else self.config_init)["trainer"]
        callbacks, plugins = _as_list(config.get("callbacks")), _as_list(config.get("plugins"))
        callbacks.append(GracefulStop())
        shown = config.get("enable_progress_bar") is not False and not any(
            isinstance(c, ProgressBar) for c in callbacks
        )
        if shown and not sys.stdout.isatty():
            callbacks.append(ProgressLines())
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(SafeCheckpointIO())
        return super().instantiate_trainer(**{"callbacks": callbacks, "plugins": plugins, **kwargs})

    def before_fit(self) -> None:
        """Fails now if checkpoints cannot be written; says which settings a resumed run takes from where."""
        for callback in self.trainer.checkpoint_callbacks:
            folder = callback.dirpath if isinstance(callback, ModelCheckpoint) else None
            if folder is not None and "://" not in str(folder) and self.trainer.is_global_zero:
                with replacing(os.path.join(folder, ".writable")) as part:
                    part.touch()
                os.remove(os.path.join(folder, ".writable"))
        if self.config[self.subcommand].get("ckpt_path") and self.trainer.is_global_zero:
            print(
                "Resuming: weights, optimiser state (its learning rate too), epoch and step come from the checkpoint; "
                "everything else from the config and the flags.",
                file=sys.stderr,
            )


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _arguments(argv: list[str]) -> list[str]:
    """`fex-train --config X` means `fex-train fit --config X`."""
    known = (*SUBCOMMANDS, "-h", "--help")
    return argv if not argv or argv[0] in known else ["fit", *argv]


def _no_tips(record: logging.LogRecord) -> bool:
    """Lightning advertises its cloud products at every start."""
    return "Tip: For seamless cloud" not in record.getMessage()


_EPILOG = """
examples:
  fex-train --config quickstart.yaml
  fex-train --config vit_imagenet.yaml --trainer.devices 4 --data.init_args.root /data/imagenet
  fex-train fit --config runs/quickstart/config.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt
  fex-train test --config quickstart.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt
"""


def run(argv: list[str]) -> FexCLI:
    """Parses `argv`, runs the subcommand, returns the command line with its trainer, model and datamodule."""
    for pattern in SILENCED:
        warnings.filterwarnings("ignore", pattern)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_tips)
    packaged = ", ".join(
        sorted(path.name for path in resource_dir("configs").glob("*.yaml") if not path.stem.startswith("benchmark"))
    )
    return FexCLI(
        LightningModule,
        LightningDataModule,
        trainer_class=FexTrainer,
        parser_class=FexParser,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
        trainer_defaults={"use_distributed_sampler": False},
        parser_kwargs={
            "prog": "fex-train",
            "allow_abbrev": False,  # a mistyped key is an error, not another key
            "description": f"Train an explainer (or a classifier) from one YAML file. Packaged configs: {packaged}.",
            "epilog": _EPILOG,
            "formatter_class": _Help,
        },
        args=_arguments(argv),
    )


def main() -> None:
    """Entry point of `fex-train`."""
    try:
        run(sys.argv[1:])
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("FEX_TRACEBACK"):
            raise
        sys.exit(f"fex-train: error: {error}\n(FEX_TRACEBACK=1 shows where.)")


if __name__ == "__main__":
    main()
