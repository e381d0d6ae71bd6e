"""Protocols of texts against loops over the definitions."""

import math

import pytest
import torch

from fex import explain
from fex.baselines import (
    LIME,
    RISE,
    AttentionRollout,
    AttLRP,
    GradCAM,
    KernelSHAP,
    Occlusion,
    Random,
    Saliency,
    SmoothRISE,
    TokenGradCAM,
)
from fex.benchmark.runner import compare, evaluate_explainer
from fex.black_box import TextBlackBox
from fex.metrics import get_protocol
from fex.metrics.functional import mean_macro_f1, mean_set_f1, rank_features, rationale_counts, share_masks, top_masks
from fex.metrics.protocols import Attributed
from tests.texts.tiny import SENTENCES, LookUpBox, WordBox, sentences, text_folder

LONG = sentences(12, seed=4)


def counting_box():
    """The probability is a table of the ids that are left, so that every mask matters."""
    weight = (torch.arange(64) * 1.7).sin()
    return LookUpBox(lambda ids: weight[ids].mul(ids > 4).sum(1).sigmoid())


def attributed(box, texts=SENTENCES):
    inputs = box.tokenize(texts)
    scores = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(1))
    return Attributed(inputs, scores, scores, box.features, box(inputs))


def ranking(data, row):
    places = [i for i in range(data.inputs.shape[1]) if data.features.valid(data.inputs)[row, i]]
    return sorted(places, key=lambda i: -float(data.scores[row, i]))


def only(inputs, row, kept):
    ids = inputs[row].clone()
    for i in range(len(ids)):
        if ids[i] > 4 or ids[i] == 1:
            ids[i] = ids[i] if i in kept else 4
    return ids[None]


def test_insertion_is_f1_of_the_predictions():
    box, protocol = counting_box(), get_protocol("text-insertion")
    data = attributed(box, LONG)
    counts = protocol.evaluate(box, data)["agreement"]
    clean = data.clean.argmax(1).tolist()
    assert set(clean) == {0, 1}
    f1 = []
    for count in protocol.counts:
        found = [int(box(only(data.inputs, r, ranking(data, r)[:count])).argmax()) for r in range(len(LONG))]
        each = []
        for c in (0, 1):
            hits = sum(a == b == c for a, b in zip(found, clean, strict=True))
            each.append(2 * hits / (found.count(c) + clean.count(c)))
        f1.append(sum(each) / 2)
    assert f1[-1] == 1
    assert f1[0] < 1
    expected = sum(f1) / len(f1)
    assert mean_macro_f1(counts.mean(0), 20) == pytest.approx(expected)


def test_faithfulness_is_the_mean_difference():
    box, protocol = counting_box(), get_protocol("faithfulness")
    data = attributed(box)
    found = protocol.evaluate(box, data)
    for row in range(4):
        order = ranking(data, row)
        clean = box(data.inputs[row : row + 1])[0]
        y = int(clean.argmax())
        for step, share in enumerate(protocol.shares):
            top = order[: max(1, math.ceil(round(share * len(order), 9)))]
            rest = [i for i in order if i not in top]
            comprehensiveness = clean[y] - box(only(data.inputs, row, rest))[0, y]
            sufficiency = clean[y] - box(only(data.inputs, row, top))[0, y]
            assert found["comprehensiveness"][row, step] == pytest.approx(float(comprehensiveness), abs=1e-6)
            assert found["sufficiency"][row, step] == pytest.approx(float(sufficiency), abs=1e-6)


def test_rationales_are_compared_word_by_word():
    ranks = torch.tensor([[4, 1, 2, 0, 3]])
    words = torch.tensor([[0, 1, 1, 2, -1]])  # word 2 first, then 1, then 0
    marked = torch.tensor([[False, True, True, False, False]])
    counts = rationale_counts(ranks, words, marked, (1, 2, 5))
    assert counts.view(3, 3).tolist() == [[0, 1, 1], [1, 2, 1], [1, 3, 1]]
    assert mean_set_f1(counts[0], 3) == pytest.approx((0 + 2 / 3 + 2 / 4) / 3)
    assert rationale_counts(ranks, words, ~marked & False, (1,)).isnan().all()


