"""Text networks of many kinds, tiny and untrained, as folders with a tokenizer; nothing is fetched."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from tests.texts.tiny import SPECIAL, WORDS

__all__ = ["DECODERS", "KINDS", "architecture_folder", "tokenizer_of"]

USUAL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
BART = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "forced_eos_token_id": None,
}  # fmt: skip
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2}
XLM = {"emb_dim": 16, "n_layers": 2, "n_heads": 2}
SMALL = {**USUAL, "embedding_size": 16}

# What each takes beside the usual sizes, and how its tokenizer puts special tokens around a text.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "albert": ("cls", SMALL),
    "bart": ("cls", BART),
    "bert": ("cls", USUAL),
    "big_bird": ("cls", {**USUAL, "block_size": 2, "num_random_blocks": 1, "max_position_embeddings": 64}),
    "bloom": ("none", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "camembert": ("cls", USUAL),
    "convbert": ("cls", {**SMALL, "head_ratio": 1, "conv_kernel_size": 3}),
    "data2vec-text": ("cls", USUAL),
    "deberta": ("cls", USUAL),
    "deberta-v2": ("cls", {**USUAL, "relative_attention": True, "pos_att_type": "p2c|c2p"}),
    "distilbert": ("cls", {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}),
    "electra": ("cls", SMALL),
    "ernie": ("cls", USUAL),
    "esm": ("cls", {**USUAL, "mask_token_id": 4}),
    "falcon": ("none", USUAL),
    "flaubert": ("cls", XLM),
    "fnet": ("cls", USUAL),
    "funnel": ("cls", {"block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32}),
    "gemma": ("bos", {**USUAL, "head_dim": 8, "num_key_value_heads": 2}),
    "gpt2": ("none", GPT),
    "gpt_neo": (
        "none",
        {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    ),
    "gpt_neox": ("none", USUAL),
    "ibert": ("cls", USUAL),
    "llama": ("bos", USUAL),
    "longformer": ("cls", {**USUAL, "attention_window": 4}),
    "mbart": ("cls", BART),
    "megatron-bert": ("cls", USUAL),
    "mistral": ("bos", {**USUAL, "num_key_value_heads": 2}),
    "mobilebert": ("cls", {**SMALL, "intra_bottleneck_size": 16, "true_hidden_size": 16}),
    "modernbert": ("cls", USUAL),
    "mpnet": ("cls", USUAL),
    "mt5": ("eos", T5),
    "nystromformer": ("cls", {**USUAL, "num_landmarks": 4, "segment_means_seq_len": 4}),
    "openai-gpt": ("none", GPT),
    "opt": ("bos", {**USUAL, "ffn_dim": 32, "word_embed_proj_dim": 8}),
    "phi": ("none", USUAL),
    "qwen2": ("bytes", {**USUAL, "num_key_value_heads": 2}),
    "rembert": ("cls", {**USUAL, "input_embedding_size": 16, "output_embedding_size": 16}),
    "roberta": ("cls", USUAL),
    "roformer": ("cls", SMALL),
    "squeezebert": ("cls", {**SMALL, **{f"{part}_groups": 1 for part in ("q", "k", "v", "intermediate", "output")}}),
    "t5": ("eos", T5),
    "umt5": ("eos", T5),
    "xlm": ("cls", XLM),
    "xlm-roberta": ("cls", USUAL),
    "xlnet": ("xlnet", {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}),
    "yoso": ("cls", USUAL),
}
DECODERS = (
    "bloom", "falcon", "gemma", "gpt2", "gpt_neo", "gpt_neox", "llama", "mistral", "openai-gpt", "opt", "phi", "qwen2",
)  # fmt: skip
AROUND = {
    "cls": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "bos": ("[CLS] $A", "[CLS] $A $B"),
    "eos": ("$A [SEP]", "$A [SEP] $B [SEP]"),
    "xlnet": ("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"),
}


def tokenizer_of(around: str = "cls", pad: str | None = "[PAD]", **options: Any) -> PreTrainedTokenizerFast:
    """[PAD] is 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, the words follow."""
    vocabulary = {piece: i for i, piece in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if around == "bytes":
        letters = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
        tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif around != "none":
        single, pair = AROUND[around]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", **options,
    )  # fmt: skip


def architecture_folder(
    path: Path, kind: str, *, pad: str | None = None, seed: int = 0, dtype: torch.dtype | None = None, **options: Any
) -> str:
    """A folder as `save_pretrained` writes it, of an untrained classifier; decoders have no padding token.

    Args:
        path: of the folder.
        kind: of `KINDS`.
        pad: the tokenizer's padding token; by default none for decoders, "[PAD]" for others.
        seed: of the weights.
        dtype: of the file.
        **options: of the config.
    """
    around, sizes = KINDS[kind]
    decoder = kind in DECODERS
    tokenizer = tokenizer_of(around, pad or (None if decoder else "[PAD]"))
    tokenizer.save_pretrained(path)
    config: Any = AutoConfig.for_model(
        kind,
        **{
            "vocab_size": len(tokenizer) + 4, "num_labels": 3, "pad_token_id": None if decoder else 0,
            "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3, **sizes, **options,
        },
    )  # fmt: skip
    torch.manual_seed(seed)
    net = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():  # weights as large as trained ones: what is read wrongly is to be seen
        for name, parameter in net.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(0.1 if kind == "mobilebert" else 0.4) if "embed" not in name else 1.0)
    net.to(dtype).save_pretrained(path)
    return str(path)
