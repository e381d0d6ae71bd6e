"""bf16 where it is asked for or fast; float32 answers, and a warning where it orders the features otherwise."""

import pytest
import torch

from fex.explainers import precision, trained
from fex.explainers.precision import chosen_precision
from tests.explainers.tiny import tiny_explainer

CPU = torch.device("cpu")


def test_bf16_is_close_and_float32_comes_back():
    inputs = torch.rand(3, 3, 16, 16)
    explainer = tiny_explainer()
    exact, _, rates = explainer.explain_batch(inputs, 1)
    seen = []
    explainer.net.encoder.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    found, _, estimate = explainer.to(precision="bf16").explain_batch(inputs, 1)
    assert found.dtype == estimate.dtype == torch.float32
    assert seen == [True, False]  # the second pass is that of the comparison
    assert explainer.order_kept > 0.9
    torch.testing.assert_close(found, exact, rtol=0, atol=0.05)
    explainer.explain_batch(inputs, 1)
    assert seen == [True, False, True]
    again, _, same = explainer.to(precision="fp32").explain_batch(inputs, 1)
    assert torch.equal(again, exact)
    assert torch.equal(same, rates)


def test_maps_in_another_order_are_told(caplog, monkeypatch):
    explainer = tiny_explainer().to(precision="bf16")
    monkeypatch.setattr(trained, "same_order", lambda maps, exact: precision.same_order(1 - maps, exact))
    explainer.attribute(torch.rand(2, 3, 16, 16), 1)
    assert explainer.order_kept < 0
    assert "orders the features of the first inputs otherwise" in caplog.text


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_asks_the_processor(monkeypatch, fast, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast, raising=False)
    assert chosen_precision("auto", CPU) == expected
    assert chosen_precision("bf16", CPU) == "bf16"
    assert tiny_explainer().to(precision="auto").precision == expected


def test_processors_without_the_instructions_say_fp32():
    with open("/proc/cpuinfo") as file:
        flags = file.read()
    if "avx512_bf16" not in flags and "amx_tile" not in flags:
        assert chosen_precision("auto", CPU) == "fp32"
    assert chosen_precision("auto", torch.device("mps")) == "fp32"
    with pytest.raises(ValueError, match="Got precision 'fp8', expected one of auto, bf16, fp32"):
        chosen_precision("fp8", CPU)
