"""`fex-train --init`: what it writes for every kind of box, and that it trains as it stands."""

import re
import threading

import onnx
import pytest
import timm
import torch
import yaml
from onnx import TensorProto, helper
from PIL import Image

from fex.cli.init_flags import asks_init
from fex.cli.quick_check import first_mistake
from fex.cli.train import init, remarks, train
from fex.cli.train.recipe import MOST_TIMED, PATIENCE, _middle_half
from fex.explainers import load_explainer
from tests.black_box.test_graph_files import Net, write
from tests.black_box.test_http import Server
from tests.black_box.test_zero_shot import folder as clip_folder
from tests.families import TRANSFORMERS, blobs, save_transformers
from tests.texts.tiny import sentences, text_folder

STEPS = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fex.cli.train.recipe.PATIENCE", 0.1)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, pixels in enumerate(blobs(12, 40)):
        Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    (tmp_path / "reviews.txt").write_text("\n".join(sentences(14)))
    return tmp_path


def written(*flags, name="my.yaml", data="photos"):
    init.run(["--init", name, "--data", data, *flags])
    assert first_mistake(["--config", name]) is None
    with open(name) as file:
        return yaml.safe_load(file)


def trained(name="my.yaml"):
    cli = train.run(["--config", name, *STEPS])
    assert cli.trainer.global_step == 2
    return load_explainer(f"runs/{name.removesuffix('.yaml')}/checkpoints/last.ckpt")


def encoder_of(content):
    return content["model"]["init_args"]["explainer"]["init_args"]["encoder"]


def timm_file(name, path, **arguments):
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3, **arguments)
    torch.save(net.state_dict(), path)


def test_a_cnn_of_timm_with_weights_of_ones_own(inside, capsys):
    timm_file("test_resnet", "mine.pth")
    content = written("--black-box", "test_resnet", "--weights", "mine.pth", "--classes", "cat,dog,owl", "--grid", "4")
    box = content["model"]["init_args"]["black_box"]["init_args"]
    assert box == {"model": "test_resnet", "weights": "mine.pth", "class_names": ["cat", "dog", "owl"]}
    encoder = encoder_of(content)
    assert encoder["class_path"] == "fex.nets.PyramidEncoder"
    assert encoder["init_args"]["weights"] == "mine.pth"
    assert encoder["init_args"]["class_head"] is encoder["init_args"]["frozen"] is True
    assert content["model"]["init_args"]["features"] == {"height": 4, "width": 4}
    said = capsys.readouterr().out
    assert "queries" in said
    assert re.search(r"queries, about \d+ to \d+ \w+ on this machine \(timed by \d+ queries\)", said)
    assert re.search(r"3 classes; pictures of \d+ x \d+ pixels", said)
    with pytest.raises(FileExistsError, match="exists and is kept"):
        written("--black-box", "test_resnet", "--weights", "mine.pth")
    explainer = trained()
    assert explainer.class_names == ["cat", "dog", "owl"]
    assert explainer.meta["grid"] == [4, 4]


def test_flags_win(inside):
    timm_file("test_resnet", "mine.pth")
    flags = ["--epochs", "3", "--batch-size", "5", "--name", "other", "--grid", "3x5", "--size", "64x96"]
    content = written("--black-box", "test_resnet", "--weights", "mine.pth", *flags)
    assert content["trainer"]["max_epochs"] == 3
    assert content["data"]["init_args"]["batch_size"] == 5
    assert content["trainer"]["logger"]["init_args"]["name"] == "other"
    assert content["model"]["init_args"]["features"] == {"height": 3, "width": 5}
    assert content["model"]["init_args"]["black_box"]["init_args"]["preprocess"] == {"height": 64, "width": 96}


def test_a_vit_of_timm(inside):
    timm_file("test_vit", "mine.pth")
    content = written("--black-box", "test_vit", "--weights", "mine.pth")
    assert encoder_of(content)["class_path"] == "fex.nets.ViTEncoder"
    assert encoder_of(content)["init_args"]["class_head"]
    trained()


def test_a_shipped_box(inside):
    content = written("--black-box", "vit_scenes")
    assert content["model"]["init_args"]["black_box"]["init_args"] == {"weights": "vit_scenes"}
    assert content["model"]["init_args"]["features"] == {"height": 8, "width": 8}


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_a_folder_of_transformers(kind, inside):
    save_transformers(TRANSFORMERS[kind], "model")
    content = written("--black-box", "model")
    assert encoder_of(content)["class_path"] == "fex.nets.TransformersEncoder"
    assert encoder_of(content)["init_args"]["class_head"]
    if kind == "swin":
        assert trained().class_names == ["cat", "dog", "owl"]


