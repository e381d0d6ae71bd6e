"""A text classifier of transformers: which words count? Words are the features, and a removed one becomes [MASK]."""

from pathlib import Path

import torch
from lightning.pytorch import Trainer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import fex
from datamodules import Texts
from fex.black_box import TextBlackBox
from fex.nets import ExplainerNet, TextEncoder
from fex.policy import Antithetic, CompatibleControl, Retained, TwoSidedBudget
from fex.texts import MaskToken
from lightning_modules import FEXModule


def make_classifier(folder: str) -> None:
    """A tiny untrained one with a vocabulary of twelve. Use your own folder, or an id of the hub."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["a", "the", "film", "plot", "is", "funny", "dull"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(special + words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)


# 1 Your classifier and your texts: a .csv with a column of texts.
make_classifier("mine")
rows = ["the film is funny,positive", "a dull plot,negative", "the plot is dull,negative", "a funny film,positive"]
Path("reviews.csv").write_text("\n".join(["review,label", *rows * 5]))

# 2 The black box: what fex may ask.
box = TextBlackBox("mine")

# 3 The explainer. It reads the text with the same tokenizer.
module = FEXModule(
    box,
    None,  # the features are the tokens
    ExplainerNet(TextEncoder("mine"), value_degree=3),
    removal=MaskToken(),
    reward=Retained(),
    noise=Antithetic(),
    exploration=TwoSidedBudget(-3.0, 3.0),
    control=CompatibleControl(),
    num_masks=4,
    entropy_weight=0.05,
    kl_weight=0.02,
    optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-3),
)
data = Texts(train="reviews.csv", text_column="review", label_column="label", batch_size=4)
trainer = Trainer(max_steps=2, accelerator="cpu", logger=False, limit_val_batches=0, enable_progress_bar=False)
trainer.fit(module, datamodule=data)  # some thousand steps for a real explainer
trainer.save_checkpoint("explainer.ckpt")

# 4 Explanations: coloured words. The classifier is not asked any more.
explainer = fex.load_explainer("explainer.ckpt")
explanations = explainer.explain(["the film is funny", "a dull film"])
explanations.save("explained", ".html")
for word in explanations[0].word_scores():
    print(f"{word.score:.3f}  {word.word}")
