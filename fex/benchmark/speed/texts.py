"""What the figures of texts are measured on: a network of the size of MiniLM, sentences, batches and their padding."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from fex.benchmark.speed.images import Figure
from fex.black_box.text import TextBlackBox
from fex.explainers.meta import explainer_meta
from fex.explainers.texts import AmortizedTextExplainer
from fex.nets import ExplainerNet, TextEncoder
from fex.storage.resources import manifest
from fex.texts.backbone import load_tokenizer
from fex.texts.removal import MaskToken
from fex.texts.tokenizer import TextPreprocess
from fex.types import Batch

__all__ = ["made_up_sentences", "make_text_explainer", "padding_waste", "text_tokenizer", "text_weights_or_random"]

WORDS = (
    "film", "movie", "story", "actor", "scene", "plot", "music", "good", "bad", "great", "funny", "long", "short",
    "old", "new", "young", "man", "woman", "world", "time", "life", "love", "war", "night", "day", "end", "way",
    "thing", "character", "director", "the", "a", "of", "and", "is", "so", "very", "not",
)  # fmt: skip
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MINILM = {  # of all-MiniLM-L6-v2
    "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512,
}  # fmt: skip
SST2_MEAN, SST2_MOST = 9.4, 52  # words of the training phrases


def made_up_sentences(count: int, *, words: int | None = None, seed: int = 0) -> list[str]:
    """Random words; as many as SST-2's training phrases have (a geometric distribution is close), or `words` each."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.empty(count).geometric_(1 / SST2_MEAN, generator=generator).clamp_max(SST2_MOST).int().tolist()
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (words or length,), generator=generator).tolist())
        for length in lengths
    ]


def _installed() -> bool:
    """Whether the package is there that MiniLM comes with."""
    return importlib.util.find_spec(manifest()["minilm"]["package"]) is not None


def text_tokenizer(folder: Path) -> TextPreprocess:
    """MiniLM's tokenizer or, where its package is not installed, one whose tokens are words."""
    return load_tokenizer("minilm" if _installed() else str(_save_tokenizer(folder)))


def text_weights_or_random(name: str, folder: Path) -> str:
    """The shipped text classifier by name, or a folder with random weights of its architecture: as fast, not wise."""
    if name in manifest() and _installed():
        return name
    from transformers import BertConfig, BertForSequenceClassification

    path = folder / name
    if not path.exists():
        _save_tokenizer(path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            BertForSequenceClassification(BertConfig(num_labels=2, **MINILM)).save_pretrained(path)
    return str(path)


def _save_tokenizer(folder: Path) -> Path:
    """Writes a tokenizer of `WORDS` with BERT's special tokens and as many ids as MiniLM has."""
    from transformers import PreTrainedTokenizerFast

    fill = (f"[unused{number}]" for number in range(MINILM["vocab_size"] - len(SPECIAL) - len(WORDS)))
    ids = {word: number for number, word in enumerate((*SPECIAL, *WORDS, *fill))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    longest = MINILM["max_position_embeddings"]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **names).save_pretrained(folder)
    return folder


def make_text_explainer(encoder: TextEncoder, black_box: TextBlackBox) -> AmortizedTextExplainer:
    """An untrained explainer of `black_box`."""
    net = ExplainerNet(encoder).build(black_box.num_classes, black_box.features)
    return AmortizedTextExplainer(net, explainer_meta(net, black_box, MaskToken()))


def padding_waste(batches: Iterable[Batch], pad: int, *, target: float = 10.0) -> Figure:
    """Share of the tokens of the batches that are padding: a count, not a time.

    Beside it, the share if each row were padded to the longest of all, as a fixed length would be.

    Args:
        batches: of a text datamodule.
        pad: id of the padding.
        target: bound of the share, in percent.

    Raises:
        ValueError: no batches.
    """
    tokens = places = rows = longest = count = 0
    for batch in batches:
        inputs = batch["inputs"]
        tokens += int((inputs != pad).sum())
        places += inputs.numel()
        rows, longest, count = rows + len(inputs), max(longest, inputs.shape[1]), count + 1
    if not count:
        raise ValueError("Got no batches: give training texts, at least one.")
    fixed = 100 * (1 - tokens / (rows * longest))
    return Figure(
        "padding_waste",
        100 * (1 - tokens / places),
        target,
        unit="%",
        parts={"tokens": tokens, "padding": places - tokens, "percent_at_one_length": fixed},
        shapes={"batches": count, "texts": rows, "longest": longest},
    )  # fmt: skip
