"""FEX on texts: it finds the word, padding changes nothing, checkpoints and adapters carry all."""

import hashlib

import lightning.pytorch as pl
import pytest
import torch

from datamodules import DataModule
from datamodules.text_rows import TextRows
from fex import explain
from fex.black_box import TextBlackBox
from fex.explainers import (
    AmortizedExplainer,
    AmortizedTextExplainer,
    build_explainer,
    explainer_meta,
    export_explainer,
    load_explainer,
)
from fex.nets import ExplainerNet, TextEncoder
from fex.policy import (
    Antithetic,
    BlankCorrectedRatio,
    CompatibleControl,
    OnPolicy,
    PaperRatio,
    RandomBudget,
    Retained,
    TwoSidedBudget,
    bernoulli,
)
from fex.storage.resources import manifest
from fex.texts import DropToken, MaskToken
from fex.texts.backbone import load_text_net, save_text_black_box
from fex.texts.lora import is_adapter
from lightning_modules import FEXModule
from tests.texts.tiny import SENTENCES, WordBox, preprocess, sentences, small_encoder, text_folder


class Sentences(DataModule):
    """Generated, held in memory."""

    def setup(self, stage):
        self.datasets = {"train": TextRows(sentences(512), self.preprocess)}


def module(box=None, **options):
    settings = {
        "reward": Retained(), "num_masks": 6, "noise": Antithetic(), "exploration": TwoSidedBudget(-2, 2),
        "control": CompatibleControl(), "entropy_weight": 0.1, "kl_weight": 0.1,
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, 3e-3),
    }  # fmt: skip
    net = ExplainerNet(small_encoder(), hidden=16, value_degree=2)
    return FEXModule(box or WordBox(), None, net, **{**settings, **options})


def fit(trained, data=None, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"enable_checkpointing": False, "limit_val_batches": 0, "use_distributed_sampler": False}
    trainer = pl.Trainer(**quiet, **options)
    trainer.fit(trained, datamodule=data or Sentences(batch_size=32))
    return trainer


def test_finds_the_one_word_that_the_box_looks_for():
    trained = module()
    fit(trained, max_steps=100)
    own = preprocess()
    held_out = [text for text in sentences(200, seed=9) if "gem" in text.split()]
    inputs = own.pad_batch([row.ids for row in own.many(held_out)])
    rates = trained(inputs, torch.ones(len(inputs), dtype=torch.int64))
    rates = rates.masked_fill(~own.features.valid(inputs), -1)
    found = inputs.gather(1, rates.argmax(1, keepdim=True)).squeeze(1)
    assert (found == 9).float().mean() >= 0.95


@pytest.mark.parametrize("reward", [PaperRatio(), BlankCorrectedRatio(), Retained()])
@pytest.mark.parametrize("exploration", [OnPolicy(), RandomBudget(-2, 2), TwoSidedBudget(-2, 2)])
@pytest.mark.parametrize("surrogate", ["joint", "per_feature"])
def test_padding_changes_neither_masks_nor_rewards_nor_losses(reward, exploration, surrogate):
    trained = module(reward=reward, exploration=exploration, surrogate=surrogate, removal=DropToken())
    torch.nn.init.normal_(trained.explainer.weight)
    own = preprocess()
    short = own.pad_batch([row.ids for row in own.many(SENTENCES)])
    long = torch.cat([short, torch.zeros(len(short), 7, dtype=torch.int64)], 1)
    found = []
    for inputs in (short, long):
        clean = trained.black_box(inputs)
        target = clean.argmax(1)
        output = trained._encode(inputs, target)
        rollout = trained._rollout(inputs, target, output[1].detach())
        loss, signs = trained._loss(output, rollout, clean, target, torch.full((4,), 0.25))
        (gradient,) = torch.autograd.grad(loss, trained.explainer.weight)
        found.append((rollout, loss.detach(), signs, gradient))
    (a, *first), (b, *second) = found
    width = short.shape[1]
    assert a.masks.equal(b.masks[..., :width])
    assert b.masks[..., width:].sum() == 0
    assert not (a.masks * ~own.features.valid(short).unsqueeze(1)).any()  # special tokens are not counted as kept
    torch.testing.assert_close(a.rewards, b.rewards)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_relative_entropy_and_log_probability_count_real_tokens_only():
    logits, valid = torch.randn(1, 6), torch.tensor([[False, True, True, True, False, False]])
    for exploration in (OnPolicy(), RandomBudget(-2, 2)):
        budget = torch.tensor([[0.3]])
        sampling = exploration(exploration.centre(logits, valid), budget)
        real = exploration(exploration.centre(logits[:, 1:4]), budget)
        reference = exploration.reference(budget)
        torch.testing.assert_close(
            bernoulli.relative_entropy(sampling, reference), bernoulli.relative_entropy(real, reference)
        )


def explainer():
    torch.manual_seed(1)
    net = ExplainerNet(small_encoder(), hidden=8).build(2, preprocess().features)
    for parameter in (net.weight, net.shared.weight, net.level.weight):
        torch.nn.init.normal_(parameter)
    return AmortizedTextExplainer(net, explainer_meta(net, WordBox(), MaskToken()))


def test_the_same_text_in_any_batch_has_the_same_attribution():
    one = explainer()
    together = one.explain(SENTENCES, batch_size=3)
    for text, found in zip(SENTENCES, together, strict=True):
        (alone,) = one.explain(text)
        torch.testing.assert_close(alone.scores, found.scores, atol=1e-5, rtol=1e-4)
        assert alone.probability == pytest.approx(found.probability, abs=1e-5)
        assert len(alone.scores) == len(preprocess()(text).ids) - 2
    inputs = one.tokenize(SENTENCES)
    scores = one.attribute(inputs, target=1)
    assert scores.shape == inputs.shape
    assert not scores[~one.features.valid(inputs)].any()
    assert (scores[one.features.valid(inputs)] > 0).all()


