"""A FEX module small enough to enumerate: N features, a table of rewards, an explainer that is a table too."""

import itertools

import torch
from torch import Tensor

from fex.black_box import BlackBox
from fex.images import PatchGrid, Preprocess
from fex.nets import Encoder, ExplainerNet
from lightning_modules import FEXModule


class TableBox(BlackBox):
    """Two classes; the first's probability is looked up by which of N patches are bright."""

    def __init__(self, table: Tensor, grid: PatchGrid) -> None:
        super().__init__(num_classes=2, preprocess=Preprocess(grid.height * 2, grid.width * 2), mean=(0, 0, 0))
        self.table, self.grid = table, grid

    def _score(self, inputs: Tensor) -> Tensor:
        bits = self.grid.pool(inputs.mean(1)).gt(0.5).long()
        place = 2 ** torch.arange(bits.shape[1] - 1, -1, -1)
        first = self.table[(bits * place).sum(1)]
        return torch.stack([first, 1 - first], 1)


class TinyEncoder(Encoder):
    """One learnt token a feature, whatever the input."""

    def __init__(self, count: int, dim: int = 8) -> None:
        super().__init__(dim, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), {}, frozen=False)
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.nn.Parameter(torch.randn(count, dim, generator=generator))

    def encode(self, inputs: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        tokens = self.tokens.expand(len(inputs), -1, -1)
        return tokens, tokens.mean(1)


def every_mask(count: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)))


def make_module(table: Tensor, **options) -> FEXModule:
    count = int(len(table)).bit_length() - 1
    grid = PatchGrid(1, count)
    shape = {key: options.pop(key) for key in ("value_degree", "keep_rate") if key in options}
    net = ExplainerNet(TinyEncoder(count), hidden=16, **shape)
    return FEXModule(TableBox(table, grid), grid, net, **options)


def white(module: FEXModule, batch: int) -> Tensor:
    return torch.ones(batch, 3, *module.preprocess.size)