def test_ranks_do_not_depend_on_padding_and_break_ties_at_random():
    scores, valid = torch.zeros(1, 8), torch.tensor([[False, True, True, True, True, True, True, False]])
    short = rank_features(scores, [3], valid)
    wide = torch.nn.functional.pad(scores, (0, 5)), torch.nn.functional.pad(valid, (0, 5))
    assert rank_features(wide[0], [3], wide[1])[0, :8].equal(short[0])
    assert sorted(short[0, 1:7].tolist()) == list(range(6))
    assert short[0, 1:7].tolist() != list(range(6))
    assert top_masks(short, (0, 2)).sum(2).tolist() == [[0, 2]]
    assert share_masks(short, torch.tensor([6]), (0.01, 0.5, 1.0)).sum(2).tolist() == [[1, 3, 6]]


def test_protocols_name_what_they_miss():
    box = WordBox()
    with pytest.raises(ValueError, match="compares words with human rationales"):
        get_protocol("eraser").evaluate(box, attributed(box))
    # Before anything is explained, too.
    with pytest.raises(ValueError, match="compares words with human rationales; the data has no masks"):
        get_protocol("eraser").check_data({"inputs"})
    with pytest.raises(ValueError, match="is one of images: use text-insertion"):
        get_protocol("fex").evaluate(box, attributed(box))


def batches(box, texts):
    return [
        {"inputs": box.tokenize(texts[i : i + 4]), "index": torch.arange(i, i + 4)} for i in range(0, len(texts), 4)
    ]


def test_explainers_that_ask_beat_random():
    box = WordBox()
    texts = [text for text in sentences(32) if "gem" in text]
    protocols = ["text-insertion", "faithfulness"]
    run = [
        evaluate_explainer(method, batches(box, texts), box, box.features, protocols, resamples=200)
        for method in (Occlusion(box, box.features), RISE(box, box.features, num_masks=50), Random(box.features))
    ]
    for found in run[:2]:
        assert compare(found, run[2], "faithfulness", "comprehensiveness", resamples=200).low > 0
        assert compare(found, run[2], "text-insertion", "f1", resamples=200).value > 0
    best = {row["metric"]: row for row in run[0].rows}
    assert best["f1"]["value"] == 1
    assert best["f1"]["unit"] == "tokens"
    assert best["comprehensiveness"]["removal"] == "mask token"


@pytest.fixture(scope="module")
def white(tmp_path_factory):
    return TextBlackBox(text_folder(tmp_path_factory.mktemp("net")))


MAKE = {
    "random": lambda b: Random(b.features),
    "rise": lambda b: RISE(b, b.features, num_masks=10),
    "leave_one_out": lambda b: Occlusion(b, b.features),
    "lime": lambda b: LIME(b, b.features, num_masks=12),
    "kernel_shap": lambda b: KernelSHAP(b, b.features, num_masks=12),
    "kernel_shap_prior": lambda b: KernelSHAP(b, b.features, num_masks=12, ridge=1.0, prior=Occlusion(b, b.features)),
    "att_lrp": lambda b: AttLRP(b, b.features),
    "gradcam": lambda b: TokenGradCAM(b, b.features),
    "rollout": lambda b: AttentionRollout(b, b.features),
}


