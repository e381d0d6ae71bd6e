"""A CLIP as a classifier: a prompt for each class."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

import fex
from datamodules import Folder
from fex.black_box import ZeroShotBlackBox
from fex.images import PatchGrid
from fex.nets import ExplainerNet, PyramidEncoder
from fex.policy import Antithetic, CompatibleControl, Retained, TwoSidedBudget
from lightning_modules import FEXModule


def make_photographs(folder: str, count: int = 20, size: int = 72) -> None:
    """Made-up pictures: a bright square somewhere on noise. Use a folder of your own photographs instead."""
    Path(folder).mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    for index in range(count):
        pixels = draw.integers(0, 100, (size, size, 3), dtype=np.uint8)
        top, left = draw.integers(0, size - 24, 2)
        pixels[top : top + 24, left : left + 24] = 230
        Image.fromarray(pixels).save(f"{folder}/{index}.png")


def make_clip(folder: str) -> None:
    """A tiny untrained one. Use your own folder, or an id of the hub such as openai/clip-vit-base-patch32."""
    words = ["[PAD]", "[UNK]", "[END]", "a", "photo", "of", "bright", "dark", "square"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 2)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[END]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text = {**small, "vocab_size": 9, "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1}
    vision = {**small, "image_size": 64, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    size = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    CLIPImageProcessor(**size).save_pretrained(folder)


# 1 Your classifier.
make_clip("mine")

# 2 The black box: what fex may ask. The prompts are read once.
box = ZeroShotBlackBox(
    "mine", ["a photo of a bright square", "a photo of a dark square"], class_names=["bright", "dark"]
)
make_photographs("photographs")

# 3 The explainer. It asks the classifier about masked pictures and learns which patches count.
encoder = PyramidEncoder("resnet10t", levels=(-2, -1))  # pretrained=True starts from timm's weights
module = FEXModule(
    box,
    PatchGrid(4, 4),  # the picture is cut into 4 x 4 patches; 14 x 14 suits a ViT of 224 pixels, 7 x 7 a CNN
    ExplainerNet(encoder, value_degree=3),
    reward=Retained(),
    noise=Antithetic(),
    exploration=TwoSidedBudget(-3.0, 3.0),
    control=CompatibleControl(),
    num_masks=4,  # questions a picture and step
    entropy_weight=0.02,
    kl_weight=0.02,
    optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-3),
)
trainer = Trainer(max_steps=2, accelerator="cpu", logger=False, limit_val_batches=0, enable_progress_bar=False)
trainer.fit(module, datamodule=Folder("photographs", batch_size=4))  # some thousand steps for a real explainer
trainer.save_checkpoint("explainer.ckpt")

# 4 Explanations: one pass each. The classifier is not asked any more.
explainer = fex.load_explainer("explainer.ckpt")
explanations = explainer.explain(["photographs/0.png", "photographs/1.png"], top_k=2)
explanations.save("explained")  # explained/0.png ...
print(explanations[0].target_name, explanations[0].scores.shape, "questions in all:", box.queries)
