"""Maps averaged over masked copies: means over the copies that keep a feature, the whole input's where none does."""

import torch

from fex.images import Black, PatchGrid
from fex.masking import Masker
from fex.nets import Encoded, logits_in_contexts

GRID = PatchGrid(1, 4)


class TwinsNet:
    """Patches 0 and 1 say the same: each counts for 4 alone and for 1 beside its twin; others count for themselves."""

    def encode(self, inputs):
        there = (inputs.mean(1, keepdim=True).unfold(3, 2, 2).mean((2, 4)) > 0).float().squeeze(1)  # (B, N)
        alone = torch.stack([1 - there[:, 1], 1 - there[:, 0]], 1)
        scores = torch.cat([1 + 3 * alone, torch.tensor([[2.0, 3.0]]).expand(len(inputs), 2)], 1)
        return Encoded((scores * there).unsqueeze(-1), torch.zeros_like(scores), torch.tensor([[7.0, 9.0]]), scores)

    def target_scores(self, encoded, target):
        return encoded.tokens.squeeze(-1).unsqueeze(1) * (target + 1).unsqueeze(-1)

    def target_logits(self, encoded, target):
        return self.target_scores(encoded, target) + encoded.level.expand(len(target), 2).gather(1, target).unsqueeze(
            -1
        )


def test_a_feature_counts_by_the_copies_that_keep_it():
    masker = Masker(GRID, Black())
    masks = torch.tensor([[[1.0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0]]])
    found = logits_in_contexts(TwinsNet(), masker, torch.ones(1, 3, 2, 8), torch.tensor([[0, 1]]), masks)
    expected = torch.tensor([(1 + 4 + 4) / 3, (1 + 4) / 2, 2.0, 3.0])  # the last is kept by none
    assert torch.allclose(found, torch.stack([expected + 7, 2 * expected + 9]).unsqueeze(0))