def graph(path, side):
    """Means of the colours, with any number of pictures."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, side, side])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["image", "axes"], ["out"], keepdims=0)
    made = helper.make_graph([node], "g", [image], [out], [axes])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def test_a_training_ends_with_its_checkpoint_and_the_next_command(inside, capsys):
    content = written("--black-box", "tests.cli.train.boxes:shares", "--size", "48")
    box = content["model"]["init_args"]["black_box"]["init_args"]
    assert (box["num_classes"], box["outputs"]) == (3, "probabilities")
    trained()
    path = "runs/my/checkpoints/last.ckpt"
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"checkpoint: {path}",
        f"next:       fex-explain {path} photo.jpg",
    ]


def test_an_onnx_file(inside, capsys):
    graph("box.onnx", 64)
    content = written("--black-box", "box.onnx")
    box = content["model"]["init_args"]["black_box"]["init_args"]
    assert box["outputs"] == "logits"
    assert box["normalise"] is True
    assert "preprocess" not in box
    said = capsys.readouterr().out
    assert "set normalise: false" in said
    assert "the classes have no names" in said
    assert trained().preprocess.size == (64, 64)


@pytest.mark.parametrize("suffix", [".xml", ".pt2"])
def test_other_files_of_a_graph(suffix, inside):
    flags = ["--black-box", str(write(Net(), inside / f"box{suffix}", (2, 3, 64, 64)))]
    if suffix == ".pt2":
        with pytest.raises(ValueError, match="can run code that is hidden in it"):
            written(*flags)
        flags.append("--trust")
    box = written(*flags)["model"]["init_args"]["black_box"]["init_args"]
    assert (box["outputs"], "preprocess" in box, box.get("trust", False)) == ("logits", False, suffix == ".pt2")
    assert trained().preprocess.size == (64, 64)


def test_prompts_of_a_clip(inside):
    clip = clip_folder(inside / "clip")
    box = written("--black-box", clip, "--prompts", "a cat,a dog", "--classes", "cat,dog")["model"]["init_args"][
        "black_box"
    ]
    assert box["class_path"] == "fex.black_box.ZeroShotBlackBox"
    assert (box["init_args"]["prompts"], box["init_args"]["class_names"]) == (["a cat", "a dog"], ["cat", "dog"])
    assert trained().class_names == ["cat", "dog"]
    with pytest.raises(ValueError, match="--prompts is for a folder or hub id of a CLIP"):
        written("--black-box", "tests.cli.train.boxes:shares", "--prompts", "a cat,a dog", name="other.yaml")
    with pytest.raises(ValueError, match="is a language model, and --model, --template, --labels is missing"):
        written("--black-box", "http://127.0.0.1/v1/completions", name="other.yaml", data="reviews.txt")


def test_an_address(inside):
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        content = written("--black-box", server.url, "--size", "64")
        box = content["model"]["init_args"]["black_box"]["init_args"]
        assert (box["num_classes"], box["outputs"]) == (3, "probabilities")
        asked = sum(len(message["inputs"]) for message, _ in server.requests)
        assert 8 + 8 * 4 <= asked <= 8 + 8 + 9 + MOST_TIMED  # 9: whether it answers alike
        assert len(trained().class_names) == 3
    finally:
        server.shutdown()
        server.server_close()


def test_functions_that_answer_with_logits_or_several_labels(inside):
    content = written("--black-box", "tests.cli.train.boxes:logits", "--size", "96", name="large.yaml")
    assert content["model"]["init_args"]["black_box"]["init_args"]["outputs"] == "logits"
    assert encoder_of(content)["init_args"]["model"] == "convnext_atto"
    trained("large.yaml")
    with pytest.raises(ValueError, match="say what they are"):
        written("--black-box", "tests.cli.train.boxes:flags", "--size", "48", name="flags.yaml")
    several = ["--multi-label", "--size", "48"]
    content = written("--black-box", "tests.cli.train.boxes:flags", *several, name="flags.yaml")
    assert content["model"]["init_args"]["black_box"]["init_args"]["multi_label"] is True


def test_texts(inside):
    text_folder(inside / "model")
    content = written("--black-box", "model", data="reviews.txt")
    assert content["model"]["init_args"]["features"] is None
    assert encoder_of(content)["init_args"]["class_head"]
    trained()
    flags = ["--black-box", "tests.cli.train.boxes:gem", "--tokenizer", "model"]
    content = written(*flags, name="words.yaml", data="reviews.txt")
    assert content["model"]["init_args"]["black_box"]["class_path"] == "fex.black_box.TextCallableBlackBox"
    assert content["model"]["init_args"]["black_box"]["init_args"]["tokenizer"] == "model"
    trained("words.yaml")


def test_what_does_not_fit_is_refused_and_nothing_is_written(inside):
    timm_file("test_resnet", "mine.pth")
    box = ["--black-box", "test_resnet", "--weights", "mine.pth"]
    with pytest.raises(ValueError, match="holds texts"):
        written(*box, data="reviews.txt")
    with pytest.raises(FileNotFoundError, match="nothing at"):
        written(*box, data="nowhere")
    with pytest.raises(ValueError, match="has 3 classes, got --classes 4"):
        written(*box, "--classes", "4")
    with pytest.raises(ValueError, match="--outputs is for"):
        written(*box, "--outputs", "logits")
    assert not (inside / "my.yaml").exists()


def test_the_estimate_is_that_of_the_usual_batch(monkeypatch):
    """A slow first one, and a pause of the machine now and then, change nothing."""
    monkeypatch.setattr("fex.cli.train.recipe.PATIENCE", PATIENCE)
    now, taken = [0.0], iter([9.0, *[0.1, 0.1, 5.0, 0.2, 0.1, 0.1] * 10])
    monkeypatch.setattr("fex.cli.train.recipe.time.perf_counter", lambda: now[0])

    def work():
        now[0] += next(taken)

    assert _middle_half(work, 12) == pytest.approx((0.1, 0.2))
    now[0], taken = 0.0, iter([0.0, *[1.0] * 9])
    _middle_half(work, 12)
    assert now[0] == max(3.0, PATIENCE)
    assert remarks.span(100, 170) == "2 to 3 minutes"
    assert remarks.span(1, 1) == "1 to 2 seconds"


def test_the_command_line_finds_it():
    assert asks_init(["--init", "my.yaml"])
    assert asks_init(["--init=my.yaml"])
    assert not asks_init(["fit", "--config", "my.yaml"])
