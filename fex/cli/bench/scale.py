"""What is spared at scale, before and after in turn in one run: decoding, noise of the masks, memory, result files."""

import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

import torch
from PIL import Image

from fex.benchmark.speed.images import Figure, make_explainer, spread
from fex.black_box import TimmBlackBox
from fex.explainers.image_stream import ImageFile, explain_files
from fex.images import PatchGrid, Preprocess, as_unit, decode, read_pixels
from fex.nets import PyramidEncoder
from fex.policy import Antithetic
from fex.report.folder import ResultFolder
from fex.report.shards import write_shard
from fex.seeding import RowDraws
from fex.storage.memory import VARIABLE

__all__ = ["allocation", "decoding", "mask_noise", "result_files"]

WORLDS = (8, 512, 2048)
FORMATS = ("npz", "png", "jpg", "webp")
_PASSES = """
import time, torch
from fex.storage.memory import keep_memory
from fex.nets import ExplainerNet, PyramidEncoder
from fex.images import PatchGrid
torch.set_num_threads(1)
keep_memory()
net = ExplainerNet(PyramidEncoder("tf_efficientnet_lite0")).build(1000, PatchGrid(7, 7)).eval()
inputs, seconds = torch.rand(16, 3, 224, 224), []
with torch.inference_mode():
    for _ in range({repeats} + 1):
        start = time.process_time()
        net(inputs)
        seconds.append((time.process_time() - start) / len(inputs))
print(*seconds[1:])
"""


def _in_turn(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Processor seconds of each: all once, all once more, and so on; the first round is not kept."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if turn:
                found[name].append(time.process_time() - start)
    return found


def _gain(name: str, before: list[float], after: list[float], target: float | None, **shapes: object) -> Figure:
    value = statistics.median(before) / statistics.median(after)
    return Figure(name, value, target, ">=", parts={"before": spread(before), "after": spread(after)}, shapes=shapes)


def _photograph(width: int, height: int) -> Image.Image:
    """Smooth noise: about what a photograph costs to decode."""
    return Image.effect_noise((width // 8, height // 8), 80).resize((width, height)).convert("RGB")


def decoding(repeats: int) -> list[Figure]:
    """A JPEG of the size of ImageNet's to the network's pixels: PIL against the short way."""
    buffer, preprocess = io.BytesIO(), Preprocess(224, 224, resize=256)
    _photograph(500, 375).save(buffer, "JPEG", quality=90)
    source = buffer.getvalue()
    seconds = _in_turn(
        {
            "before": lambda: [preprocess(decode(source)) for _ in range(8)],
            "after": lambda: [read_pixels(source, preprocess) for _ in range(8)],
        },
        repeats,
    )
    return [_gain("decoding", *([one / 8 for one in each] for each in seconds.values()), 2.0, picture=[500, 375])]


def mask_noise(repeats: int, batch: int = 64, masks: int = 10, features: int = 196) -> list[Figure]:
    """The noise of a process's rows, of the batch of a whole world against its own."""
    figures, noise = [], Antithetic()
    for world in WORLDS:
        whole = (batch * world, masks, features)
        seconds = _in_turn(
            {
                "before": lambda whole=whole: noise(whole, torch.Generator().manual_seed(0)),
                "after": lambda world=world: noise((batch, masks, features), RowDraws(0, 0, batch * (world - 1))),
            },
            min(repeats, 3) if world > 8 else repeats,
        )
        figures.append(_gain(f"mask_noise_{world}_processes", *seconds.values(), world / 4, batch=batch, masks=masks))
    return figures


def allocation(repeats: int) -> list[Figure]:
    """A pass of EfficientNet-Lite0's explainer, in processes of their own: glibc as it is, and with kept memory."""
    found: dict[str, list[float]] = {"system": [], "kept": []}
    for _ in range(2):
        for setting, seconds in found.items():
            environment = {**os.environ, VARIABLE: setting, "OMP_NUM_THREADS": "1"}
            code = _PASSES.format(repeats=max(1, repeats // 2))
            run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
            seconds += map(float, run.stdout.split())
    return [_gain("allocation", found["system"], found["kept"], None, batch=16)]


def result_files(repeats: int, folder: Path, count: int = 16) -> list[Figure]:
    """Pictures from a folder to results of each format, against their decoding and plain passes."""
    encoder = PyramidEncoder("tf_efficientnet_lite0", weights="efficientnet_lite0")
    explainer = make_explainer(encoder, TimmBlackBox(weights="efficientnet_lite0"), PatchGrid(7, 7))
    files = [ImageFile(folder / f"{number}.jpg", PurePath(f"{number}.jpg")) for number in range(count)]
    for file in files:
        _photograph(500, 375).save(file.path, quality=90)

    def explained() -> list[tuple[ImageFile, object]]:
        return list(explain_files(explainer, files, batch_size=count, num_workers=1))

    def plain() -> None:
        inputs = torch.stack([as_unit(read_pixels(file.path, explainer.preprocess)) for file in files])
        with torch.inference_mode():
            explainer.net(inputs)

    def written(kind: str, *, gallery: bool) -> None:
        with ResultFolder(folder / f"{kind}{gallery}", formats=[kind], gallery=gallery) as results:
            for file, found in explained():
                results.add(results.write(file.name, found))  # type: ignore[arg-type]

    def tables() -> None:
        rows = [(str(file.name), found) for file, found in explained()]
        write_shard(folder / "explanations-00000.parquet", rows, {}, "float16")  # type: ignore[arg-type]

    work: dict[str, Callable[[], object]] = {"plain": plain, "parquet": tables}
    for kind in FORMATS:
        work[kind] = lambda kind=kind: written(kind, gallery=False)
    work["png_and_gallery"] = lambda: written("png", gallery=True)
    seconds = _in_turn(work, repeats)
    base = [one / count for one in seconds.pop("plain")]
    figures = []
    for kind, every in seconds.items():
        own = [one / count for one in every]
        value, target = statistics.median(own) / statistics.median(base), 1.1 if kind == "parquet" else None
        parts = {"results": spread(own), "plain": spread(base)}
        figures.append(Figure(f"folder_to_{kind}", value, target, parts=parts, shapes={"pictures": count}))
    return figures
