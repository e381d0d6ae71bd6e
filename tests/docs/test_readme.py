"""The README: its form, and that its code and its recipe do what they say."""

import re
import shlex
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image

import fex
from fex.cli.bench import bench
from fex.cli.explain import main as explain
from fex.cli.train import init, train
from tests.families import blobs

pytestmark = pytest.mark.usefixtures("empty_curves")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ORDER = [
    "Install", "Ten lines", "Quickstart", "Your own classifier", "What works, and what doesn't", "Results", "More"
]  # fmt: skip
SHORT = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


def blocks(language, heading):
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_it_is_one_page_in_its_order():
    assert len(README.encode()) <= 12_000
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == ORDER
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 200 and not line.startswith("|")] == []
    table = README.split("<!-- results: ")[1].split("<!-- /results -->")[0]
    assert len(re.findall(r"^\| ", table, re.MULTILINE)) <= 2 + 8
    assert README.count("<!-- results: ") == 1


def test_what_it_links_to_is_there_and_every_picture_is_shown():
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
    pages = "".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    pictures = [path.name for path in (ROOT / "docs" / "pictures").rglob("*") if path.is_file()]
    assert [name for name in pictures if f"/{name})" not in pages] == []
    assert (ROOT / "docs" / "pictures" / "explanations.jpg").stat().st_size <= 300_000


def test_the_ten_lines_run(tmp_path, monkeypatch):
    (code,) = blocks("python", "Ten lines")
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code, found)
    assert found["heat"].shape == (1, 224, 224)
    with Image.open(tmp_path / "explained.png") as picture:
        assert min(picture.size) >= 224


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """What the recipe names: weights of a classifier of cats and dogs, and photographs; little time for timing."""
    root = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), root / "mine.pth")
    (root / "photos").mkdir()
    for index, pixels in enumerate(blobs(30, 40)):
        picture = Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy())
        picture.save(root / "photos" / ("cat.jpg" if index == 0 else f"{index}.jpg"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fex.cli.train.recipe.PATIENCE", 0.1)
        yield root


def test_the_recipe_for_a_classifier_of_ones_own(home, monkeypatch):
    monkeypatch.chdir(home)
    commands = [
        shlex.split(line.replace("resnet50", "test_resnet"), comments=True)
        for block in blocks("bash", "Your own classifier")
        for line in block.splitlines()
    ]
    (check,) = blocks("yaml", "Your own classifier")
    Path("check.yaml").write_text(check.replace("resnet50", "test_resnet").replace("num_masks: 100", "num_masks: 4"))
    programs = {
        "fex-train": lambda words: init.run(words) if "--init" in words else train.run([*words, *SHORT]),
        "fex-explain": explain,
        "fex-bench": bench.run,
    }
    done = {words[0] + " " + words[1]: programs[words[0]](words[1:]) for words in commands}
    assert done["fex-explain runs/mine"] in (0, None)
    assert len(list(Path("explained").glob("*.png"))) == 30
    report = done["fex-bench run"]
    assert {row["method"] for row in report["rows"] if row.get("error") is None} == {
        "FEX", "RISE", "Random", "Centre prior"}  # fmt: skip
    assert Path("runs/mine_check/report.html").is_file()


def test_the_photographs_of_the_check_are_not_those_of_the_training(home, monkeypatch):
    monkeypatch.chdir(home)
    (check,) = blocks("yaml", "Your own classifier")
    own = yaml.safe_load(check)["data"]["init_args"]
    init.run(["--init", "other.yaml", "--black-box", "test_resnet", "--weights", "mine.pth", "--classes", "cat,dog",
              "--data", "photos/"])  # fmt: skip
    theirs = yaml.safe_load(Path("other.yaml").read_text())["data"]["init_args"]
    assert {"root", "val_fraction", "test_fraction", "split_seed"} & set(own) == {"root"}
    assert not {"val_fraction", "test_fraction", "split_seed"} & set(theirs)


def test_the_recipe_in_python(home, monkeypatch):
    monkeypatch.chdir(home)
    (code,) = blocks("python", "Your own classifier")
    short = 'name="python", max_steps=2, accelerator="cpu", enable_progress_bar=False'
    assert 'name="mine"' in code
    torch.manual_seed(0)
    found = {"model": timm.create_model("test_resnet", num_classes=2)}
    exec(code.replace('name="mine"', short), found)
    assert isinstance(found["explanation"], fex.Explanation)
    assert Path("explained.png").is_file()