@pytest.mark.parametrize("name", MAKE)
def test_baselines_keep_the_contract(white, name):
    method, inputs = MAKE[name](white), white.tokenize(SENTENCES)
    scores = method.attribute(inputs, torch.tensor([0, 1, 0, 1]))
    valid = white.features.valid(inputs)
    assert (scores.shape, scores.dtype) == (inputs.shape, torch.float32)
    assert not scores[~valid].any()
    assert scores[valid].std() > 0
    wide = torch.nn.functional.pad(inputs, (0, 6))
    torch.testing.assert_close(method.attribute(wide, torch.tensor([0, 1, 0, 1]))[:, :-6], scores, atol=1e-4, rtol=1e-3)
    alone = torch.cat([method.attribute(white.tokenize([text]), i % 2)[0] for i, text in enumerate(SENTENCES)])
    torch.testing.assert_close(scores[inputs != 0], alone, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(method.attribute(inputs), method.attribute(inputs, white(inputs).argmax(1)))
    assert white.module.config._attn_implementation == "sdpa"
    assert all(parameter.grad is None for parameter in white.module.parameters())


def test_rollout_is_the_product_of_attentions(white):
    ids = white.tokenize(["a gem"])
    net = white.module
    net.set_attn_implementation("eager")
    attentions = net(input_ids=ids, output_attentions=True).attentions
    net.set_attn_implementation("sdpa")
    first, second = ((a.mean(1)[0] + torch.eye(4)) / 2 for a in attentions)
    expected = torch.einsum("i,ij,jk->k", torch.eye(4)[0], second, first) * torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(AttentionRollout(white, white.features).attribute(ids)[0], expected.detach())


def test_gradcam_is_the_gradient_of_a_small_step(white):
    """Along a common shift of all tokens' states, the logit moves by the summed weights."""
    ids = white.tokenize(["the film is a gem"])
    states = white.outputs(ids, output_hidden_states=True).hidden_states[0].detach()
    found = TokenGradCAM(white, white.features, layer=0).attribute(ids, 1)[0]
    assert found.max() > 0
    gradient = torch.autograd.functional.jacobian(lambda e: _from_states(white, ids, e), states)[0]
    weights = gradient[0, 1:-1].mean(0)
    torch.testing.assert_close(found[1:-1], (states[0, 1:-1] @ weights).clamp_min(0), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("layer", [-1, 2, 3, -4])
def test_gradcam_refuses_layers_that_say_nothing(white, layer):
    """Two layers have three hidden states; of the last only the first token, no feature, has a gradient."""
    with pytest.raises(ValueError, match=rf"Got layer {layer}, expected 0 ... 1, or -2 and less"):
        TokenGradCAM(white, white.features, layer=layer).attribute(white.tokenize(["a gem"]), 1)


def _from_states(box, ids, states):
    net = box.module.bert
    out = net.encoder(states).last_hidden_state
    return box.module.classifier(net.pooler(out))[:, 1]


def test_kernel_shap_is_exact_on_short_texts():
    """The one word that the box looks for has all of the difference, the others nothing; of one token likewise."""
    box = WordBox()
    method = KernelSHAP(box, box.features, num_masks=40)
    found = method.attribute(box.tokenize(["a gem is the film", "gem"]), 1)
    expected = torch.zeros_like(found)
    expected[0, 2] = expected[1, 1] = 0.9
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_methods_of_images_refuse_texts(white):
    with pytest.raises(ValueError, match="GradCAM explains images, got tokens: RISE, Occlusion, LIME"):
        GradCAM(white, white.features)
    for method in (Saliency, SmoothRISE):
        with pytest.raises(ValueError, match=f"{method.__name__} explains the pixels of images, black box"):
            method(white)
    with pytest.raises(ValueError, match="'saco' is one of images: use text-insertion"):
        get_protocol("saco").evaluate(white, attributed(white))


def test_queried_boxes_have_no_gradients():
    with pytest.raises(TypeError, match="can only be queried"):
        TokenGradCAM(WordBox(), WordBox().features)


def test_curves_are_drawn(tmp_path):
    from fex.report.curves import draw_curves

    box = WordBox()
    found = evaluate_explainer(
        Occlusion(box, box.features), batches(box, SENTENCES), box, box.features, ["text-insertion"], resamples=10
    )
    (curve,) = found.scores["text-insertion"].curves().values()
    assert curve.x == list(range(1, 21))
    assert sum(curve.y) / 20 == pytest.approx(found.rows[0]["value"])
    (path,) = draw_curves({"A": found.scores, "B": found.scores}, tmp_path)
    assert path.name == "text-insertion_f1.png"
    assert path.stat().st_size > 5000


def test_any_explainer_explains_a_text():
    box = WordBox()
    found = explain(["the gem", "a mess"], Occlusion(box, box.features), top_k=2)
    assert [e.target_name for e in found] == ["yes", "no", "no", "yes"]
    assert found[0].top(1)[0].word == "gem"
    assert (found[0].removal, found[0].queries) == ("mask token", 4)  # the class, the clean text, two tokens
    assert found[0].probability == pytest.approx(0.95)
    with pytest.raises(ValueError, match="has no tokens to explain"):
        explain(" ", Random(box.features), black_box=box)
