"""Tokens removed, and what a box says of the rest."""

import pytest
import torch

from fex.images import Black, PatchGrid
from fex.masking import Masker, masked_probabilities, masker_for
from fex.texts import DropToken, MaskToken
from tests.texts.tiny import SENTENCES, LookUpBox, WordBox, preprocess


def batch(texts=SENTENCES):
    own = preprocess()
    return own.pad_batch([row.ids for row in own.many(texts)])


def test_masked_and_dropped_tokens():
    box, inputs = WordBox(), batch(["the film is a gem", "a mess"])
    masks = torch.zeros(2, 1, inputs.shape[1])
    masks[:, :, 2] = 1
    masked = masker_for(box, box.features)(inputs, masks)
    assert masked.tolist() == [[2, 4, 5, 4, 4, 4, 3], [2, 4, 10, 3, 0, 0, 0]]
    dropped = masker_for(box, box.features, DropToken())(inputs, masks)
    assert dropped.tolist() == [[2, 5, 3, 0, 0, 0, 0], [2, 10, 3, 0, 0, 0, 0]]
    everything = torch.ones(2, 1, inputs.shape[1])
    for removal in (MaskToken(), DropToken()):
        masker = masker_for(box, box.features, removal)
        assert masker(inputs, everything).equal(inputs)
        assert not box.features.valid(masker(inputs, 0 * everything)).any()
        assert masker.blank(inputs).equal(masker(inputs, 0 * everything))


def test_removals_know_their_modality():
    with pytest.raises(ValueError, match="use MaskToken or DropToken"):
        Masker(preprocess().features, Black())
    with pytest.raises(ValueError, match="use Mean, Black, Blur or Noise"):
        Masker(PatchGrid(2, 2), MaskToken())
    own = preprocess()
    own.mask = None
    box = WordBox()
    box.preprocess = own
    with pytest.raises(ValueError, match="has no mask token: use DropToken"):
        masker_for(box, box.features)(batch(), torch.ones(4, 1, batch().shape[1]))


def test_queries_are_counted_chunked_and_sorted_by_length():
    box = WordBox(chunk=3)
    inputs = batch()
    masks = (torch.rand(4, 5, inputs.shape[1]) > 0.5).float()
    found = masked_probabilities(box, masker_for(box, box.features), inputs, masks, torch.ones(4, dtype=torch.int64))
    assert box.queries == 20
    assert max(rows for rows, _ in box.seen) == 3
    for row in range(4):
        for k in range(5):
            one = masker_for(box, box.features)(inputs[row : row + 1], masks[row : row + 1, k : k + 1])
            assert found[row, k] == box(one)[0, 1]


def test_a_batch_is_scored_without_its_padding():
    box = LookUpBox(lambda ids: (ids != 0).float().mean(1))  # 1 where nothing is padding
    inputs = torch.cat([batch(["a mess", "a gem"]), torch.zeros(2, 20, dtype=torch.int64)], 1)
    assert box(inputs)[:, 1].tolist() == [1, 1]
    assert box.seen == [(2, 4)]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(2, 3), "expected token ids"),
        (torch.zeros(2, 40, dtype=torch.int64), "at most 32 fit"),
        (torch.full((1, 3), 10_000), "use its own tokenizer"),
    ],
)
def test_unfit_inputs_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        WordBox()(inputs)
