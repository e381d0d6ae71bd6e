"""How a transformers network reads a batch of texts, so that each text gets the answer that it gets alone.

What differs from network to network is asked of the network itself, by a few short passes: how many positions it has,
whether padding changes an answer, and which token has seen the whole text.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fex.texts.features import model_arguments
from fex.texts.tokenizer import TextPreprocess

__all__ = ["Pool", "NetworkReading", "ask_positions", "ask_reading", "embeddings_of", "hidden_of", "settle"]

Pool = Literal["first", "last", "mean"]


@dataclass(frozen=True)
class NetworkReading:
    """How a network takes ids (B, L), int64, padded on the right.

    Args:
        pad: id of the padding in a batch; no token of a text has it. It need not be one that the network knows.
        separator: id that ends the first text of a pair, for networks with token types.
        padded: padding changes no answer, so that texts of different lengths share a pass. Otherwise they do not.
        pool: where a vector of the whole text is read: at the first token, at the last of the text, or the mean.
    """

    pad: int
    separator: int | None = None
    padded: bool = True
    pool: Pool = "first"

    def arguments(self, net: Any, inputs: Tensor) -> dict[str, Tensor]:
        """What the network's forward takes of ids (B, L): ids that it has embeddings for, mask, token types."""
        known = inspect.signature(net.forward).parameters
        found = model_arguments(inputs, self.pad, self.separator)
        first = torch.arange(inputs.shape[1], device=inputs.device) == 0
        # Of a text without any token, the filler: or its answer were NaN. Not in place, which no graph has.
        found["attention_mask"] = found["attention_mask"].masked_fill(first, 1)
        found = {name: value for name, value in found.items() if name in known}
        if "global_attention_mask" in known:  # Longformer: the token that is pooled sees all others
            found["global_attention_mask"] = torch.zeros_like(inputs).index_fill_(1, inputs.new_zeros(1), 1)
        return {"input_ids": inputs.masked_fill(inputs == self.pad, _filler(net)), **found}

    def groups(self, inputs: Tensor) -> list[Tensor]:
        """Rows that may share a pass, each group to be cut to its longest text: indices into ids (B, L)."""
        lengths = (inputs != self.pad).sum(1).clamp_min(1)
        if self.padded or len(inputs) == 0:
            return [torch.arange(len(inputs), device=inputs.device)]
        return [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]

    def cut(self, inputs: Tensor) -> Tensor:
        """Ids (B, L) without the columns that are padding for all, but for the first."""
        used = (inputs != self.pad).any(0).nonzero()
        return inputs[:, : int(used[-1]) + 1 if len(used) else 1]

    def pooled(self, tokens: Tensor, inputs: Tensor) -> Tensor:
        """Hidden states (B, L, D) of ids (B, L) -> one vector a text, (B, D)."""
        if self.pool == "first":
            return tokens[:, 0]
        attended = inputs != self.pad
        if self.pool == "last":
            return tokens[torch.arange(len(tokens), device=tokens.device), attended.sum(1).clamp_min(1) - 1]
        weights = attended.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1)


def embeddings_of(net: Any) -> int:
    """How many ids the network has embeddings for."""
    try:
        table = net.get_input_embeddings()
    except NotImplementedError:
        table = None
    return int(getattr(table, "num_embeddings", 0) or net.config.vocab_size)


def _filler(net: Any) -> int:
    """The id that stands at padding: the network's own where it has one, for those that look for it."""
    own = getattr(net.config, "pad_token_id", None)
    return own if own is not None and 0 <= own < embeddings_of(net) else 0


def settle(net: Any, *, classifier: bool, pad: int | None = None) -> Any:
    """Sets in place what a network's config may leave open: named outputs, no cache, what is padding to a classifier.

    Classifiers on decoders read the last token that is not `config.pad_token_id`. Where there is no such id they read
    the last one of a batch, which is right for texts of one length alone; -1 says so, for they refuse None.
    """
    for config in {id(m.config): m.config for m in net.modules() if hasattr(m, "config")}.values():
        config.return_dict = True
        if getattr(config, "use_cache", False):
            config.use_cache = False
    if classifier and getattr(net.config, "pad_token_id", None) is None:
        net.config.pad_token_id = pad if pad is not None and pad < embeddings_of(net) else -1
    if hasattr(net.base_model, "set_attention_type"):
        net.base_model.register_forward_pre_hook(_own_attention)
    return net


def _own_attention(body: Any, _args: object) -> None:
    """BigBird turns to full attention at its first short text, and stays there: each text starts as the config says."""
    body.set_attention_type(body.config.attention_type)


