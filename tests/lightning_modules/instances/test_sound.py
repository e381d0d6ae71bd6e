"""DAX and IASSA on clips with annotated events, explained for a BLSTM: the form of Coswara and DiCOVA."""

import csv
import json
import math
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules import SoundFolder
from fex.black_box import CallableBlackBox, load_black_box
from fex.dax import DAX, FitSettings, Grid
from fex.iassa import IASSA, WindowSchedule
from fex.images import Preprocess
from fex.nets.backbones import build_timm
from fex.sounds import Silence, write_wav
from fex.storage.weights import save_black_box
from lightning_modules import DAXModule, IASSAModule
from tests.datamodules.sounds import MEL, RATE, coswara_folder
from tests.lightning_modules.instances.halves import run

pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six clips, all to be explained; one silent, one shorter than a window, one that is no sound."""
    root = coswara_folder(tmp_path_factory.mktemp("sound") / "clips")
    write_wav(root / "3.wav", torch.zeros(RATE), RATE)
    write_wav(root / "4.wav", torch.ones(MEL.n_fft // 4) * 0.5, RATE)
    (root / "5.wav").write_bytes(b"no sound")
    rows = list(csv.DictReader((root / "labels.csv").open()))
    with (root / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["file", "label", "split"])
        table.writeheader()
        table.writerows({**row, "split": "test"} for row in rows)
    return root


@pytest.fixture
def blstm(tmp_path):
    arguments = {"num_classes": 2, "mels": MEL.mels, "segment": 10, "hop": 5, "hidden": 4, "layers": 1}
    meta = {
        "model": "mel_blstm", "model_args": arguments, "class_names": ["healthy", "positive"],
        "preprocess": Preprocess(MEL.mels, MEL.frames(RATE)).to_dict(), "mean": [0.0] * 3, "std": [1.0] * 3,
    }  # fmt: skip
    torch.manual_seed(0)
    save_black_box(tmp_path / "blstm.safetensors", build_timm("mel_blstm", arguments), meta)
    return load_black_box(str(tmp_path / "blstm.safetensors"))


@pytest.mark.filterwarnings("ignore:.*keep one score whatever is removed")  # the silent clip
@pytest.mark.filterwarnings("ignore:.*nearly the same everywhere")  # after one epoch of 20 samples
@pytest.mark.parametrize("method", ["dax", "iassa"])
def test_annotated_clips_are_explained_and_scored_in_time(method, clips, blstm, tmp_path):
    options = {"output": str(tmp_path / "out"), "explain": "label", "protocols": ["interval-iou"], "sound": MEL}
    if method == "dax":
        fit = FitSettings(mask_kernel=3, mask_width=2, student_width=2, hidden=4, max_epochs=1)
        explainer = DAX(blstm, Silence(), Grid(2, 8), num_samples=20, resolution=12, fit=fit)
        module = DAXModule(explainer, **options)
    else:
        schedule = WindowSchedule(window=8, stride=4, min_window=2)
        module = IASSAModule(IASSA(blstm, None, Silence(), schedule=schedule, iterations=1), **options)
    run(module, SoundFolder(str(clips), "cough", 1.0, log_mel=MEL, waveforms=True, batch_size=2))
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "instances").glob("*.npz")) == [f"{i}.wav.npz" for i in range(5)]
    for index in range(5):
        assert (out / f"{index}.wav.sound.png").is_file()
        with wave.open(str(out / f"{index}.wav.masked.wav")) as sound:
            assert (sound.getframerate(), sound.getnframes()) == (RATE, RATE)
        with np.load(out / "instances" / f"{index}.wav.npz") as data:
            assert data["attribution"].shape == (MEL.mels, MEL.frames(RATE))
            assert np.isfinite(data["attribution"]).all()
            assert json.loads(str(data["meta"]))["target"]["name"] == ["healthy", "positive"][index % 2]
            if (method, index) == ("dax", 3):
                assert not data["attribution"].any()  # silence has nothing to explain
    page = (out / "gallery.html").read_text()
    assert '<a href="2.wav.sound.png">' in page
    assert page.count("<audio controls") == 5
    assert 'src="2.wav.masked.wav"' in page
    rows = {row["metric"]: row for row in json.loads((out / "report.json").read_text())["rows"]}
    assert rows["iou"]["n"] == 5
    assert 0 <= rows["iou"]["value"] <= 1


def test_spectrograms_are_read_as_they_were_made(clips, blstm, tmp_path):
    iassa = IASSA(blstm, None, Silence(), schedule=WindowSchedule(window=8, stride=4, min_window=2), iterations=1)
    module = IASSAModule(iassa, output=str(tmp_path), sound=replace(MEL, sample_rate=2 * RATE))
    with pytest.raises(
        ValueError, match="data makes its spectrograms by LogMel.*the module reads them by sound=LogMel"
    ):
        run(module, SoundFolder(str(clips), "cough", 1.0, log_mel=MEL, waveforms=True))
    assert blstm.queries == 0


TONES = (150, 350, 600, 900)  # Hz, half a second each


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A clip of four tones, the third annotated."""
    root = tmp_path_factory.mktemp("tones")
    moments = torch.arange(RATE // 2) / RATE
    waveform = torch.cat([0.4 * torch.sin(2 * math.pi * hertz * moments) for hertz in TONES])
    for name in ("0.wav", "1.wav"):
        write_wav(root / name, waveform, RATE)
    (root / "labels.csv").write_text("file,label,split\n0.wav,positive,test\n1.wav,healthy,train\n")
    (root / "annotations.csv").write_text("file,start,end,event\n0.wav,1.0,1.5,cough\n1.wav,1.0,1.5,cough\n")
    return root


@pytest.mark.parametrize("method", ["dax", "iassa"])
def test_the_stretch_that_the_box_hears_is_found_and_can_be_heard(method, tones, tmp_path):
    frames = MEL.frames(2 * RATE)
    heard = slice(frames // 2 + 2, 3 * frames // 4 - 2)

    def hears(x):
        level = x[:, 0, :, heard].amax(1).mean(1).clamp(0, 1)
        return torch.stack([1 - level, level], 1)

    box = CallableBlackBox(
        hears, num_classes=2, class_names=["healthy", "positive"], preprocess=Preprocess(MEL.mels, frames), chunk=256
    )
    options = {"output": str(tmp_path), "explain": "label", "protocols": ["interval-iou"], "sound": MEL}
    if method == "dax":
        fit = FitSettings(mask_kernel=7, mask_width=8, student_width=4, hidden=16, batch_size=32)
        explainer = DAX(box, Silence(), Grid(1, 16), num_samples=400, resolution=20, fit=fit)
        module = DAXModule(explainer, **options)
    else:
        schedule = WindowSchedule(window=16, stride=4, min_window=4)
        module = IASSAModule(IASSA(box, None, Silence(), schedule=schedule, iterations=1), **options)
    run(module, SoundFolder(str(tones), "cough", 2.0, log_mel=MEL, waveforms=True, batch_size=1))
    rows = {row["metric"]: row for row in json.loads((tmp_path / "report.json").read_text())["rows"]}
    assert rows["iou"]["value"] > 0.5
    with wave.open(str(tmp_path / "0.wav.masked.wav")) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype=np.int16).astype(float)
    loud = np.sqrt((samples.reshape(4, -1) ** 2).mean(1))
    assert loud.argmax() == 2
    assert loud[2] > 2 * np.delete(loud, 2).mean()
