"""Every architecture, as a black box and as an encoder: the same text, the same answer in any batch."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from fex.baselines import AttentionRollout, AttLRP, Occlusion
from fex.baselines.tokens import TokenGradCAM
from fex.black_box import TextBlackBox
from fex.nets import ExplainerNet, TextEncoder
from tests.texts.architectures import DECODERS, KINDS, architecture_folder

TEXTS = [
    "the film is a gem",
    "a mess",
    "so very odd and dull zzz",
    "the plot was the gem and the actor a mess and the film is so very dull and odd and a gem",
    "zzz",
]
QUICK = ("bert", "fnet", "gpt2", "mpnet", "t5", "xlnet")  # one of each kind of reading; the others are slow
SEES_PADDING = ("big_bird", "convbert", "fnet", "funnel", "mobilebert", "nystromformer", "xlnet", "yoso")
READ = ("bert", "camembert", "data2vec-text", "ernie", "rembert", "roberta", "xlm-roberta")  # by AttLRP
NO_GRADCAM = ("longformer", "xlnet")


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS]
)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return architecture_folder(tmp_path_factory.mktemp("net"), kind)


@pytest.fixture(scope="module")
def box(folder):
    return TextBlackBox(folder)


def library(folder, box, texts):
    """What the library answers for each text alone, by a network that has seen nothing else."""
    found = []
    for text in texts:
        net = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, return_dict=True).eval()
        with torch.no_grad():
            found.append(net(box.preprocess(text).ids[None]).logits.softmax(1))
    return torch.cat(found)


def test_the_same_answer_alone_and_in_any_batch(folder, box, kind):
    inputs = box.tokenize(TEXTS)
    together = box(inputs)
    alone = torch.cat([box(box.tokenize([text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone, library(folder, box, TEXTS), atol=1e-5, rtol=1e-4)
    wide = torch.nn.functional.pad(inputs, (0, 6), value=box.preprocess.pad)
    torch.testing.assert_close(box(wide.flip(0)).flip(0), together, atol=1e-5, rtol=1e-4)
    assert box.reading.padded == (kind not in (*SEES_PADDING, *DECODERS))
    torch.testing.assert_close(box.differentiable(inputs).softmax(1).detach(), together, atol=1e-5, rtol=1e-4)


def test_unknown_words_are_seen_and_scored(box):
    inputs = box.tokenize(["a zzz gem", "a gem"])
    found = box(inputs)
    assert float((found[0] - found[1]).abs().max()) > 1e-3
    assert int(box.features.valid(inputs)[0].sum()) >= 3
    assert float(Occlusion(box, box.features).attribute(inputs)[0].abs().sum()) > 0


def test_an_encoder_reads_texts_as_the_box_does(folder, box, kind):
    encoder = TextEncoder(folder)
    inputs = box.tokenize(TEXTS)
    together = encoder(inputs)
    scale = float(together.tokens.detach().abs().max())
    for row, text in enumerate(TEXTS):
        alone = encoder(box.tokenize([text]))
        length = alone.tokens.shape[1]
        torch.testing.assert_close(together.tokens[row, :length], alone.tokens[0], atol=1e-4 * scale, rtol=1e-4)
        torch.testing.assert_close(together.pooled[row], alone.pooled[0], atol=1e-4 * scale, rtol=1e-4)
    assert (encoder.reading.pool == "last") == (kind in DECODERS)
    again = TextEncoder(**encoder.init_args)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(inputs), together)
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())


def test_the_class_estimate_depends_on_the_whole_text(folder, box):
    pooled = TextEncoder(folder)(box.tokenize(["the film is a gem", "mess film is a gem", "the film is a mess"])).pooled
    assert float((pooled[0] - pooled[1]).detach().abs().max()) > 1e-4
    assert float((pooled[0] - pooled[2]).detach().abs().max()) > 1e-4


def test_an_encoder_trains(folder, box):
    torch.manual_seed(0)
    net = ExplainerNet(TextEncoder(folder)).build(3, box.features)
    before = {name: parameter.clone() for name, parameter in net.encoder.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    inputs, answers = box.tokenize(TEXTS), box(box.tokenize(TEXTS))
    for _ in range(2):
        encoded = net.encode(inputs)
        maps = net.attribution(encoded, answers.argmax(1))
        loss = -(answers * net.class_logits(encoded).log_softmax(1)).sum() + maps[net.features.valid(inputs)].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert len(before) > 10
    without = [name for name, parameter in net.encoder.named_parameters() if name in before and parameter.grad is None]
    assert not without  # DDP would stop
    after = dict(net.encoder.named_parameters())
    assert all(bool(torch.isfinite(after[name]).all()) for name in before)
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert len(moved) > 0.8 * len(before)


@pytest.mark.parametrize("method", [AttLRP, AttentionRollout, TokenGradCAM])
def test_methods_that_look_inside_work_or_are_refused_in_a_sentence(box, kind, method):
    works = kind in READ or (method is TokenGradCAM and kind not in NO_GRADCAM)
    if not works:
        with pytest.raises(ValueError, match=r"Use (GradCAM|another method)"):
            method(box, box.features).attribute(box.tokenize(TEXTS), 1)
        return
    explainer = method(box, box.features)
    together = explainer.attribute(box.tokenize(TEXTS), 1)
    for row, text in enumerate(TEXTS):
        alone = explainer.attribute(box.tokenize([text]), 1)[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4 * float(together.max()), rtol=1e-3)


def test_what_the_file_holds_changes_nothing_else(kind, tmp_path):
    """Half precision, plain tuples as outputs, a padding token that is the unknown one."""
    path = architecture_folder(tmp_path, kind, pad="[UNK]", dtype=torch.float16, return_dict=False)
    box = TextBlackBox(path)
    assert box.preprocess.pad not in box.preprocess._fast.get_vocab().values()
    inputs = box.tokenize(TEXTS)
    torch.testing.assert_close(box(inputs), library(path, box, TEXTS), atol=1e-5, rtol=1e-4)
    found = box(box.tokenize(["a zzz gem", "a gem"]))
    assert float((found[0] - found[1]).abs().max()) > 1e-3
    encoder = TextEncoder(path)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert bool(torch.isfinite(encoder(inputs).tokens).all())


@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_with_a_padding_token_need_no_batches_of_one_length(kind, tmp_path):
    box = TextBlackBox(path := architecture_folder(tmp_path, kind, pad="[PAD]"))
    assert box.reading.padded or kind in ("gpt_neox", "qwen2")
    torch.testing.assert_close(box(box.tokenize(TEXTS)), library(path, box, TEXTS), atol=1e-5, rtol=1e-4)
