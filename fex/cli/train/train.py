"""`fex-train --config NAME.yaml`: fit, validate, test or predict one run described by one YAML file."""

import logging
import sys
import warnings

from lightning.pytorch import LightningDataModule, LightningModule

from fex.cli.config import check_help, help_with
from fex.cli.ending import told
from fex.cli.help_pages import TRAIN_EXAMPLES, packaged
from fex.cli.init_flags import asks_init
from fex.cli.train import init
from fex.cli.train.command import FexCLI, FexParser
from fex.cli.train.quiet import SILENCED, no_noise
from fex.cli.train.trainer import FexTrainer

__all__ = ["main", "run"]

SUBCOMMANDS = ("fit", "validate", "test", "predict")


def _arguments(argv: list[str]) -> list[str]:
    """`fex-train --config X` means `fex-train fit --config X`."""
    known = (*SUBCOMMANDS, "-h", "--help")
    return argv if not argv or argv[0] in known else ["fit", *argv]


def run(argv: list[str]) -> FexCLI:
    """Parses `argv`, runs the subcommand, returns the command line with its trainer, model and datamodule."""
    for pattern in SILENCED:
        warnings.filterwarnings("ignore", pattern)
    check_help(argv)
    argv = _arguments(argv)
    asked = argv[:1] if argv and argv[0] in SUBCOMMANDS else SUBCOMMANDS
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").addFilter(no_noise)
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
            "description": "Train an explainer (or a classifier) from one YAML file. Packaged configs: "
            f"{packaged(benchmarks=False)}.",
            **help_with(TRAIN_EXAMPLES["fit"] + TRAIN_EXAMPLES["test"]),
            **{stage: {"allow_abbrev": False, **help_with(TRAIN_EXAMPLES[stage])} for stage in asked},
        },
        args=argv,
    )


def main() -> None:
    """Entry point of `fex-train`."""
    work = init.run if asks_init(sys.argv[1:]) else run
    told("fex-train", lambda: work(sys.argv[1:]))
