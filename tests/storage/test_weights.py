"""Weights in files: damage is seen, and a file that is only to give weights chooses nothing else."""

import contextlib
import json
import time

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import fex.nets.backbones  # noqa: F401 registers conv_vit_tiny
from fex import load_black_box
from fex.black_box import TimmBlackBox
from fex.explainers import load_explainer
from fex.storage.description import check_description
from fex.storage.weights import load_weights, save_black_box, save_weights
from tests.explainers.tiny import write_checkpoint

SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2, "img_size": 16, "num_classes": 3}
META = {
    "model": "conv_vit_tiny", "model_args": SMALL, "class_names": ["a", "b", "c"], "mean": [0.5] * 3, "std": [0.3] * 3,
    "preprocess": {"height": 16, "width": 16},
}  # fmt: skip
TOKENS = {"max_length": 5, "pad": 0, "mask": 1, "special": []}


def written(path, **changes):
    save_black_box(path, timm.create_model("conv_vit_tiny", **SMALL), {**META, **changes})
    return path


def test_a_flipped_bit_anywhere_is_told(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, {"a": torch.rand(5), "b": torch.arange(3), "c": torch.tensor([True])}, {"kind": "black_box"})
    whole = path.read_bytes()
    tensors, meta = load_weights(path)
    for place in range(len(whole)):
        for bit in (place % 8, (place + 3) % 8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with contextlib.suppress(ValueError):
                found, description = load_weights(path)
                # Where nothing is told, it was a bit of padding.
                assert description == meta
                assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_weights_of_ours_that_are_damaged_are_not_taken_for_those_of_others(tmp_path):
    path = written(tmp_path / "x.safetensors")
    whole = path.read_bytes()
    for old, new in ((b"fex/2", b"fdx/2"), (b'"digest"', b'"dihest"'), (b'"meta"', b'"mela"')):
        assert old in whole
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match="is damaged"):
            TimmBlackBox("conv_vit_tiny", weights=str(path), model_args=SMALL)


def test_a_flipped_bit_of_a_checkpoint_is_told(tmp_path):
    for path, read in (
        (write_checkpoint(tmp_path / "x.ckpt"), load_explainer),
        (tmp_path / "x.pth", lambda path: TimmBlackBox("conv_vit_tiny", weights=str(path), model_args=SMALL)),
    ):
        if path.suffix == ".pth":
            torch.save(timm.create_model("conv_vit_tiny", **SMALL).state_dict(), path)
        read(path)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1  # among the weights
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.(ckpt could not be read|pth, expected a state dict)"):
            read(path)


def test_a_file_without_a_digest_is_told(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"format": "fex/1", "meta": "{}"})
    with pytest.raises(ValueError, match="written by an earlier version of fex.*export it again"):
        load_weights(tmp_path / "x.safetensors")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = timm.create_model("conv_vit_tiny", **SMALL)
    net.head.bias.data[1] = torch.nan
    save_black_box(tmp_path / "x.safetensors", net, META)
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 tensors \(first: head\.bias\)"):
        load_black_box(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_args": {**SMALL, "depth": 1_000_000}}, "far larger than the weights"),
        ({"model_args": {**SMALL, "embed_dim": 2**22}}, "far larger than the weights"),
        ({"model_args": {**SMALL, "num_classes": 2**31}}, "far larger than the weights"),
        ({"model": "vit_gigantic_patch14_224", "model_args": {}}, "far larger than the weights"),
        ({"model": "hf-hub:somebody/net"}, "files or downloads"),
        ({"model": "local-dir:/etc"}, "files or downloads"),
        ({"model_args": {**SMALL, "checkpoint_path": "evil.pth"}}, "files or downloads"),
        ({"model_args": {**SMALL, "pretrained_cfg": {"url": "x"}}}, "files or downloads"),
        ({"model_args": [3]}, "not a mapping"),
        ({"preprocess": {"height": 10**9, "width": 16}}, "two sides"),
        ({"preprocess": {"height": "16", "width": 16}}, "two sides"),
        ({"preprocess": {"height": 16, "width": 16, "resize": 10**9}}, "resize has the size"),
        ({"preprocess": {"height": 16, "width": 16, "resize": [16, 10**9]}}, "resize has the size"),
        ({"preprocess": {"height": 16, "width": 16, "length": 3}}, "TypeError"),
        ({"class_names": "abc"}, "not a list of names"),
        ({"class_names": [1, 2, 3]}, "not a list of names"),
        ({"std": [0.0, 1.0, 1.0]}, "above 0"),
        ({"mean": [float("nan")] * 3}, "a number for each channel"),
    ],
)
def test_a_description_that_cannot_be_is_told_at_once(tmp_path, changes, reason):
    path, start = written(tmp_path / "x.safetensors", **changes), time.process_time()
    with pytest.raises(ValueError, match=f"The description in .*x.safetensors is damaged.*{reason}"):
        load_black_box(path)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "changes",
    [{"preprocess": {"height": 16, "width": 16, "resize": size}} for size in ([20, 18], 0, None)]
    + [{"mean": [0.5], "std": [0.25]}],
)
def test_sizes_and_colours_of_every_form_are_read(tmp_path, changes):
    assert load_weights(written(tmp_path / "x.safetensors", **changes))