def test_windows_explain_a_long_text_whole():
    one = explainer()
    text = "the film is a gem " * 30
    (cut,), (whole,) = one.explain(text), one.explain(text, window=8)
    assert (cut.cut, len(cut.scores), cut.windows) == (120, 30, 1)
    assert (whole.cut, len(whole.scores)) == (0, 150)
    assert whole.windows == 7
    assert [word.word for word in whole.word_scores()] == text.split()
    short = one.explain("a gem", window=8)[0]
    torch.testing.assert_close(short.scores, one.explain("a gem")[0].scores)


@pytest.mark.parametrize("window", [None, 8])
def test_a_list_of_words_keeps_each_of_its_words(window):
    words = ["a", "gem", "a", "film", "good", "gem"]  # spans are counted in each word: several are equal
    one = explainer()
    (found,) = one.explain([words], window=window)
    assert [word.word for word in found.word_scores()] == words
    if window is None:
        (whole,) = one.explain(" ".join(words))
        torch.testing.assert_close(found.scores, whole.scores)


def test_unfit_texts_and_boxes_are_refused():
    one = explainer()
    for text in ("", "  ", "\x00"):
        with pytest.raises(ValueError, match="has no tokens to explain"):
            one.explain(text)
    with pytest.raises(ValueError, match="Unknown class 'maybe'"):
        one.explain("a gem", target="maybe")
    other = WordBox()
    other.class_names = ["a", "b", "c"]
    with pytest.raises(ValueError, match="has 3 classes"):
        one.explain("a gem", black_box=other)
    with pytest.raises(ValueError, match="expected token ids"):
        one.attribute(torch.rand(1, 3, 8, 8))
    assert one.explain("a gem", black_box=WordBox())[0].target_name == "yes"


def test_a_checkpoint_is_enough(tmp_path):
    trained = module()
    trainer = fit(trained, max_steps=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    one = load_explainer(tmp_path / "last.ckpt")
    assert isinstance(one, AmortizedExplainer)
    inputs = one.tokenize(SENTENCES)
    target = torch.ones(4, dtype=torch.int64)
    expected = trained(inputs, target) * one.features.valid(inputs)
    torch.testing.assert_close(one.attribute(inputs, target), expected)
    export_explainer(tmp_path / "last.ckpt", tmp_path / "small.safetensors")
    again = load_explainer(tmp_path / "small.safetensors")
    torch.testing.assert_close(again.attribute(inputs, target), expected, atol=0.03, rtol=0.05)  # bf16


def test_adapters_are_merged_and_stand_for_the_whole(tmp_path):
    pytest.importorskip("peft")
    folder = text_folder(tmp_path / "net")
    encoder = TextEncoder(folder, lora_rank=2, class_head=True)
    box = TextBlackBox(folder)
    net = ExplainerNet(encoder, hidden=8).build(2, box.features)
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in net.named_parameters() if is_adapter(name)}
    for name, parameter in net.named_parameters():
        if name in trained:
            torch.nn.init.normal_(parameter, std=0.3)
    inputs = box.tokenize(["a gem", "the film"])
    expected = net(inputs)[0].detach()
    meta = explainer_meta(net, box, MaskToken())
    one = build_explainer(net.state_dict(), meta, source="test")
    assert not any("lora" in name for name, _ in one.net.named_parameters())
    torch.testing.assert_close(one.net(inputs)[0], expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="files or downloads"):
        build_explainer(
            net.state_dict(),
            {
                **meta,
                "net": {
                    **meta["net"],
                    "encoder": {"class_path": "fex.nets.TextEncoder", "init_args": {"model": "gpt2"}},
                },
            },
            source="test",
        )


def test_an_export_on_a_shipped_backbone_holds_the_adapters_alone(tmp_path, monkeypatch):
    pytest.importorskip("peft")
    folder = text_folder(tmp_path / "net")
    box_file = tmp_path / "box.safetensors"
    base = load_text_net(folder, classifier=True).net.requires_grad_()
    meta = {"base": folder, "lora_rank": 0, "class_names": ["no", "yes"], "max_length": 32}
    save_text_black_box(box_file, base, meta)
    digest = hashlib.sha256(box_file.read_bytes()).hexdigest()
    entry = {"kind": "black_box", "modality": "text", "file": str(box_file), "sha256": digest}
    monkeypatch.setitem(manifest(), "tiny_text", entry)

    box = TextBlackBox("tiny_text")
    net = ExplainerNet(TextEncoder("tiny_text", lora_rank=2, class_head=True), hidden=8).build(2, box.features)
    for parameter in net.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    state = {f"explainer.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "fex": explainer_meta(net, box, MaskToken())}, tmp_path / "run.ckpt")
    export_explainer(tmp_path / "run.ckpt", tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 0.5 * box_file.stat().st_size
    inputs = box.tokenize(SENTENCES)
    whole, small = load_explainer(tmp_path / "run.ckpt"), load_explainer(tmp_path / "small.safetensors")
    assert small.preprocess == whole.preprocess
    torch.testing.assert_close(small.attribute(inputs, 1), whole.attribute(inputs, 1), atol=0.03, rtol=0.05)
    assert small.explain("a gem")[0].method == "FEX"
    assert explain("a gem", small)[0].scores.equal(small.explain("a gem")[0].scores)
    box_file.write_bytes(b"other")
    entry["sha256"] = "0"
    with pytest.raises(ValueError, match="the manifest says 0"):
        load_explainer(tmp_path / "small.safetensors")
