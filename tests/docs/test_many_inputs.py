"""The code of the page on many inputs reads what `fex-explain` writes."""

import re
import shlex
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from fex.cli.explain.explain import run
from fex.report.shards import read_head
from tests.cli.explain.test_sources import PICTURES, write_tar
from tests.explainers.tiny import CLASSES, tiny_explainer, write_checkpoint
from tests.lightning_modules.test_texts import explainer

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_tables_are_read_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint("x.ckpt", tiny_explainer())
    (tmp_path / "photos").mkdir()
    for number in range(2):
        Image.effect_noise((20, 24), 80).convert("RGB").save(f"photos/{number}.jpg")
    (tmp_path / "photos" / "2.jpg").write_bytes(b"broken")
    run(["x.ckpt", "photos", "--device", "cpu", "--formats", "parquet", "--output", "maps"])
    capsys.readouterr()
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] == "0.jpg"
    assert second.split()[1] in CLASSES


def test_inputs_are_read_where_they_lie_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint("x.ckpt", tiny_explainer())
    texts = explainer()
    state = {f"explainer.{name}": tensor for name, tensor in texts.net.state_dict().items()}
    torch.save({"state_dict": state, "fex": texts.meta}, "text.ckpt")
    pictures = PICTURES[:3]
    pq.write_table(pa.table({"image": pictures, "mask": pictures}), "pictures.parquet")
    Path("shards").mkdir()
    pq.write_table(pa.table({"image": pictures}), "shards/0.parquet")
    for path in ("shards/1.tar", "train-000.tar", "train-001.tar"):
        write_tar(path, pictures)
    data = datasets.Dataset.from_dict({"image": pictures})
    datasets.DatasetDict({"test": data}).save_to_disk("saved")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    pq.write_table(pa.table({"id": [1], "text": ["a gem"]}), "reviews.parquet")
    [block] = re.findall(r"```bash\n(fex-explain [^\n]*pictures.parquet.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    explained = []
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "fex-explain"
        names = {"fex_efficientnet_lite0": "x.ckpt", "fex_minilm_sst2": "text.ckpt"}
        run([*(names.get(word, word) for word in words), "--device", "cpu"])
        explained.append(read_head(Path("maps/explanations-00000.parquet"))["counts"]["explained"])
    assert explained == [3, 6, 6, 3, 3, 1]
