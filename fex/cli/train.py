"""`fex-train --config NAME.yaml`: fit, validate, test or predict one run described by one YAML file."""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ActionConfigFile
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from fex.cli.config import PackagedConfig
from fex.resources import resource_dir

__all__ = ["FexCLI", "main", "run"]

SUBCOMMANDS = ("fit", "validate", "test", "predict")


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

    def before_fit(self) -> None:
        """Says which settings a resumed run takes from where."""
        if self.config[self.subcommand].get("ckpt_path") and self.trainer.is_global_zero:
            print(
                "Resuming: weights, optimiser state (its learning rate too), epoch and step come from the checkpoint; "
                "everything else from the config and the flags.",
                file=sys.stderr,
            )


def _arguments(argv: list[str]) -> list[str]:
    """`fex-train --config X` means `fex-train fit --config X`."""
    if any(argument in SUBCOMMANDS for argument in argv) or argv in ([], ["-h"], ["--help"]):
        return argv
    return ["fit", *argv]


_EPILOG = """
examples:
  fex-train --config quickstart.yaml
  fex-train --config vit_imagenet.yaml --trainer.devices 4 --data.init_args.root /data/imagenet
  fex-train fit --config runs/quickstart/config.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt
  fex-train test --config quickstart.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt
"""


def run(argv: list[str]) -> FexCLI:
    """Parses `argv`, runs the subcommand, returns the command line with its trainer, model and datamodule."""
    warnings.filterwarnings("ignore", ".*args parameter is intended.*")
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", ".*is not supported by the model summary.*")
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
    packaged = ", ".join(sorted(path.name for path in Path(resource_dir("configs")).glob("*.yaml")))
    return FexCLI(
        LightningModule,
        LightningDataModule,
        trainer_class=Trainer,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
        trainer_defaults={"use_distributed_sampler": False},
        parser_kwargs={
            "prog": "fex-train",
            "description": f"Train an explainer (or a classifier) from one YAML file. Packaged configs: {packaged}.",
            "epilog": _EPILOG,
        },
        args=_arguments(argv),
    )


def main() -> None:
    """Entry point of `fex-train`."""
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
