"""`fex-train --init` for sounds, and for language models that are asked by a prompt."""

import pytest
import torch

import fex
from fex.explainers import encoder_choice
from fex.sounds import write_wav
from tests.black_box.language_model import language_model
from tests.cli.train.boxes import gem
from tests.cli.train.test_init import encoder_of, inside, trained, written  # noqa: F401
from tests.datamodules.sounds import RATE, clip, esc10_folder
from tests.texts.tiny import sentences, text_folder

PROMPT = ["--model", "tiny", "--template", r"Review: {text}\nIs it good?", "--labels", "no,yes"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with language_model() as running:
        yield running


def clips(folder, classes=("low", "high"), seconds=1.0):
    pytest.importorskip("soundfile")
    for number in range(6):
        for label, name in enumerate(classes):
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_wav(folder / name / f"{number}.wav", 0.5 * clip(label, number, seconds), RATE)
    return folder


def test_a_folder_of_sounds_for_a_function_of_spectrograms(inside, capsys):  # noqa: F811
    clips(inside / "clips")
    content = written("--black-box", "tests.cli.train.boxes:bands", "--classes", "low,high", data="clips")
    module, data = content["model"]["init_args"], content["data"]
    assert data["class_path"] == "datamodules.SoundFolder"
    assert (data["init_args"]["labels"], data["init_args"]["event"], data["init_args"]["seconds"]) == (
        None,
        None,
        0.992,
    )
    assert data["init_args"]["log_mel"] == {"sample_rate": 16000, "n_fft": 1024, "hop": 512, "mels": 64}
    assert "augment" not in data["init_args"]
    assert module["removal"] == {"class_path": "fex.sounds.Silence"}
    assert module["features"] == {"height": 4, "width": 4}
    assert module["black_box"]["init_args"]["preprocess"] == {"height": 64, "width": 32}
    said = capsys.readouterr().out
    assert "spectrograms of 64 bands and 32 frames" in said
    assert "check      spectrograms are made as sample_rate 16000, n_fft 1024, hop 512, mels 64" in said
    assert "pictures" not in said
    with open("my.yaml") as file:
        assert "# CHECK: bands x frames that the box takes" in file.read()
    explainer = trained()
    assert explainer.removal == "silence"
    assert "fex-train predict" in capsys.readouterr().out


def test_the_size_of_the_box_says_how_long_clips_are(inside):  # noqa: F811
    clips(inside / "clips")
    flags = ["--black-box", "tests.cli.train.boxes:bands", "--classes", "low,high", "--size", "16x101"]
    content = written(*flags, data="clips")
    assert content["data"]["init_args"]["seconds"] == 3.2
    assert content["data"]["init_args"]["log_mel"]["mels"] == 16
    assert content["model"]["init_args"]["features"] == {"height": 4, "width": 6}
    for path in (inside / "clips").rglob("*.wav"):  # without classes and without labels it trains as well
        path.rename(inside / "clips" / f"{path.parent.name}{path.name}")
    written(*flags, data="clips", name="flat.yaml")
    trained("flat.yaml")


@pytest.mark.parametrize("size", [(16, 101), (28, 28), (9, 8)])
def test_inputs_of_few_pixels_have_an_encoder(size):
    box = fex.load_black_box(gem, num_classes=2, preprocess=fex.images.Preprocess(*size))
    choice = encoder_choice.choose_encoder(box, None, 10)
    net = fex.nets.ExplainerNet(choice.encoder).build(2, fex.images.PatchGrid(2, 4))
    assert net(torch.rand(2, 3, *size))[0].shape == (2, 8)


def test_a_folder_of_the_shape_of_esc_10(inside):  # noqa: F811
    esc10_folder(inside / "esc")
    box = ["--black-box", "tests.cli.train.boxes:bands", "--classes", "low,high"]
    given = written(*box, "--size", "16x344", data="esc")["data"]
    assert given["class_path"] == "datamodules.ESC10"
    assert (given["init_args"]["seconds"], "padding" in given["init_args"]) == (5.0, False)
    given = written(*box, "--size", "16x101", data="esc", name="short.yaml")["data"]["init_args"]
    assert (given["seconds"], given["padding"]) == (3.2, None)
    trained("short.yaml")


def test_sounds_in_python(inside):  # noqa: F811
    folder = clips(inside / "clips")
    box = fex.load_black_box(lambda rows: torch.stack([rows.mean((1, 2, 3)), 1 - rows.mean((1, 2, 3))], 1),
                             class_names=["a", "b"], preprocess=fex.images.Preprocess(16, 101))  # fmt: skip
    explainer = fex.train(box, folder, name="sounds", max_steps=1, accelerator="cpu", enable_progress_bar=False)
    assert explainer.removal == "silence"


@pytest.mark.parametrize("path", ["/completions", "/chat/completions"])
def test_a_language_model(path, server, inside, capsys):  # noqa: F811
    text_folder(inside / "model")
    flags = ["--black-box", server.url + path, *PROMPT, "--classes", "bad,good", "--tokenizer", "model"]
    content = written(*flags, "--epochs", "2", data="reviews.txt")
    box = content["model"]["init_args"]["black_box"]
    assert box == {
        "class_path": "fex.black_box.PromptBlackBox",
        "init_args": {
            "url": server.url + path, "model": "tiny", "template": "Review: {text}\nIs it good?",
            "labels": ["no", "yes"], "tokenizer": "model", "class_names": ["bad", "good"],
        },
    }  # fmt: skip
    assert encoder_of(content)["init_args"]["model"] == "model"
    assert content["model"]["init_args"]["removal"] == {"class_path": "fex.texts.MaskToken"}
    said = capsys.readouterr().out
    assert "2 classes" in said
    assert "at most 64 tokens" in said
    with open("my.yaml") as file:
        assert "# a word a class, of one token each" in file.read()
    if path == "/completions":
        assert trained().class_names == ["bad", "good"]


def test_what_a_language_model_needs_and_does_not_take(server, inside):  # noqa: F811
    text_folder(inside / "model")
    address = f"{server.url}/completions"
    for flags, message in (
        (PROMPT[:2], "--template, --labels is missing: say which model is asked, by which prompt"),
        ([*PROMPT, "--outputs", "logits"], "--outputs: not for language models"),
        ([*PROMPT, "--classes", "3"], "Got --classes 3 and 2 --labels"),
        ([*PROMPT, "--size", "32"], "--size is for pictures"),
    ):
        with pytest.raises(ValueError, match=message):
            written("--black-box", address, *flags, data="reviews.txt")
    with pytest.raises(ValueError, match="holds no texts"):
        written("--black-box", address, *PROMPT)
    with pytest.raises(ValueError, match="--model: only for language models"):
        written("--black-box", "tests.cli.train.boxes:shares", "--size", "48", "--model", "tiny")
    (inside / "prompt.txt").write_text("Review: {text}\nGood?\n")
    flags = [*PROMPT[:3], "prompt.txt", *PROMPT[4:], "--token-env", "TINY_TOKEN", "--tokenizer", "model"]
    with pytest.raises(ValueError, match="TINY_TOKEN"):
        written("--black-box", address, *flags, data="reviews.txt")


def test_the_explainer_reads_the_tokens_of_the_box(inside):  # noqa: F811
    """MiniLM's weights would take the ids of another tokenizer for words of its own."""
    box = fex.load_black_box(
        lambda texts: [[0.5, 0.5]] * len(texts), num_classes=2, tokenizer=text_folder(inside / "m")
    )
    assert encoder_choice.choose_encoder(box, None, 10).init_args["model"] == str(inside / "m")
    explainer = fex.train(box, sentences(8), name="own", max_steps=1, accelerator="cpu", enable_progress_bar=False)
    assert explainer.net.encoder.net.config.hidden_size == 32
