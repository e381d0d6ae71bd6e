"""Segment-anything from a local folder, by the real pipeline; an untrained network of a few thousand weights."""

import torch

from fex.dax import SAM

SIDE = 64


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
    segments = SAM(str(tmp_path), points_per_batch=256)(torch.rand(3, 48, SIDE))
    assert segments.labels.shape == (48, SIDE)
    assert segments.num_features >= 1  # one if the model finds nothing that it is sure of