def test_a_huge_rank_is_told_before_anything_is_built(tmp_path):
    path, start = write_checkpoint(tmp_path / "x.ckpt"), time.process_time()
    content = torch.load(path, weights_only=True)
    content["fex"]["net"]["encoder"]["init_args"]["lora_rank"] = 10**9
    torch.save(content, path)
    with pytest.raises(ValueError, match="lora_rank is 1,000,000,000, more than 65,536"):
        load_explainer(path)
    assert time.process_time() - start < 2


def test_settings_that_a_network_does_not_take_are_told_with_the_file(tmp_path):
    path = written(tmp_path / "x.safetensors", model_args={**SMALL, "depth": "1"})
    with pytest.raises(ValueError, match=r"x\.safetensors: timm's 'conv_vit_tiny' does not take these model_args"):
        load_black_box(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grid": [10**6, 10**6]}, "grid"),
        ({"grid": None}, "TypeError"),
        ({"method": ["FEX"]}, "method"),
        ({"net": {"encoder": {}}}, "KeyError"),
        ({"net": [1]}, "net"),
        (
            {"modality": "text", "preprocess": {"tokenizer": "{", "max_length": 5, "pad": 0, "mask": 1, "special": []}},
            "",
        ),
        ({"preprocess": None}, "preprocess"),
    ],
)
def test_explainers_too(tmp_path, changes, reason):
    with pytest.raises(ValueError, match=f"The description in .*x.ckpt is damaged.*{reason}"):
        load_explainer(write_checkpoint(tmp_path / "x.ckpt", **changes))


def test_deep_nesting_is_told(tmp_path):
    tensors, meta = {"a": torch.zeros(1)}, {"kind": "black_box", "model_args": json.loads("[" * 200 + "]" * 200)}
    save_weights(tmp_path / "x.safetensors", tensors, meta)
    with pytest.raises(ValueError, match="nested more than 32 times"):
        load_weights(tmp_path / "x.safetensors")


def test_weights_do_not_choose_what_is_fetched(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr("fex.texts.backbone._fetch", lambda *args, **_: fetched.append(args))
    meta = {"modality": "text", "base": "somebody/net", "lora_rank": 0, "class_names": ["a", "b"], "max_length": 8}
    save_weights(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"kind": "black_box", **meta})
    with pytest.raises(ValueError, match="stand on 'somebody/net', which is neither shipped nor a folder here"):
        load_black_box(tmp_path / "x.safetensors")
    assert not fetched


def test_the_files_of_others_are_still_read(tmp_path):
    net = timm.create_model("conv_vit_tiny", **SMALL)
    save_file(net.state_dict(), tmp_path / "x.safetensors", {"format": "pt"})
    assert TimmBlackBox("conv_vit_tiny", weights=str(tmp_path / "x.safetensors"), model_args=SMALL).num_classes == 3
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert "digest" not in file.metadata()


def test_a_manifest_names_nothing_that_is_imported_or_lies_elsewhere(tmp_path, monkeypatch):
    from fex.storage import resources

    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for package, file in (("evil.weights", "a"), ("evil", "../../a"), ("evil", "/etc/passwd")):
        entry = {"kind": "black_box", "package": package, "file": file, "sha256": "0"}
        monkeypatch.setattr(resources, "manifest", lambda entry=entry: {"x": entry})
        with pytest.raises(ValueError, match="no package and file inside"):
            resources.shipped_path("x")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("resize", [None, 0, 18, (18, 20), [18, 20]])
def test_a_geometry_of_one_side_or_both_is_sane(resize):
    meta = {"class_names": ["a"], "preprocess": {"height": 16, "width": 16, "resize": resize}}
    assert check_description(meta, "x") is meta
