"""2,000 damaged inputs of each kind: a sentence, or an answer; no hang, no raw error, no heap of memory."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.texts import Texts
from fex.black_box import HttpBlackBox
from fex.images import Preprocess, UnreadableImageError, decode
from fex.sounds import UnreadableAudioError, read_audio, write_wav
from fex.texts import read_records
from tests.black_box.raw_server import RawServer, answer
from tests.mutations import mutate, survive

pytestmark = pytest.mark.slow

COUNT = 2_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "float TIFF"])
def test_pictures(kind):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(noise[..., 0] / np.float32(255)) if kind == "float TIFF" else Image.fromarray(noise)
    buffer = io.BytesIO()
    image.save(buffer, kind.split()[-1])
    preprocess = Preprocess(16, 16)

    def use(data):
        inputs = preprocess(decode(data))
        assert inputs.shape == (3, 16, 16)
        assert 0 <= inputs.min() <= inputs.max() <= 1

    # A damaged head may tell of MAX_PIXELS pixels, which are decoded: 400 MB as RGBX, and as much as RGB.
    refused = survive([buffer.getvalue()], use, (UnreadableImageError,), COUNT // 4, megabytes=1500)
    assert refused > 0 or kind in ("PPM", "TGA")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_sounds(tmp_path, suffix):
    import soundfile

    path = tmp_path / f"a.{suffix}"
    sound = 0.5 * torch.sin(torch.arange(4000) / 20)
    write_wav(path, sound, 16_000) if suffix == "wav" else soundfile.write(path, sound.numpy(), 16_000)

    def use(data):
        path.write_bytes(data)
        waveform = read_audio(path, 16_000)
        assert torch.isfinite(waveform).all()

    assert survive([path.read_bytes()], use, (UnreadableAudioError,), COUNT) > 0


ROWS = [{"text": f"a gem of a film, no {n}", "label": n % 2, "other": [n, {"x": 1.5}]} for n in range(8)]
TABLES = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "csv": "text,label\n" + "".join(f'"{row["text"]}\n""so"" it is",{row["label"]}\n' for row in ROWS),
    "tsv": "text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in ROWS),
    "txt": "".join(row["text"] + "\n" for row in ROWS),
}


@pytest.mark.parametrize("suffix", TABLES)
def test_texts(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"

    def use(data):
        path.write_bytes(data)
        for record in read_records(path, label_column=None if suffix == "txt" else "label"):
            assert (record.text is None) == bool(record.error)

    survive([TABLES[suffix].encode()], use, (ValueError,), COUNT)


def test_parquet(tmp_path, monkeypatch):
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    path = tmp_path / "data" / "train.parquet"
    path.parent.mkdir()
    table = pa.table({"text": [row["text"] for row in ROWS], "label": [row["label"] for row in ROWS]})
    pq.write_table(table, path)

    def use(data):
        path.write_bytes(data)
        Texts(name=str(path.parent), train="train", label_column="label").read("train")

    assert survive([path.read_bytes()], use, (ValueError,), COUNT) > 0


def test_answers(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    rows = json.dumps({"probabilities": [[0.2, 0.3, 0.5]], "model": "x", "seconds": 0.25}).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(rows), rows)
    current = []
    with RawServer(lambda connection: connection.sendall(current[-1])) as server:
        box = HttpBlackBox(server.url, num_classes=3, preprocess=Preprocess(4, 5), retries=0, timeout=2.0)

        def use(data):
            current[:] = [data]
            answers = box(torch.zeros(1, 3, 4, 5))
            assert answers.shape == (1, 3)
            assert abs(float(answers.sum()) - 1) < 0.1

        survive([answer(rows), chunked], use, (ValueError, ConnectionError), COUNT, wall=5)


def test_the_same_seed_gives_the_same_damage():
    from random import Random

    assert mutate(b"text" * 20, Random(3)) == mutate(b"text" * 20, Random(3)) != mutate(b"text" * 20, Random(4))
