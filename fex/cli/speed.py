"""`fex-bench speed`: what a training step, an explanation and a folder of pictures cost, in ratios."""

import importlib
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import timm
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from fex.atomic import atomic_path
from fex.benchmark.memory import class_head_memory, folder_memory, peak_bytes
from fex.benchmark.speed import Figure, make_explainer, one_pass, ratio, speedups, wait, weights_or_random
from fex.black_box import TimmBlackBox
from fex.features import PatchGrid
from fex.nets import ExplainerNet, PyramidEncoder, ViTEncoder
from fex.resources import config_path

__all__ = ["FIGURES", "run_speed", "step_memory", "step_overhead"]
