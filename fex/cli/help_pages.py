"""First help pages, which are shown before torch and Lightning are imported: those take ten seconds."""

from fex.storage.resources import resource_dir

__all__ = ["BENCH_EXAMPLES", "EXIT_CODES", "SPEED_EXAMPLES", "TRAIN_EXAMPLES", "bench_page", "packaged", "train_page"]

EXIT_CODES = (
    "exit codes: 0 done; 2 not done, for a reason that is told in one line; 1 an error with a traceback, or a report "
    "in which\nmethods of fex-bench have no scores; 130 interrupted."
)

TRAIN_EXAMPLES = {
    "fit": """
  fex-train --config quickstart.yaml
  fex-train --init my.yaml --black-box resnet50 --weights mine.pth --data photos/
  fex-train --config vit_imagenet.yaml --trainer.devices 4 --data.init_args.root /data/imagenet
  fex-train fit --config runs/quickstart/config.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt""",
    **{
        stage: f"""
  fex-train {stage} --config quickstart.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt"""
        for stage in ("validate", "test", "predict")
    },
}
BENCH_EXAMPLES = """
  fex-bench run --config benchmark_quickstart.yaml
  fex-bench run --config benchmark_cifar10.yaml --data.init_args.root /data/cifar10 --methods '[FEX, Random]'
  fex-bench run --config benchmark_ecssd.yaml --methods.RISE.init_args.num_masks 4000 --output runs/rise_4000"""
SPEED_EXAMPLES = """
  fex-bench speed --json speed.json
  fex-bench speed --only '[folder_memory]' --images 100000
  fex-bench speed --only '[padding_waste]' --data /data/sst2"""


def packaged(*, benchmarks: bool) -> str:
    """Names of the packaged configs."""
    names = sorted(path.name for path in resource_dir("configs").glob("*.yaml"))
    return ", ".join(name for name in names if name.startswith("benchmark") is benchmarks)


def train_page() -> str:
    """Of `fex-train`."""
    return f"""usage: fex-train [fit | validate | test | predict] --config NAME.yaml [--KEY VALUE ...]
       fex-train --init MY.yaml --black-box BOX --data FOLDER   (more: fex-train --init --help)

Train an explainer (or a classifier) from one YAML file. Packaged configs: {packaged(benchmarks=False)}.

  fit       train; what is meant without a word
  validate  score a checkpoint on the validation data
  test      score a checkpoint on the test data, with intervals
  predict   explain the test or predict data with a checkpoint, into files
  --init    look at a black box and data of one's own, and write the YAML file that trains

often used, each wins over the config:
  --ckpt_path FILE             go on with a training, or the explainer to score or predict with
  --overwrite true             write over the checkpoints of an earlier run
  --trainer.max_epochs N       also --trainer.devices, --trainer.accelerator, --trainer.precision ...
  --data.init_args.KEY VALUE   such as root, batch_size, num_workers
  --model.init_args.KEY VALUE  such as num_masks; null is none, deeper keys alike
  --seed_everything N          seed of everything
  --print_config               show the whole configuration and end

all settings (in ten seconds): fex-train fit --help
of one class: fex-train fit --model.help lightning_modules.FEXModule, or --data.help datamodules.Folder

{EXIT_CODES}

examples:{TRAIN_EXAMPLES["fit"]}{TRAIN_EXAMPLES["test"]}
"""


def bench_page() -> str:
    """Of `fex-bench`."""
    return f"""usage: fex-bench run --config NAME.yaml [--KEY VALUE ...]
       fex-bench speed [--KEY VALUE ...]

Methods x protocols on one black box (run), and how fast and lean the framework is (speed). Packaged configs of run:
{packaged(benchmarks=True)}.

often used:
  --methods NAME               or '[NAME, NAME]': the ones to run
  --methods.NAME.init_args.KEY VALUE
  --protocols '[fex, seg]'     what scores them
  --limit N                    score so many test instances
  --output FOLDER              of report and results; a run that was stopped goes on there
  --data.init_args.KEY VALUE   such as root

all settings (in ten seconds): fex-bench run --help, fex-bench speed --help

{EXIT_CODES}

examples:{BENCH_EXAMPLES}{SPEED_EXAMPLES}
"""
