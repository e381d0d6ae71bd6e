"""What the explainer networks share: an encoder, and a map over the features for every class from one pass."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from fex.modality import Features
from fex.nets.encoder import BaseEncoder

__all__ = ["ClassMapNet", "Encoded", "encoder_path", "of_classes"]

TEMPERATURE = 2.0  # of the classes that evidence is held against; see `against_others`
LEAST = 0.1  # of what the other classes must have: a bound for certain backbones

Net = TypeVar("Net", bound="ClassMapNet")


def encoder_path(kind: type[nn.Module]) -> str:
    """What checkpoints call an encoder: of those of this project, the face of their room."""
    own = kind.__module__.startswith("fex.nets.")
    return f"fex.nets.{kind.__name__}" if own else f"{kind.__module__}.{kind.__qualname__}"


def of_classes(values: Tensor, target: Tensor) -> Tensor:
    """Values (B, C) of one class each, (B,) -> (B,), or of K, (B, K) -> (B, K)."""
    return values.gather(1, target.unsqueeze(1)).squeeze(1) if target.ndim == 1 else values.gather(1, target)


class Encoded(NamedTuple):
    """What one pass of the explainer gives; maps and values of any class follow from it at no further pass.

    Attributes:
        tokens: what the class weights read at each token, (B, N, D').
        shared: the part of the maps that all classes share (B, N).
        level: one number a class (B, C): in FEX the part of the logits that all features share.
        trunk: pooled features (B, D').
        valid: which tokens are features (B, N), bool; None where all are.
    """

    tokens: Tensor
    shared: Tensor
    level: Tensor
    trunk: Tensor
    valid: Tensor | None = None


def against_others(local: Tensor, classes: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """From the evidence for a class to the evidence for it against the others, s (e(n, y) - sum_c p_c e(n, c)).

    An answer falls also where its rivals gain. p is the backbone's own softmax at temperature 2, and
    s = 1 / (1 - max p): for the first class y this is e(n, y) less the mean over the other classes, by p. On masked
    photographs it predicts scores better than e(n, y) alone (docs/estimator.md, "What queries teach").

    Args:
        local: what the classifier reads at each place, centred, (B, N, E).
        classes: the backbone's logits (B, C).
        weight: its classifier (C, E).

    Returns:
        s local, (B, N, E), and s sum_c p_c e(n, c), (B, N).
    """
    p = (classes / TEMPERATURE).softmax(1)
    local = local / (1 - p.amax(1)).clamp_min(LEAST).view(-1, 1, 1)
    return local, torch.einsum("bne,be->bn", local, p @ weight.to(p.dtype))


class ClassMapNet(nn.Module):
    """An encoder with a class head: score(n, y) = s(token_n) + w_y . h(token_n), and a level a_y(x) of each class.

    All are float32 whatever the precision of the encoder, and all maps start at 0.

    An encoder that keeps the classifier of its backbone (`class_head`) adds g(token_n) e(n, y): the evidence of class
    y at place n, less its mean over the places, as that classifier sees it, times a learnt gate that starts at
    `gate_start`. So the maps start as class activation maps, which is what a small training set of many classes needs.

    Args:
        encoder: tokens and a pooled vector from the input.
        hidden: width of the heads.
        depth: linear layers from a token to its scores, that of the class weights among them; at least 2.
    """

    span: ClassVar[float | None]  # largest difference that two values of a map can have; None without such a bound
    gate_start: ClassVar[float]  # brings logits, of order 1 to 10, to the units of the map

    def __init__(self, encoder: BaseEncoder, hidden: int = 128, depth: int = 2) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"The head of an explainer has at least 2 linear layers, got a depth of {depth}.")
        self.encoder, self.hidden, self.depth = encoder, hidden, depth
        between = [layer for _ in range(depth - 2) for layer in (nn.Linear(hidden, hidden), nn.GELU())]
        self.token = nn.Sequential(nn.LayerNorm(encoder.dim), nn.Linear(encoder.dim, hidden), nn.GELU(), *between)
        self.shared = nn.Linear(hidden, 1)
        self.trunk = nn.Sequential(nn.LayerNorm(encoder.dim), nn.Linear(encoder.dim, hidden), nn.GELU())
        self.num_classes, self.multi_label = 0, False

    def build(self: Net, num_classes: int, features: Features, *, multi_label: bool = False) -> Net:
        """Adds the layers whose size depends on the black box (C) and the features (N).

        Args:
            num_classes: C.
            features: the N features.
            multi_label: the black box's classes are not exclusive.
        """
        if num_classes < 1:
            raise ValueError(f"An explainer needs at least one class, got {num_classes}.")
        self.num_classes, self.features, self.multi_label = num_classes, features, multi_label
        nn.init.zeros_(self.shared.weight)
        nn.init.zeros_(self.shared.bias)
        self.weight = nn.Parameter(torch.zeros(num_classes, self.hidden))
        # Before the level: checkpoints hold the optimiser's state in the order of the parameters.
        self._add_heads()
        self.level = nn.Linear(self.hidden, num_classes)
        nn.init.zeros_(self.level.weight)
        nn.init.zeros_(self.level.bias)
        if (known := self.encoder.class_weight) is not None:
            self._check_classes(len(known))
            self.gate = nn.Linear(self.hidden, 1)
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, self.gate_start)
        return self

    def _check_classes(self, count: int) -> None:
        if count != self.num_classes:
            raise ValueError(
                f"The backbone classifies into {count} classes, the black box into {self.num_classes}: set "
                "class_head: false, or take a backbone with the black box's classes."
            )

    def _weight_of(self, target: Tensor) -> Tensor:
        """Rows `target` (B,) or (B, K) of `class_weight`, (..., D'), without making all of them."""
        known = self.encoder.class_weight
        own = self.weight[target]
        return own if known is None else torch.cat([own, known[target].to(own.dtype)], -1)

    @property
    def class_weight(self) -> Tensor:
        """Weights (C, D') that read `Encoded.tokens`: the learnt ones, and those of the backbone's own classifier."""
        known = self.encoder.class_weight
        return self.weight if known is None else torch.cat([self.weight, known.to(self.weight.dtype)], 1)

    @abstractmethod
    def _add_heads(self) -> None:
        """Adds what else depends on the number of classes."""

    def explain(self, inputs: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One pass: inputs (B, ...) -> attribution (B, N) of `target` (B,), and class logits (B, C).

        Without a target, the class is the one that the explainer itself predicts.
        """
        encoded = self.encode(inputs)
        classes = self.class_logits(encoded)
        return self.attribution(encoded, classes.argmax(1) if target is None else target), classes

    @property
    def init_args(self) -> dict[str, Any]:
        """Plain data from which `fex.nets.rebuild` makes the same network."""
        return {
            "encoder": {"class_path": encoder_path(type(self.encoder)), "init_args": self.encoder.init_args},
            "hidden": self.hidden,
            **({} if self.depth == 2 else {"depth": self.depth}),  # as files were written before there was a choice
        }

    def encode(self, inputs: Tensor) -> Encoded:
        """One pass: inputs (B, 3, H, W) in [0, 1], or token ids (B, L) -> `Encoded`, float32."""
        found = self.encoder(inputs, self.features.grid)
        with torch.autocast(inputs.device.type, enabled=False):
            tokens, trunk = self.token(found.tokens), self.trunk(found.pooled)
            level, shared = self.level(trunk), self.shared(tokens).squeeze(-1)
            if found.classes is not None:
                self._check_classes(found.classes.shape[1])
                # Independent labels have no common normaliser: what the backbone says of each is its own logit.
                level = level + (found.classes if self.multi_label else found.classes.log_softmax(1))
            if found.local is not None:
                local, gate = found.local - found.local.mean(1, keepdim=True), self.gate(tokens)
                if self.encoder.contrasts and not self.multi_label:
                    local, others = against_others(local, found.classes, self.encoder.class_weight)
                    shared = shared - gate.squeeze(-1) * others
                tokens = torch.cat([tokens, gate * local], -1)
            return Encoded(tokens, shared, level, trunk, self.features.valid(inputs))

    def target_scores(self, encoded: Encoded, target: Tensor) -> Tensor:
        """Scores of the classes `target` alone, without level: (B,) -> (B, N), or K of each, (B, K) -> (B, K, N).

        No tensor with axes of C and N is made.
        """
        with torch.autocast(target.device.type, enabled=False):
            if target.ndim == 1:
                return torch.einsum("bnd,bd->bn", encoded.tokens, self._weight_of(target)) + encoded.shared
            scores = torch.einsum("bnd,bkd->bkn", encoded.tokens, self._weight_of(target))
            return scores + encoded.shared.unsqueeze(1)

    @abstractmethod
    def attribution(self, encoded: Encoded, target: Tensor) -> Tensor:
        """What the explainer answers for the classes `target`: (B,) -> (B, N), or K of each, (B, K) -> (B, K, N)."""

    def explain_classes(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One pass for K classes of each input; this is what an export holds.

        Args:
            inputs: (B, ...).
            target: (B, K), int64, in [-C, C); -1 stands for the class that the explainer finds the likeliest, -2 for
                the next, ...

        Returns:
            Attribution (B, K, N), the classes (B, K), int64, and probabilities (B, C).
        """
        encoded = self.encode(inputs)
        rates = self.class_logits(encoded)
        exporting = torch.compiler.is_compiling()  # a graph has no stable sort, and no loop of K rounds
        if exporting:
            ranked = rates.topk(self.num_classes, 1).indices
        else:
            ranked = rates.argsort(dim=1, descending=True, stable=True)  # among equals the first, as argmax
        # Below -C there is no class: the lookup fails, as that of C and above does.
        classes = torch.where(target < 0, ranked.gather(1, (-1 - target).clamp_min(0)), target)
        if exporting:
            maps = self.attribution(encoded, classes)
        else:  # bit by bit what one class alone gets
            maps = torch.stack([self.attribution(encoded, each) for each in classes.unbind(1)], 1)
        return maps, classes, self.probabilities(rates)

    def predict(self, inputs: Tensor) -> Tensor:
        """The explainer's own estimate of f(x), (B, C)."""
        return self.probabilities(self.class_logits(self.encode(inputs)))

    @abstractmethod
    def class_logits(self, encoded: Encoded) -> Tensor:
        """The explainer's own estimate of f(x), before the softmax, or the sigmoid of a multi-label box: (B, C)."""

    def probabilities(self, class_logits: Tensor) -> Tensor:
        """The explainer's own estimate of f(x), (B, C), float32, from `class_logits`.

        Exclusive classes share one distribution; those of a multi-label box have a sigmoid each.
        """
        logits = class_logits.float()
        return logits.sigmoid() if self.multi_label else logits.softmax(1)
