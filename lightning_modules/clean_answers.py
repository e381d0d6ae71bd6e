"""What a deterministic black box has said of whole inputs: one of the K + 1 queries of each, in every later pass."""

import torch
from torch import Tensor

from fex.black_box import BlackBox

__all__ = ["CleanAnswers"]

MOST = 2**30  # bytes of remembered answers: 268,000 inputs of 1,000 classes
PATIENCE = 1000  # known inputs in a row that have changed: they are augmented, and nothing can be remembered
_ROWS = 16  # inputs whose words are summed at a time


def _sums(inputs: Tensor) -> Tensor:
    """A number for the exact content of each input (B, ...), int64 (B,): weighted sums of its words, modulo 2^64."""
    sums = []
    for rows in inputs.flatten(1).split(_ROWS):
        words = rows.float().view(torch.int32).long() if rows.is_floating_point() else rows.long()
        places = torch.arange(1, words.shape[1] + 1, device=words.device)
        sums.append((words * (places * 0x9E3779B97F4A7C1 | 1)).sum(1))
    return torch.cat(sums) + inputs[0].numel() if sums else inputs.new_zeros(0, dtype=torch.int64)


class CleanAnswers:
    """Asks a box about whole inputs, and what it has answered before no more, as long as the input is the same.

    An input is known by its number in the data, and is the same if the sum of its content is: augmented ones never
    are, so they are asked about, and after `PATIENCE` of them nothing is remembered any more. Answers to boxes that
    are not `deterministic` are not remembered either.

    Args:
        black_box: what is asked.
    """

    def __init__(self, black_box: BlackBox) -> None:
        self.black_box, self.on = black_box, black_box.deterministic
        self._known: dict[int, tuple[int, Tensor]] = {}  # number of an input -> sum of its content, answer (C,)
        self._changed, self._bytes = 0, 0

    def __call__(self, inputs: Tensor, index: Tensor | None) -> Tensor:
        """Probabilities (B, C) of inputs (B, ...), whose numbers in the data are `index` (B,), int64."""
        if not self.on or index is None:
            return self.black_box(inputs)
        keys = list(zip(index.tolist(), _sums(inputs).tolist(), strict=True))
        known = [self._known[row][1] if row in self._known and self._known[row][0] == sum_ else None
                 for row, sum_ in keys]  # fmt: skip
        new = [place for place, answer in enumerate(known) if answer is None]
        if len(new) == len(keys):
            found = asked = self.black_box(inputs)
            self._changed += sum(row in self._known for row, _ in keys)
        else:
            asked = self.black_box(inputs[new]) if new else inputs.new_zeros(0, self.black_box.num_classes)
            blank = torch.zeros(self.black_box.num_classes)
            found = torch.stack([blank if answer is None else answer for answer in known]).to(inputs.device)
            found[new], self._changed = asked.to(found.dtype), 0
        self._keep([keys[place] for place in new], asked)
        return found

    def _keep(self, keys: list[tuple[int, int]], asked: Tensor) -> None:
        if self._changed > PATIENCE:
            self.on, self._known = False, {}
            return
        self._bytes += asked.numel() * asked.element_size()
        if self._bytes <= MOST:
            answers = asked.detach().to("cpu", copy=True)  # one block a batch: small ones would lie in its holes
            self._known |= {row: (sum_, answer) for (row, sum_), answer in zip(keys, answers, strict=True)}
