"""The commands and snippets of the pages on export, serving, sharing, clusters and other libraries do what they say."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import constants
from PIL import Image

import fex
from fex.benchmark.build import build_method
from fex.cli.explain import main as explain
from fex.cli.export import main as export
from fex.cli.serve import build_parser
from fex.images import PatchGrid
from tests.explainers.tiny import tiny_box, write_checkpoint
from tests.hub.fake import hub

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page, language):
    text = (DOCS / page).read_text(encoding="utf-8")
    return [code for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if "--8<--" not in code]


def commands(page):
    return [
        shlex.split(line, comments=True)
        for block in blocks(page, "bash")
        for line in block.splitlines()
        if not line.startswith(("pip ", "python "))
    ]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A photograph, and a trained explainer where the pages have theirs."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(pixels).save("photo.jpg")
    Path("runs/mine").mkdir(parents=True)
    write_checkpoint(Path("runs/mine/last.ckpt"))
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_on_export(home):
    pytest.importorskip("onnxscript")
    run = {"fex-export": export, "fex-explain": explain}
    for program, *words in commands("export.md"):
        assert run[program](["runs/mine" if word == "fex_vit_cifar10" else word for word in words]) == 0
    assert Path("explanations/photo.png.json").is_file()


def test_the_commands_of_the_page_on_serving(home):
    pytest.importorskip("litserve")
    pytest.importorskip("python_multipart")
    from tests.serve.test_server import serving

    found = commands("serve.md")
    served = [build_parser().parse_args(words) for program, *words in found if program == "fex-serve"]
    assert [each.black_box for each in served] == [None, "vit_cifar10"]
    with serving("runs/mine") as client:
        for words in (words for program, *words in found if program == "curl"):
            words = words[: words.index(">")] if ">" in words else words
            given = list(zip(words[:-1:2], words[1:-1:2], strict=True))
            fields = [value.partition("=")[::2] for flag, value in given if flag == "-F"]
            files = [(name, (value, Path(value[1:]).read_bytes())) for name, value in fields if value.startswith("@")]
            data = {name: value for name, value in fields if not value.startswith("@")}
            headers = dict(value.split(": ") for flag, value in given if flag == "-H")
            answer = client.post(words[-1].partition(":8000")[2], files=files, data=data, headers=headers)
            assert answer.status_code == 200, answer.text


def test_the_snippets_of_the_page_on_sharing(home, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
    Path("runs/mine_check").mkdir()
    rows = [{"method": "FEX", "protocol": "fex", "metric": "positive_auc", "value": 0.2, "ci95": [0.1, 0.3], "n": 9}]
    Path("runs/mine_check/report.json").write_text(json.dumps({"rows": rows}))
    with hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        code = "import fex\n" + "\n".join(blocks("hub.md", "python")).replace("me/fex-resnet50@", "me/mine@")
        exec(code.replace("me/fex-resnet50", "me/mine"), {})
        assert "Which parts of an input count" in capsys.readouterr().out
        for program, *words in commands("hub.md"):
            assert program == "fex-explain"
            assert explain([word.replace("me/fex-resnet50", "me/mine") for word in words]) == 0


def test_the_methods_of_the_page_on_other_libraries():
    [found] = blocks("interop.md", "yaml")
    injected = {"black_box": tiny_box(), "features": PatchGrid(4, 4), "seed": 0}
    for name, spec in yaml.safe_load(found)["methods"].items():
        method = build_method(spec["class_path"], spec["init_args"], injected)
        assert method.masked is None or method.masked == PatchGrid(4, 4), name


def test_the_snippet_of_the_page_on_clusters(home, capsys):
    Path("broken.jpg").write_bytes(b"broken")
    [code] = [each for each in blocks("cluster.md", "python") if "import datasets" in each]
    exec(code, {})
    found, error = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert found in fex.load_explainer("fex_vit_cifar10").class_names
    assert "none of JPEG" in error
