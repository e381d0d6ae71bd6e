"""The tokenizer of a transformers model as a `TextPreprocess`: read, and checked against the network."""

import re
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

from tokenizers import Regex, Tokenizer, pre_tokenizers

from fex.texts.tokenizer import TextPreprocess

__all__ = ["fetch_tokenizer"]

# "No limit" is written as 1e30, and decoders name 131,072: methods that hold a mask a token would need 40 GB.
LONGEST = 8192


def fetch_tokenizer(
    model: str, *, revision: str | None = None, max_length: int | None = None, embeddings: int | None = None
) -> TextPreprocess:
    """The fast tokenizer of a model on the hub or in a local folder.

    Its own padding token serves as padding, unless texts can hold it: as the unknown token, as the end of each
    text, or because the network does not know it. Then it is an id beyond all others.

    Args:
        model: id or folder.
        revision: on the hub.
        max_length: most tokens; by default the tokenizer's own limit, at most 8192.
        embeddings: ids that the network knows.

    Raises:
        OSError: no such tokenizer.
        ValueError: it has no fast form, no vocabulary, or tokens that the network does not know.
    """
    slow = _fetch(model, revision)
    if not getattr(slow, "is_fast", False):
        raise ValueError(f"{model!r} has no fast tokenizer: its folder must hold a tokenizer.json.")
    written = slow.backend_tokenizer.to_str()  # before its first call, which changes its settings
    ids = set(slow.get_vocab().values())
    embeddings = embeddings or max(ids, default=0) + 1
    control = set(slow.all_special_ids)
    pieces = slow.convert_ids_to_tokens(sorted(ids - control))
    if not any(piece.strip("\u2581") for piece in pieces):
        raise ValueError(
            f"The tokenizer of {model!r} has {len(ids)} tokens, all of them special: its vocabulary is not there. "
            "The folder must hold the model's tokenizer.json."
        )
    in_all = set(slow("")["input_ids"]) | set(slow("", "")["input_ids"])
    unknown = sorted(i for i in (ids - control) | in_all if i >= embeddings)
    if unknown:
        raise ValueError(
            f"The tokenizer of {model!r} gives ids up to {unknown[-1]}, but the network has embeddings for "
            f"{embeddings}: it is not the model's own tokenizer. Give the folder the tokenizer.json it was trained "
            "with."
        )
    pad, mask = slow.pad_token_id, slow.mask_token_id
    if pad is None or pad == slow.unk_token_id or pad in in_all or pad >= embeddings:
        pad = max(*ids, embeddings - 1) + 1
    found = TextPreprocess(
        written,
        max_length=max_length or min(slow.model_max_length, LONGEST),
        pad=pad,
        mask=mask if mask is not None and mask < embeddings else None,
        # The unknown token stands for characters of the text: it is a feature, unless each text begins with it.
        special=sorted((control - {slow.unk_token_id}) | in_all),
    )
    found.tokenizer = _split_control_words(found, sorted(slow.all_special_tokens))
    found.forget()
    _check_letters(found, model, type(slow).__name__)
    return found


def _check_letters(preprocess: TextPreprocess, model: str, kind: str) -> None:
    """Whether a tokenizer reads letters: what it drops without an unknown token is never seen."""
    read = sum(preprocess(f"{letter} {letter.upper()}").has_tokens for letter in ascii_lowercase)
    if read < 4:  # those of DNA
        raise ValueError(
            f"The tokenizer of {model!r} makes tokens of {read} of 26 letters and drops the others: its vocabulary is "
            f"of another kind than {kind}. The folder must hold the model's own tokenizer.json."
        )


def _split_control_words(preprocess: TextPreprocess, control: Sequence[str]) -> str:
    """The tokenizer's JSON, changed where control words within a text would be read as special tokens.

    Unigram models of sentencepiece find "</s>" in a text, for it is in their vocabulary: such words are split after
    their first character.
    """

    def is_seen(word: str) -> bool:
        row = preprocess(f"a {word} a")
        return any(part >= 0 and i in preprocess.special for part, i in zip(row.parts, row.ids.tolist(), strict=True))

    seen = [word for word in control if len(word) > 1 and is_seen(word)]
    if not seen:
        return preprocess.tokenizer
    fast = Tokenizer.from_str(preprocess.tokenizer)
    pattern = "|".join(f"{re.escape(word[0])}(?={re.escape(word[1:])})" for word in seen)
    split = pre_tokenizers.Split(Regex(pattern), "merged_with_previous")
    own = [] if fast.pre_tokenizer is None else [fast.pre_tokenizer]
    fast.pre_tokenizer = pre_tokenizers.Sequence([split, *own])
    return fast.to_str()


def _fetch(model: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer  # here: the import takes seconds

    try:
        return AutoTokenizer.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    except OSError as error:
        raise OSError(
            f"Could not get a tokenizer for {model!r} ({error}). Without a network, give a local folder with "
            "tokenizer.json."
        ) from error
    except Exception as error:  # the tokenizers library raises no narrower class
        raise ValueError(
            f"{model!r} has no tokenizer that can be read ({str(error).strip().splitlines()[:1]}): its folder must "
            "hold the model's tokenizer.json."
        ) from error
