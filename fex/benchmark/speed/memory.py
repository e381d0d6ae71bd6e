"""How much memory things take: allocations at their peak, and a process that explains a whole folder."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fex.baselines import RISE, GradSHAP, IntegratedGradients
from fex.benchmark.measure import peak_bytes
from fex.benchmark.speed.images import Figure
from fex.black_box.base import BlackBox
from fex.explainers.trained import AmortizedExplainer
from fex.nets import Encoded, ExplainerNet
from fex.storage.weights import save_weights
from fex.types import Explainer

__all__ = ["class_head_memory", "folder_memory", "memory_ratios", "write_pictures"]


_POLL = 0.02  # seconds between two looks at a process


def memory_ratios(
    explainer: AmortizedExplainer, black_box: BlackBox, inputs: Tensor, *, queries: int = 100, target: float = 3.0
) -> list[Figure]:
    """How many times the peak memory of an explanation others need at `queries` queries or passes each.

    Args:
        explainer: one pass an explanation.
        black_box: a box that has a `module`.
        inputs: (B, 3, H, W); all explain the same ones, and the same classes.
        queries: masks of RISE, steps of IG, samples of GradSHAP.
        target: bound of each ratio.
    """
    inputs = inputs.to(explainer.device)
    classes = black_box(inputs).argmax(1)
    methods = {
        "rise": RISE(black_box, explainer.features, num_masks=queries),
        "ig": IntegratedGradients(black_box, steps=queries),
        "gradshap": GradSHAP(black_box, samples=queries),
    }

    def peak(method: Explainer) -> float:
        method.attribute(inputs, classes)
        return peak_bytes(lambda: method.attribute(inputs, classes), inputs.device) / 1e6

    own = peak(explainer)
    return [
        Figure(
            f"memory_{name}",
            (other := peak(method)) / own,
            target,
            ">=",
            parts={"mb": other, "mb_of_an_explanation": own},
            shapes={"inputs": list(inputs.shape), "queries": queries},
        )
        for name, method in methods.items()
    ]


def class_head_memory(net: ExplainerNet, batch_size: int, *, device: torch.device | str = "cpu") -> Figure:
    """Peak of the class head of eq. 24, forward and backward, for all C classes: from tokens (B, N, D') to (B, C)."""
    features, classes = net.features.num_features, net.num_classes
    net = net.to(device)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(batch_size, features, net.hidden, generator=generator).to(device).requires_grad_()
    shared = torch.randn(batch_size, features, generator=generator).to(device).requires_grad_()

    level = torch.zeros(batch_size, classes, device=device)
    encoded = Encoded(tokens, shared, level, torch.zeros(batch_size, net.hidden, device=device))

    def step() -> None:
        net.class_log_rates(encoded).square().sum().backward()
        net.zero_grad()
        tokens.grad = shared.grad = None

    step()
    return Figure(
        f"class_head_memory_b{batch_size}_c{classes}",
        peak_bytes(step, device) / 1e6,
        unit="MB",
        parts={"one_tensor_of_all_classes_mb": batch_size * features * classes * 4 / 1e6},
        shapes={"batch": batch_size, "features": features, "classes": classes, "hidden": net.hidden},
    )


def write_pictures(folder: Path, count: int, size: int = 40) -> None:
    """Different small PNG pictures, in sub-folders of a thousand."""
    generator = torch.Generator().manual_seed(0)
    for index in range(count):
        place = folder / f"{index // 1000:04d}"
        place.mkdir(parents=True, exist_ok=True)
        cells = torch.randint(0, 256, (4, 4, 3), generator=generator, dtype=torch.uint8).numpy()
        Image.fromarray(cells).resize((size, size), Image.Resampling.BILINEAR).save(place / f"{index:07d}.png")


def _resident(process: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    status = Path(f"/proc/{process}/status")
    if status.parent.parent.is_dir():
        try:
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        except (OSError, StopIteration):
            return 0
        return int(line.split()[1]) * 1024
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=False)
    return int(answer.stdout or 0) * 1024


def _watch(command: list[str], table: Path, log: Path) -> list[tuple[int, int]]:
    """Runs a command that adds a line to `table` for each image done: (images done, resident bytes) as it goes on."""
    samples: list[tuple[int, int]] = []
    done = -1  # the header
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        reader = None
        try:
            while process.poll() is None:
                time.sleep(_POLL)
                if reader is None and table.exists():
                    reader = table.open("rb")
                if reader is not None:
                    done += reader.read().count(b"\n")
                    samples.append((done, _resident(process.pid)))
        finally:
            process.kill()
            process.wait()
            if reader is not None:
                reader.close()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {log.read_text()[-2000:]}")
    return samples


def check_count(count: int) -> None:
    """Refuses too few pictures for `folder_memory`.

    Raises:
        ValueError: fewer than 100.
    """
    if count < 100:
        raise ValueError(f"folder_memory needs at least 100 pictures to compare a tenth with the end, got {count}.")


def folder_memory(explainer: AmortizedExplainer, count: int, *, formats: str = "npz", target: float = 1.1) -> Figure:
    """Resident memory of `fex-explain` over `count` pictures: median of the last tenth, against that after a tenth.

    The peak is told beside it: it holds what comes once, however many pictures there are (the last, smaller batch and
    the end of the process).

    Args:
        explainer: what explains; written to a file and loaded by the process.
        count: pictures; 100,000 take some seven minutes on two cores.
        formats: what is written for each picture.
        target: bound of the ratio.

    Raises:
        ValueError: too few pictures to see the memory over time.
        RuntimeError: the command failed; has its output.
    """
    check_count(count)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        weights = root / "explainer.safetensors"
        save_weights(weights, explainer.net.state_dict(), explainer.meta)
        write_pictures(root / "pictures", count)
        output = root / "output"
        command = [sys.executable, "-m", "fex.cli.explain", str(weights), str(root / "pictures")]
        command += ["--output", str(output), "--formats", formats]
        start = time.perf_counter()
        samples = _watch(command, output / "explanations.csv", root / "log.txt")
        seconds = time.perf_counter() - start
    early = [held for done, held in samples if 0.08 * count <= done <= 0.12 * count]
    late = [held for done, held in samples if 0.9 * count <= done < count and held]
    if not early or not late:
        raise ValueError(f"{count} pictures were done before their memory was seen: give more.")
    before, after = statistics.median(early), statistics.median(late)
    return Figure(
        "folder_memory",
        after / before,
        target,
        parts={
            "mb_after_a_tenth": before / 1e6,
            "mb_in_the_last_tenth": after / 1e6,
            "mb_peak": max(held for _, held in samples) / 1e6,
            "bytes_an_image": (after - before) / (0.85 * count),
            "seconds": seconds,
        },
        shapes={"pictures": count, "formats": formats},
    )
