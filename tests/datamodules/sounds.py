"""A folder of the shape of ESC-10 and one of the shape of Coswara, of generated sound."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from fex.sounds import LogMel, write_wav

RATE = 2000
MEL = LogMel(sample_rate=RATE, n_fft=128, hop=64, mels=8)


def clip(label: int, index: int, seconds: float = 0.5) -> torch.Tensor:
    moments = torch.arange(int(RATE * seconds)) / RATE
    generator = torch.Generator().manual_seed(index)
    return torch.sin(2 * math.pi * (200 + 300 * label) * moments) + 0.05 * torch.randn(
        len(moments), generator=generator
    )


def esc10_folder(root: Path, classes: int = 2, names: Sequence[str] = ()) -> Path:
    (root / "audio").mkdir(parents=True)
    with (root / "meta.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "fold", "label", "category"])
        for fold in range(1, 6):
            for label in range(classes):
                name = f"{fold}-{label}.wav"
                write_wav(root / "audio" / name, 0.5 * clip(label, 10 * fold + label), RATE)
                table.writerow([name, fold, label, names[label] if names else f"tone {label}"])
    return root


def coswara_folder(root: Path, splits: tuple[str, ...] = ("train",) * 4 + ("test",) * 2, repeats: int = 1) -> Path:
    """Clips of a second in the given splits: silence, a cough of a tone, silence."""
    root.mkdir(parents=True)
    with (
        (root / "labels.csv").open("w", newline="") as labels,
        (root / "annotations.csv").open("w", newline="") as events,
    ):
        label_table, event_table = csv.writer(labels), csv.writer(events)
        label_table.writerow(["file", "label", "split"])
        event_table.writerow(["file", "start", "end", "event"])
        for index, split in enumerate(splits * repeats):
            name, start = f"{index}.wav", 0.1 * (index % 6)
            waveform = torch.zeros(RATE)
            first = int(start * RATE)
            waveform[first : first + RATE // 4] = clip(index % 2, index, 0.25)
            write_wav(root / name, 0.5 * waveform, RATE)
            label_table.writerow([name, ["healthy", "positive"][index % 2], split])
            event_table.writerow([name, start, start + 0.25, "cough"])
            event_table.writerow([name, 0.9, 1.0, "silence"])
    return root
