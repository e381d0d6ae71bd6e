"""Segment-anything from a local folder, by the real pipeline; an untrained network of a few thousand weights."""

from functools import partialmethod

import pytest
import torch
import transformers
from torchvision.transforms.functional import to_pil_image

from fex.black_box import CallableBlackBox
from fex.dax import DAX, SAM, FitSettings
from fex.images import Black, Preprocess

SIDE = 64


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    """The pipeline asks at 8 x 8 points, not at 32 x 32: the three masks of each are post-processed one by one."""
    pipeline = transformers.MaskGenerationPipeline
    monkeypatch.setattr(pipeline, "preprocess", partialmethod(pipeline.preprocess, points_per_crop=8))


def save_small_sam(folder):
    from transformers import (
        SamConfig,
        SamImageProcessor,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE,
        patch_size=16, mlp_dim=16, window_size=2, num_pos_feats=8, global_attn_indexes=[0],
    )  # fmt: skip
    prompts = SamPromptEncoderConfig(hidden_size=16, image_size=SIDE, patch_size=16, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_depth=2, iou_head_hidden_dim=16
    )
    SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    ).save_pretrained(folder)
    edge, pad = {"longest_edge": SIDE}, {"height": SIDE, "width": SIDE}
    images = SamImageProcessor(size=edge, pad_size=pad, mask_size=edge, mask_pad_size=pad)
    SamProcessor(images).save_pretrained(folder)


def test_a_model_in_a_folder_cuts_a_picture_into_segments(tmp_path):
    torch.manual_seed(0)
    save_small_sam(tmp_path)
    picture = torch.rand(3, 48, SIDE)
    # It is sure of nothing, so nothing it says is left out.
    all_of_them = {"points_per_batch": 256, "pred_iou_thresh": -10.0}
    sam = SAM(str(tmp_path), **all_of_them, stability_thresh=-1.0)
    segments = sam(picture)
    assert segments.labels.shape == (48, SIDE)
    found = sam.pipeline(to_pil_image(picture), **all_of_them, stability_score_thresh=-1.0)["masks"]
    (mask,) = [torch.as_tensor(each).bool() for each in found if 0 < int(each.sum()) < each.numel()]
    assert segments.num_features == 2
    assert torch.equal(segments.labels == segments.labels[mask][0], mask)
    # By default it finds nothing that it is sure of: one segment, the whole picture.
    assert SAM(str(tmp_path), points_per_batch=256)(picture).num_features == 1


def test_dax_on_its_segments(tmp_path):
    """V3: the counterfactual loss on what segment-anything cuts out."""
    torch.manual_seed(0)
    save_small_sam(tmp_path)
    sam = SAM(str(tmp_path), points_per_batch=256, pred_iou_thresh=-10.0, stability_thresh=-1.0)
    picture = torch.rand(1, 3, SIDE, SIDE)
    labels = sam(picture[0]).labels
    first = labels == labels[0, 0]

    def sees(x):
        there = (x > 0).any(1)
        kept = (there & first).sum((1, 2)) / first.sum()
        return torch.stack([0.1 + 0.8 * kept, 0.9 - 0.8 * kept], 1)

    box = CallableBlackBox(sees, num_classes=2, preprocess=Preprocess(SIDE, SIDE))
    fit = FitSettings(mask_kernel=3, mask_width=4, student_width=2, hidden=8, max_epochs=4)
    result = DAX(box, Black(), sam, num_samples=60, resolution=16, fit=fit).explain_instances(picture, 0)[0]
    assert (result.segments, result.queries, box.queries) == (2, 60, 60)
    assert result.attribution.shape == (SIDE, SIDE)
    inside = float(result.attribution[first].mean())
    assert inside > float(result.attribution[~first].mean())
