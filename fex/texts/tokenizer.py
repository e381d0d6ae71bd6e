"""From a text to the token ids the black box expects, and back to characters; plain data, so checkpoints carry it."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from fex.texts.features import Tokens
from fex.texts.tokenized import Text, TokenizedText, encodable, tokenized

__all__ = ["Text", "TextPreprocess", "TokenizedText"]

USUAL_LENGTH = 512  # where a model does not tell its own
CACHED = ("_fast", "_whole", "_size", "separator")  # made again where a copy needs it


class TextPreprocess:
    """A fast tokenizer with fixed ids, as the black box uses it.

    Words are the tokenizer's own (its pre-tokenizer splits the text), or the given ones where a text is a list. Control
    words such as "[SEP]" within a text are ordinary characters, never special tokens.

    Args:
        tokenizer: JSON of a `tokenizers.Tokenizer` (the tokenizer.json of a model).
        max_length: most tokens of a text, special ones included; what goes beyond is cut off, and counted.
        pad: id of the padding, which no token of a text has; it may be one that the tokenizer does not know.
        mask: id of the mask token; None where there is none.
        special: ids that are no features.
        pair_types: whether the second text of a pair has token type 1.
    """

    def __init__(
        self,
        tokenizer: str,
        *,
        max_length: int,
        pad: int,
        mask: int | None,
        special: Sequence[int],
        pair_types: bool = False,
    ) -> None:
        self.tokenizer, self.max_length, self.pad, self.mask = tokenizer, max_length, pad, mask
        self.special, self.pair_types = tuple(sorted({*special, pad})), pair_types
        if max_length <= self._fast.num_special_tokens_to_add(is_pair=True):
            raise ValueError(f"max_length must leave room for tokens beside the special ones, got {max_length}.")

    def limit(self, longest: int | None) -> None:
        """Shortens texts to the positions that a network has; to the usual length where neither names any."""
        self.max_length = min(self.max_length, longest or USUAL_LENGTH)
        self.forget()

    def forget(self) -> None:
        """Has what was made of the tokenizer made again, after a change."""
        for name in CACHED:
            self.__dict__.pop(name, None)

    @cached_property
    def _fast(self) -> Tokenizer:
        """Cuts off what is too long."""
        return self._built(self.max_length)

    @cached_property
    def _whole(self) -> Tokenizer:
        """Cuts nothing off."""
        return self._built(None)

    @cached_property
    def _size(self) -> int:
        return max(self._whole.get_vocab().values(), default=-1) + 1

    def _built(self, length: int | None, overlap: int = 0) -> Tokenizer:
        fast = Tokenizer.from_str(self.tokenizer)
        fast.no_padding()
        fast.no_truncation()
        if length is not None:
            fast.enable_truncation(length, stride=overlap)
        fast.encode_special_tokens = True
        return fast

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in CACHED}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextPreprocess) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TextPreprocess(max_length={self.max_length}, vocabulary={self.vocabulary})"

    @property
    def vocabulary(self) -> int:
        """Number of ids, those between them that are not used included."""
        return self._size

    @property
    def features(self) -> Tokens:
        """Each token that is not special."""
        return Tokens(self.max_length, self.special, self.pad)

    @staticmethod
    def features_of(data: dict[str, Any]) -> Tokens:
        """The features of a `to_dict`, which may lack the tokenizer itself."""
        return Tokens(data["max_length"], tuple(sorted({*data["special"], data["pad"]})), data["pad"])

    @property
    def neutral(self) -> tuple[float, float]:
        """(mask id, or -1 where there is none; padding id), for removals."""
        return (-1.0 if self.mask is None else float(self.mask), float(self.pad))

    def __call__(self, text: Text) -> TokenizedText:
        """One text, pair of texts (a tuple), or list of words; too long ones are cut off at the end."""
        return self.many([text])[0]

    def many(self, texts: Sequence[Text]) -> list[TokenizedText]:
        """Several texts, faster than one after the other. What is too long is cut off and counted.

        Raises:
            TypeError: something that is no text.
        """
        for text in texts:
            if not isinstance(text, str | tuple | list):
                raise TypeError(f"Got {type(text).__name__} {text!r:.80}, expected a text, a pair, or a list of words.")
        listed = [isinstance(text, list) for text in texts]
        if any(listed) and not all(listed):
            raise TypeError("Got texts and lists of words together, expected either.")
        found = []
        encodings = self._fast.encode_batch([encodable(text) for text in texts], is_pretokenized=any(listed))
        for text, encoding in zip(texts, encodings, strict=True):
            cut = 0
            if encoding.overflowing:
                cut = len(self._encode(self._whole, text).ids) - len(encoding.ids)
            found.append(tokenized(encoding, cut))
        return found

    def windows(self, text: str | list[str], overlap: int) -> list[TokenizedText]:
        """A text of any length in windows that overlap by `overlap` tokens; one window where it fits.

        Words are numbered, and spans counted, over the whole text.

        Raises:
            ValueError: a pair, or an overlap that leaves no way forward.
        """
        room = self.max_length - self._fast.num_special_tokens_to_add(is_pair=False)
        if isinstance(text, tuple):
            raise ValueError("A pair of texts cannot be explained in windows: shorten the texts, or cut them off.")
        if not 0 <= overlap < room:
            raise ValueError(f"Windows of {room} tokens can overlap by 0 ... {room - 1}, got {overlap}.")
        first = self._encode(self._built(self.max_length, overlap), text)
        return [tokenized(encoding, 0) for encoding in (first, *first.overflowing)]

    @staticmethod
    def _encode(fast: Tokenizer, text: Text) -> Encoding:
        text = encodable(text)
        if isinstance(text, tuple):
            return fast.encode(*text)
        return fast.encode(text, is_pretokenized=isinstance(text, list))

    @cached_property
    def separator(self) -> int | None:
        """The id that closes the first text of a pair, where the second one has token types of its own."""
        return next(iter(self._whole.encode("", "").ids[1:]), None) if self.pair_types else None

    def pad_batch(self, rows: Sequence[Tensor]) -> Tensor:
        """Ids of several texts as one batch (B, L), padded on the right to the longest; L >= 1."""
        filled = [row if len(row) else torch.tensor([self.pad]) for row in rows]
        if not filled:
            return torch.zeros(0, 1, dtype=torch.int64)
        return torch.nn.utils.rnn.pad_sequence(filled, batch_first=True, padding_value=self.pad)

    def decode(self, ids: Tensor) -> str:
        """Ids (L,) as a text, special and padding tokens left out; a mask token stays, as its own word."""
        hidden = set(self.special) - {self.mask}
        return self._fast.decode([i for i in ids.tolist() if i not in hidden], skip_special_tokens=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint; ``TextPreprocess(**data)`` restores it."""
        return {
            "tokenizer": self.tokenizer,
            "max_length": self.max_length,
            "pad": self.pad,
            "mask": self.mask,
            "special": list(self.special),
            "pair_types": self.pair_types,
        }
