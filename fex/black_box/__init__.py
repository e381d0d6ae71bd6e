"""Black boxes: classifiers that can be queried for probabilities, and nothing else.

`base` is the contract: checks, chunks, counts. `network` puts it around a network of torch; `timm`, `transformers`,
`zero_shot`, `text`, `http`, `prompt` and `callable` around what their names say; `onnx`, `openvino_file` and `exported`
around files of a `graph`; `loading` finds the one that a name means. What they share: `scores` (answers become
probabilities), `classes` (names), `colour`, `endpoint`, `wire`, `logprobs`, `exchange` and `retry` (addresses). Read
`base`, `scores`, `network`, then the one that is yours.
"""

from fex.black_box.base import BlackBox
from fex.black_box.cached import CachedBlackBox
from fex.black_box.callable import CallableBlackBox
from fex.black_box.exported import ExportedBlackBox
from fex.black_box.http import HttpBlackBox
from fex.black_box.loading import load_black_box
from fex.black_box.network import TorchBlackBox
from fex.black_box.onnx import OnnxBlackBox
from fex.black_box.openvino_file import OpenvinoBlackBox
from fex.black_box.prompt import PromptBlackBox
from fex.black_box.scores import check_probabilities, resolve_target
from fex.black_box.text import TextBlackBox, TextInputs
from fex.black_box.text_callable import TextCallableBlackBox
from fex.black_box.timm import TimmBlackBox
from fex.black_box.transformers import TransformersBlackBox
from fex.black_box.zero_shot import ZeroShotBlackBox

__all__ = [
    "BlackBox",
    "CachedBlackBox",
    "CallableBlackBox",
    "ExportedBlackBox",
    "HttpBlackBox",
    "OnnxBlackBox",
    "OpenvinoBlackBox",
    "PromptBlackBox",
    "TextBlackBox",
    "TextCallableBlackBox",
    "TextInputs",
    "TimmBlackBox",
    "TorchBlackBox",
    "TransformersBlackBox",
    "ZeroShotBlackBox",
    "check_probabilities",
    "load_black_box",
    "resolve_target",
]
