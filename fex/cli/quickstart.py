"""`fex-quickstart`: the whole way on embedded data. Train, compare, explain pictures, explain a photograph."""

import time
from pathlib import Path

from fex.cli.program import new_parser

__all__ = ["main", "run"]

PICTURES = 16
_EPILOG = """
Writes below runs/quickstart of the working directory; an earlier quickstart there is written over.

example:
  fex-quickstart && tensorboard --logdir runs/quickstart
"""


def run(*, extra: list[str] | None = None, limit: int | None = None, pictures: int = PICTURES) -> dict[str, Path]:
    """Runs the four steps under `runs/quickstart`; returns the paths it prints.

    Args:
        extra: flags for `fex-train` after the config.
        limit: instances of the comparison; None takes the config's.
        pictures: scenes that are explained.
    """
    # Here, since they take seconds, for which the help need not wait.
    from PIL import Image
    from skimage import data as photographs
    from torchvision.transforms import functional as TF

    from fex.cli.bench import bench
    from fex.cli.explain import explain
    from fex.cli.train import train

    start = time.perf_counter()
    folder = Path("runs/quickstart")
    print("1/4 training an explainer of the shipped scene classifier (quickstart.yaml)", flush=True)
    cli = train.run(["fit", "--config", "quickstart.yaml", "--overwrite", "true", *(extra or [])])
    print("2/4 comparing it with GradCAM, RISE, Random and a centre prior on the test scenes", flush=True)
    bench.run(["run", "--config", "benchmark_quickstart.yaml", *(["--limit", str(limit)] if limit else [])])

    print("3/4 explaining test scenes in one pass each", flush=True)
    scenes = folder / "scenes"
    scenes.mkdir(parents=True, exist_ok=True)
    data = cli.datamodule
    data.setup("test")
    for index in range(min(pictures, len(data.datasets["test"]))):
        pixels = data.datasets["test"].batch([index])["inputs"][0]
        TF.to_pil_image(pixels).save(scenes / f"scene-{index:03}.png")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    explain.run([str(checkpoint), str(scenes), "--output", str(folder / "explanations"), "--black-box", "vit_scenes"])

    print("4/4 explaining a photograph with the shipped EfficientNet-Lite0 explainer", flush=True)
    photograph = folder / "photograph" / "cat.png"
    photograph.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photographs.chelsea()).save(photograph)
    asked = ["--black-box", "efficientnet_lite0"]  # its own class, by one query, is explained: not a guess of it
    explain.run(["fex_efficientnet_lite0", str(photograph), "--output", str(folder / "photograph"), *asked])

    print(f"\ndone in {time.perf_counter() - start:.0f} s")
    return _told(folder, checkpoint)


def _told(folder: Path, checkpoint: Path) -> dict[str, Path]:
    paths = {
        "TensorBoard": folder,
        "checkpoint": checkpoint,
        "report": folder / "report.html",
        "gallery": folder / "explanations" / "gallery.html",
        "photograph": folder / "photograph",
    }
    for name, path in paths.items():
        print(f"  {name:<12} {path}")
    print(f"  look at the curves with: tensorboard --logdir {folder}")
    return paths


def main() -> None:
    """Entry point of `fex-quickstart`."""
    new_parser("fex-quickstart", __doc__ or "", _EPILOG).parse_args()
    run()


if __name__ == "__main__":
    main()