def hidden_of(output: Any) -> Tensor:
    """The last hidden states (B, L, D) of a network's output; of encoder-decoders, the encoder's."""
    for name in ("encoder_last_hidden_state", "last_hidden_state"):
        if output.get(name) is not None:
            return output[name]
    return output.hidden_states[-1]


class _Template(NamedTuple):
    """Special ids that the tokenizer puts before and after a text, and ordinary ids to fill it."""

    before: list[int]
    after: list[int]
    words: list[int]

    def row(self, count: int, last: int | None = None) -> Tensor:
        """A text of `count` >= 2 ordinary tokens that take turns, the last of them given."""
        words = [self.words[i % len(self.words)] for i in range(count)]
        words[-1] = words[-1] if last is None else last
        return torch.tensor([*self.before, *words, *self.after])


def _template(net: Any, preprocess: TextPreprocess) -> _Template:
    row = preprocess("a")
    inside = [i for i, part in enumerate(row.parts) if part >= 0] or [len(row.parts)]
    known = set(range(min(preprocess.vocabulary, embeddings_of(net))))
    ordinary = sorted(known - {*preprocess.special, getattr(net.config, "pad_token_id", None)})
    ids = row.ids.tolist()
    some = [ordinary[len(ordinary) * share // 4] for share in (3, 1, 2)]
    return _Template(ids[: inside[0]], ids[inside[-1] + 1 :], some)


class _Lookups(TorchDispatchMode):
    """Within it, the rows that are left in tables which are looked up by counting on along the text."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.room: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        if func is torch.ops.aten.embedding.default:
            indices = args[1][..., : self.length]
            if indices.shape[-1] == self.length and bool((indices.diff(dim=-1) == 1).all()):
                self.room.append(len(args[0]) - int(indices.min()))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def ask_positions(net: Any, preprocess: TextPreprocess) -> int | None:
    """The most tokens that the network has positions for; None where it has no such limit.

    A short text shows which row of a table of positions is the first one's. Other networks name a limit in their
    config, or none.

    Raises:
        ValueError: the network does not run on its tokenizer's tokens.
    """
    row = _template(net, preprocess).row(4)
    with _Lookups(len(row)) as lookups:
        _run(net, row[None], NetworkReading(preprocess.pad, preprocess.separator))
    named = getattr(net.config, "max_position_embeddings", None)
    limits = [*lookups.room, *([named] if isinstance(named, int) and named > 0 else [])]
    return min(limits, default=None)


def _run(net: Any, inputs: Tensor, reading: NetworkReading) -> tuple[Tensor | None, Tensor | None]:
    """Logits (B, C) of a classifier, and hidden states (B, L, D) where there is one for each token."""
    try:
        with torch.random.fork_rng(devices=[]):
            output = net(**reading.arguments(net, inputs), output_hidden_states=True)
        hidden = hidden_of(output)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{type(net).__name__} does not run on a text of its tokenizer ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[:1]}): it is no network for texts, or the tokenizer is not its own."
        ) from error
    return output.get("logits"), hidden if hidden.shape[:2] == inputs.shape else None


@torch.no_grad()
def ask_reading(net: Any, preprocess: TextPreprocess) -> NetworkReading:
    """How the network is to read texts: asked by a short text alone, beside longer ones, and with another last word.

    Raises:
        ValueError: as `ask_positions`.
    """
    template = _template(net, preprocess)
    reading = NetworkReading(preprocess.pad, preprocess.separator)
    room = preprocess.max_length - len(template.before) - len(template.after)
    short, other = template.row(2), template.row(2, last=template.words[2])
    rows = [short, template.row(max(2, min(5, room))), template.row(max(2, min(24, room)))]
    alone, together = _run(net, short[None], reading), _run(net, preprocess.pad_batch(rows), reading)
    sparse = (
        getattr(net.config, "attention_type", "original_full") != "original_full"
    )  # BigBird: by the longest's length
    padded = not sparse and all(
        one is None or (both is not None and _alike(one[0], both[0][: len(one[0])] if one.ndim == 3 else both[0]))
        for one, both in zip(alone, together, strict=True)
    )
    pool: Pool = "first"
    if (hidden := alone[1]) is not None:
        _, changed = _run(net, other[None], reading)
        if changed is not None and bool((changed[:, 0] == hidden[:, 0]).all()):
            pool = "last"
        elif not template.before:
            pool = "mean"
    return NetworkReading(preprocess.pad, preprocess.separator, padded, pool)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two answers are equal but for rounding; NaN is not."""
    return bool((one - other).abs().amax() <= 1e-4 * one.abs().amax())
