import copy

import pytest
import torch
from torch import nn

from fex.black_box import CachedBlackBox, CallableBlackBox, TorchBlackBox
from fex.images import Preprocess
from tests.texts.tiny import WordBox

SIZE = Preprocess(8, 8)


class Asked:
    """Scores by brightness; knows how many inputs it has seen."""

    def __init__(self):
        self.count = 0

    def __call__(self, x):
        self.count += len(x)
        share = x.mean((1, 2, 3))
        return torch.stack([share, 1 - share], 1)


def boxes(**options):
    function = Asked()
    box = CallableBlackBox(function, num_classes=2, preprocess=SIZE, chunk=4)
    return function, box, CachedBlackBox(box, **options)


def test_nothing_is_asked_twice_and_everything_is_counted():
    function, box, cached = boxes()
    images = torch.rand(10, 3, 8, 8)
    expected = box(images)
    function.count = 0
    assert torch.equal(cached(images[:6]), expected[:6])
    assert torch.equal(cached(images), expected)
    assert torch.equal(cached(images[[1, 1, 9]]), expected[[1, 1, 9]])
    assert (function.count, cached.queries, cached.hits) == (10, 19, 9)


def test_twins_in_a_chunk_are_asked_once():
    function, _, cached = boxes()
    image = torch.rand(1, 3, 8, 8)
    found = cached(image.expand(3, 3, 8, 8))
    assert torch.equal(found, found[:1].expand(3, 2))
    assert (function.count, cached.hits) == (1, 2)


def test_the_oldest_answers_go_first():
    function, _, cached = boxes(capacity=4)
    images = torch.rand(6, 3, 8, 8)
    cached(images)
    function.count = 0
    cached(images[2:])
    assert function.count == 0
    cached(images[:2])
    assert function.count == 2
    with pytest.raises(ValueError, match="capacity=0"):
        boxes(capacity=0)


def test_a_chunk_larger_than_the_capacity():
    _, box, cached = boxes(capacity=2)
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(cached(images), box(images))


def test_a_call_may_find_the_answers_whose_places_it_takes():
    _, box, cached = boxes(capacity=4)
    images = torch.rand(8, 3, 8, 8)
    cached(images[:4])
    assert torch.equal(cached(images), box(images))
    assert torch.equal(cached(images[[5, 2, 7, 0, 5]]), box(images[[5, 2, 7, 0, 5]]))
    assert cached._answers.shape == (4, cached.num_classes)  # one block, however many were asked


def test_its_network_is_that_of_the_box_and_a_copy_remembers_nothing():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    cached = CachedBlackBox(TorchBlackBox(network, num_classes=2, preprocess=SIZE, chunk=4))
    images = torch.rand(4, 3, 8, 8)
    before = cached(images)
    assert cached.module is network
    torch.testing.assert_close(cached.differentiable(images).softmax(1), before)
    other = copy.deepcopy(cached)
    with torch.no_grad():
        other.module[1].bias.add_(torch.tensor([5.0, 0.0]))
    assert (other(images)[:, 0] > cached(images)[:, 0]).all()
    assert cached.to("cpu") is cached
    with pytest.raises(ValueError, match="must be chosen"):
        _ = cached.features


def test_boxes_of_texts_are_refused():
    with pytest.raises(ValueError, match="takes texts"):
        CachedBlackBox(WordBox())
