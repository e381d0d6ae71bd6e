"""The code of the page on many inputs reads what `fex-explain` writes."""

import re
from pathlib import Path

from PIL import Image

from fex.cli.explain.pictures import run
from tests.explainers.tiny import CLASSES, tiny_explainer, write_checkpoint

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
