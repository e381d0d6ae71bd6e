"""Tiny tokenizers, encoders and boxes for texts, with known answers; nothing is fetched."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from fex.black_box import TextInputs
from fex.nets import TextEncoder
from fex.texts import TextPreprocess

__all__ = ["SENTENCES", "WORDS", "LookUpBox", "WordBox", "preprocess", "sentences", "small_encoder", "text_folder"]

WORDS = ["film", "plot", "actor", "scene", "gem", "mess", "the", "a", "is", "was", "and", "very", "so", "dull", "odd"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SENTENCES = ["the film is a gem", "a mess", "so very odd and dull", "the plot was the gem and the actor a mess"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@cache
def _tokenizer() -> Tokenizer:
    pieces = [*SPECIAL, *WORDS, "##s", "##ing", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "aeinort"), *".,!?'"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def preprocess(max_length: int = 32) -> TextPreprocess:
    """[PAD] is 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, the words follow."""
    return TextPreprocess(
        _tokenizer().to_str(), max_length=max_length, pad=0, mask=4, special=[0, 2, 3, 4], pair_types=True
    )


def text_folder(path: Path, *, num_classes: int = 2, problem: str | None = None) -> str:
    """A folder as `save_pretrained` writes it, of an untrained classifier."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=_tokenizer().get_vocab_size(), max_position_embeddings=64, num_labels=num_classes,
        problem_type=problem, initializer_range=0.5, **SMALL,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(path)
    return str(path)


def small_encoder() -> TextEncoder:
    """Untrained, for the tokens of `preprocess`."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=_tokenizer().get_vocab_size(), max_position_embeddings=64, **SMALL)
    return TextEncoder(config=config.to_dict() | {"model_type": "bert"}, separator=3)


def sentences(count: int, seed: int = 0) -> list[str]:
    """Three to nine words each; in every second one "gem" once, at any place."""
    generator = torch.Generator().manual_seed(seed)
    others = [word for word in WORDS if word != "gem"]
    found = []
    for number in range(count):
        size = int(torch.randint(3, 10, (1,), generator=generator))
        words = [others[i] for i in torch.randint(len(others), (size,), generator=generator).tolist()]
        if number % 2 == 0:
            words[int(torch.randint(size, (1,), generator=generator))] = "gem"
        found.append(" ".join(words))
    return found


class LookUpBox(TextInputs):
    """Class 1 has the probability that a function of the ids (R, L) says."""

    def __init__(self, function: Callable[[Tensor], Tensor], **options: object) -> None:
        super().__init__(class_names=["no", "yes"], preprocess=preprocess(), name="toy", **options)  # type: ignore[arg-type]
        self.function = function
        self.seen: list[tuple[int, int]] = []

    def _score(self, inputs: Tensor) -> Tensor:
        self.seen.append((inputs.shape[0], inputs.shape[1]))
        one = self.function(inputs)
        return torch.stack([1 - one, one], 1)


class WordBox(LookUpBox):
    """Looks for one word: class 1 has probability 0.95 with it, 0.05 without."""

    def __init__(self, word: str = "gem", **options: object) -> None:
        number = len(SPECIAL) + WORDS.index(word)
        super().__init__(lambda ids: torch.where((ids == number).any(1), 0.95, 0.05), **options)
