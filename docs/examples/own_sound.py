"""A sound classifier: which part of the spectrogram counts? Needs the extra: pip install 'fex-explain[audio]'."""

import csv
import math
from pathlib import Path

import torch
from lightning.pytorch import Trainer

import fex
from datamodules import SoundFolder
from fex.black_box import TimmBlackBox
from fex.dax import DAX, FitSettings, Grid
from fex.images import Preprocess
from fex.sounds import LogMel, Silence, write_wav
from lightning_modules import ClassifierModule

RATE = 2000  # samples a second; 16,000 suit real clips
SPECTROGRAM = LogMel(sample_rate=RATE, n_fft=128, hop=64, mels=8)


def make_clips(folder: str, count: int = 24) -> None:
    """Made-up clips of a second: a low or a high tone in silence, and a table of labels. Use your own clips instead."""
    Path(folder).mkdir(exist_ok=True)
    with Path(folder, "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label"])
        for index in range(count):
            high, start = index % 2, RATE // 10 * (index % 6)
            sound = torch.zeros(RATE)
            moments = torch.arange(RATE // 4) / RATE
            sound[start : start + RATE // 4] = 0.5 * torch.sin(2 * math.pi * (200 + 400 * high) * moments)
            write_wav(f"{folder}/{index}.wav", sound, RATE)
            table.writerow([f"{index}.wav", ["low", "high"][high]])


# 1 The classifier: a spectrogram is a picture, so that any classifier of pictures will do.
make_clips("clips")
data = SoundFolder("clips", event=None, seconds=1.0, log_mel=SPECTROGRAM, batch_size=4)
size = tuple(SPECTROGRAM(torch.zeros(RATE)).shape[1:])  # mel bands, frames
classifier = ClassifierModule(
    "mel_blstm",
    model_args={"mels": size[0], "segment": 8, "hop": 4, "hidden": 8, "layers": 1},
    preprocess=Preprocess(*size),
    class_names=["high", "low"],  # the labels of labels.csv, sorted
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    channels_last=False,
    export="classifier.safetensors",
)
trainer = Trainer(max_steps=4, accelerator="cpu", logger=False, limit_val_batches=0, enable_progress_bar=False)
trainer.fit(classifier, datamodule=data)

# 2 The black box: what fex may ask.
box = TimmBlackBox(weights="classifier.safetensors")

# 3 DAX explains one clip at a time; nothing is trained beforehand. 6,000 questions a clip are its default.
dax = DAX(box, removal=Silence(), segmenter=Grid(4, 8), num_samples=40, fit=FitSettings(max_epochs=2))
clip = next(iter(data.val_dataloader()))["inputs"][:1]  # (1, 3, bands, frames)
explanation = fex.explain(clip, dax)[0]
explanation.save("explained.png")

# 4 When does the sound count? The mean of the map over the bands.
print(explanation.target_name, explanation.pixels().mean(0))
